"""Print the logs for a container in a pod; the first container is the default.

Examples:
  carob logs hello-pod
  carob logs -f hello-pod -c sync --tail=20
  carob logs -p hello-pod --timestamps
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import Connection, add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.flags import Arguments, Flags

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


def add_flags(flags: Flags) -> None:
    """kubectl logs' flags."""
    flags.usage = "POD [CONTAINER] [flags]"
    flags.text("container", "c", meta="NAME", help="which container")
    flags.switch("follow", "f", help="go on while the container writes")
    flags.switch("previous", "p", help="of the previous run of the container")
    flags.switch("all-containers", help="of every container of the Pod")
    flags.switch("prefix", help="each line with its Pod and container")
    flags.number("tail", default=-1, meta="N", help="only the last lines")
    flags.duration("since", help="only newer than this duration")
    flags.text("since-time", meta="TIME", help="only after this time (RFC 3339)")
    flags.switch("timestamps", help="each line with its time")
    flags.number("limit-bytes", meta="N", help="at most so many bytes")
    flags.text("selector", "l", meta="SELECTOR", help="of the Pods with these labels")
    flags.switch("ignore-errors", help="go on when a container's log cannot be read")
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Fetch and copy."""
    connection = connect(arguments)
    try:
        pods = _pods(connection, arguments)
        several = len(pods) > 1
        for pod in pods:
            for container in _containers(pod, arguments, several=several):
                try:
                    _copy(connection, pod, container, arguments)
                except ApiError as error:
                    if not arguments.ignore_errors:
                        raise
                    print(server_error(error), file=sys.stderr)
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _pods(connection: Connection, arguments: Arguments) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{connection.namespace}/pods"
    if arguments.selector:
        if arguments.words:
            raise CommandError("error: only a selector (-l) or a POD name is allowed")
        if arguments.tail == -1:
            arguments.tail = 10
        return list(connection.json("GET", path, {"labelSelector": arguments.selector}).get("items") or [])
    if not arguments.words:
        raise CommandError(
            "error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\n"
            "POD or TYPE/NAME is a required argument for the logs command\nSee 'carob logs --help' for help and examples"
        )
    word = arguments.words[0]
    if len(arguments.words) > 1:
        arguments.container = arguments.container or arguments.words[1]
    if "/" not in word:
        return [connection.json("GET", f"{path}/{word}")]
    selected = Selection(connection).parse([word])[0]
    if selected.resource.kind == "Pod":
        return [connection.json("GET", f"{path}/{selected.name}")]
    tree = connection.json("GET", selected.resource.path(connection.namespace, selected.name))
    selector = (tree.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector)
    found = connection.json("GET", path, {"labelSelector": ",".join(f"{k}={v}" for k, v in sorted(labels.items()))})
    return list(found.get("items") or [])[:1]


def _containers(pod: dict[str, Any], arguments: Arguments, *, several: bool) -> Sequence[str]:
    spec = pod["spec"]
    names = [
        c["name"] for field in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(field) or []
    ]
    if arguments.all_containers:
        return names
    if arguments.container:
        return [arguments.container]
    return [default_container(pod, quiet=several)]


def default_container(pod: dict[str, Any], *, quiet: bool = False) -> str:
    """The container that is meant when none is named: the annotated one, else the first; says so if there are several."""
    spec = pod["spec"]
    annotated = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    names = [c["name"] for c in spec["containers"]]
    if annotated in names:
        return str(annotated)
    others = [f"{c['name']} (init)" for c in spec.get("initContainers") or []]
    others = [*(f"{c['name']} (ephem)" for c in spec.get("ephemeralContainers") or []), *others]
    if len(names) + len(others) > 1 and not quiet:
        print(f'Defaulted container "{names[0]}" out of: {", ".join([*names, *others])}', file=sys.stderr)
    return str(names[0])


def _copy(connection: Connection, pod: dict[str, Any], container: str, arguments: Arguments) -> None:
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    query: dict[str, str | list[str]] = {"container": container}
    for flag in ("follow", "previous", "timestamps"):
        if getattr(arguments, flag):
            query[flag] = "true"
    if arguments.tail >= 0:
        query["tailLines"] = str(arguments.tail)
    since = arguments.since
    if since and arguments.since_time:
        raise CommandError("error: at most one of `sinceTime` or `sinceSeconds` may be specified")
    if since:
        query["sinceSeconds"] = str(max(1, round(since + 0.499)))
    if arguments.since_time:
        query["sinceTime"] = arguments.since_time
    if arguments.limit_bytes:
        query["limitBytes"] = str(arguments.limit_bytes)
    response = connection.open("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log", query)
    if response.status >= 400:
        raise ApiError.from_body(response.status, response.read())
    out = sys.stdout.buffer
    if arguments.prefix:
        prefix = f"[pod/{name}/{container}] ".encode()
        while line := response.readline():
            out.write(prefix + line)
            out.flush()
        return
    while block := response.read_some():
        out.write(block)
        out.flush()
