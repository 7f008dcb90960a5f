"""Print the logs for a container in a pod; the first container is the default.

Examples:
  carob logs hello-pod
  carob logs -f hello-pod -c sync --tail=20
  carob logs -p hello-pod --timestamps
  carob logs deployment/web --all-pods --prefix
  carob logs -l app=web --all-containers
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.pods import default_container, pods_of, shown_containers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.cli.flags import Arguments, Flags
    from carob.cli.pods import Tree

USAGE = (
    "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
    "POD or TYPE/NAME is a required argument for the logs command\nSee 'carob logs -h' for help and examples"
)
TAIL_OF_SELECTED = 10


def add_flags(flags: Flags) -> None:
    """kubectl logs' flags."""
    flags.usage = "(POD | TYPE/NAME) [-c CONTAINER] [flags]"
    flags.text("container", "c", meta="NAME", help="which container (default: the annotated or the first one)")
    flags.switch("follow", "f", help="go on while the container writes")
    flags.switch("previous", "p", help="of the previous run of the container")
    flags.switch("all-containers", help="of every container of the Pod")
    flags.switch("all-pods", help="of every Pod of TYPE/NAME, with --prefix")
    flags.switch("prefix", help="each line with its Pod and container")
    flags.number("tail", default=-1, help="only the last lines (default: all; with -l: 10)")
    flags.duration("since", help="only newer than this duration")
    flags.text("since-time", meta="TIME", help="only after this time (RFC 3339)")
    flags.switch("timestamps", help="each line with its time")
    flags.number("limit-bytes", help="at most so many bytes")
    flags.text("selector", "l", meta="SELECTOR", help="of the Pods with these labels")
    flags.switch("ignore-errors", help="go on when a container's log cannot be read")
    flags.number("max-log-requests", default=5, help="with -l: at most so many at once")
    flags.duration("pod-running-timeout", default=20.0, help="how long to wait until there is a Pod")
    flags.switch("insecure-skip-tls-verify-backend", help="do not check the node's certificate")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Fetch and copy."""
    words = _checked(arguments)
    connection = connect(arguments)
    try:
        sources = list(_sources(connection, arguments, words))
        _copy_all(connection, arguments, sources)
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _checked(arguments: Arguments) -> list[str]:
    """The words, once the flags make sense. Raises: CommandError in kubectl's words."""
    words: list[str] = arguments.words
    if (not words and not arguments.selector) or len(words) > 2:
        raise CommandError(USAGE)
    if words and arguments.selector:
        raise CommandError(
            "error: only a selector (-l) or a POD name is allowed\nSee 'carob logs -h' for help and examples"
        )
    if len(words) == 2:
        if arguments.container:
            raise CommandError("error: only one of -c or an inline [CONTAINER] arg is allowed")
        arguments.container = words[1]
    if arguments.all_containers and arguments.container:
        raise CommandError(
            f"error: --all-containers=true should not be specified with container name {arguments.container}"
        )
    if arguments.since and arguments.since_time:
        raise CommandError("error: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if arguments.since_time:
        _check_time(arguments.since_time)
    if arguments.since < 0:
        raise CommandError("error: --since must be greater than 0")
    if arguments.limit_bytes < 0 or ("limit-bytes" in arguments.changed and not arguments.limit_bytes):
        raise CommandError("error: --limit-bytes must be greater than 0")
    if arguments.tail < -1:
        raise CommandError("error: --tail must be greater than or equal to -1")
    if arguments.selector and "tail" not in arguments.changed:
        arguments.tail = TAIL_OF_SELECTED
    if arguments.all_pods:
        arguments.prefix = True
    return words


def _check_time(text: str) -> None:
    from datetime import datetime

    try:
        datetime.fromisoformat(text)
    except ValueError:
        shown = f'"{text}" as "2006-01-02T15:04:05Z07:00"'
        raise CommandError(f'error: parsing time {shown}: cannot parse "{text}" as "2006"') from None


def _sources(connection: Connection, arguments: Arguments, words: list[str]) -> Iterator[tuple[Tree, str]]:
    """Every Pod with each of its containers that is meant. Raises: ApiError, CommandError."""
    pods = _pods(connection, arguments, words)
    quiet = arguments.all_pods
    for pod in pods:
        for container in _containers(pod, arguments, quiet=quiet):
            yield pod, container


def _pods(connection: Connection, arguments: Arguments, words: list[str]) -> list[Tree]:
    namespace = connection.namespace
    if arguments.selector:
        path = f"/api/v1/namespaces/{namespace}/pods"
        found = connection.json("GET", path, {"labelSelector": arguments.selector}).get("items") or []
        if not found:
            print(f"No resources found in {namespace} namespace.", file=sys.stderr)
        return list(found)
    from carob.cli.selection import Selection, get_object

    selected = Selection(connection).parse(words[:1] if "/" in words[0] else ["pods", words[0]])[0]
    row = selected.resource
    try:
        tree: Tree = get_object(connection, row.path(namespace if row.namespaced else None, selected.name), namespace)
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        raise CommandError(
            f'error: error from server (NotFound): {error.message} in namespace "{namespace}"'
        ) from error
    if row.kind == "Pod":
        return [tree]
    return _pods_behind(connection, arguments, row.version, tree)


def _pods_behind(connection: Connection, arguments: Arguments, version: str, tree: Tree) -> list[Tree]:
    from carob.cli.pods import SELECTING, matching, need_selector

    if tree["kind"] not in SELECTING:
        go = f"*{version}.{tree['kind']}"
        raise CommandError(f"error: cannot get the logs from {go}: selector for {go} not implemented")
    need_selector(tree, "cannot get the logs from")
    if arguments.all_pods:
        return pods_of(connection, tree)
    found = matching(connection, tree, arguments.pod_running_timeout)
    if not found:
        raise CommandError("error: timed out waiting for the condition")
    if len(found) > 1:
        print(f"Found {len(found)} pods, using pod/{found[0]['metadata']['name']}", file=sys.stderr)
    return found[:1]


def _containers(pod: Tree, arguments: Arguments, *, quiet: bool) -> list[str]:
    spec = pod["spec"]
    if arguments.all_containers:
        fields = ("initContainers", "containers", "ephemeralContainers")
        return [c["name"] for field in fields for c in spec.get(field) or []]
    if arguments.container:
        names = [c["name"] for f in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(f) or []]
        if arguments.container not in names:
            raise CommandError(
                f"error: container {arguments.container} is not valid for pod {pod['metadata']['name']} out of: "
                f"{shown_containers(pod)}"
            )
        return [arguments.container]
    return [default_container(pod, quiet=quiet)]


def _copy_all(connection: Connection, arguments: Arguments, sources: list[tuple[Tree, str]]) -> None:
    if arguments.follow and len(sources) > 1:
        if len(sources) > arguments.max_log_requests:
            raise CommandError(
                f"error: you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
                f"{arguments.max_log_requests}, use --max-log-requests to increase the limit"
            )
        _follow_all(connection, arguments, sources)
        return
    for pod, container in sources:
        try:
            _copy(connection, pod, container, arguments)
        except ApiError as error:
            if not arguments.ignore_errors:
                raise
            print(f"error: {error.message}", file=sys.stderr)


def _follow_all(connection: Connection, arguments: Arguments, sources: list[tuple[Tree, str]]) -> None:
    """Each with a connection and a thread of its own; a line is written whole."""
    import threading

    problems: list[BaseException] = []

    def follow(pod: Tree, container: str) -> None:
        own = Connection(connection.endpoint)
        try:
            _copy(own, pod, container, arguments, by_line=True)
        except (ApiError, CommandError) as error:
            problems.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=follow, args=source, daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems and not arguments.ignore_errors:
        raise problems[0]


def _query(container: str, arguments: Arguments) -> dict[str, str | list[str]]:
    query: dict[str, str | list[str]] = {"container": container}
    for flag in ("follow", "previous", "timestamps"):
        if getattr(arguments, flag):
            query[flag] = "true"
    if arguments.tail >= 0:
        query["tailLines"] = str(arguments.tail)
    if arguments.since:
        query["sinceSeconds"] = str(math.ceil(arguments.since))
    if arguments.since_time:
        query["sinceTime"] = arguments.since_time
    if arguments.limit_bytes:
        query["limitBytes"] = str(arguments.limit_bytes)
    if arguments.insecure_skip_tls_verify_backend:
        query["insecureSkipTLSVerifyBackend"] = "true"
    return query


def _copy(connection: Connection, pod: Tree, container: str, arguments: Arguments, *, by_line: bool = False) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    response: Any = connection.open("GET", path, _query(container, arguments))
    if response.status >= 400:
        raise ApiError.from_body(response.status, response.read())
    out = sys.stdout.buffer
    if arguments.prefix or by_line:
        prefix = f"[pod/{name}/{container}] ".encode() if arguments.prefix else b""
        while line := response.readline():
            out.write(prefix + line)
            out.flush()
        return
    while block := response.read_some():
        out.write(block)
        out.flush()
