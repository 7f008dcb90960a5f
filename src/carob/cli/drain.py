"""Drain node in preparation for maintenance: it is cordoned, and its Pods are evicted as their budgets allow.

Examples:
  carob drain node-1 --ignore-daemonsets
  carob drain node-1 --force --grace-period=900
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.cordon import mark
from carob.cli.delete import wait_gone
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import add_dry_run_flag, dry_run_of
from carob.cli.targets import Target, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

    Tree = dict[str, Any]

RETRY_SECONDS = 5.0
FOREVER_SECONDS = 7 * 24 * 3600.0
MIRROR = "kubernetes.io/config.mirror"

_DAEMONS = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
_LOCAL = "Pods with local storage (use --delete-emptydir-data to override)"
_LONELY = "Pods that declare no controller (use --force to override)"
_WARN_DAEMONS = "ignoring DaemonSet-managed Pods"
_WARN_LONELY = "deleting Pods that declare no controller"


def add_flags(flags: Flags) -> None:
    """kubectl drain's flags."""
    flags.usage = "NODE [flags]"
    flags.switch("force", help="also Pods that no controller would make again")
    flags.switch("ignore-daemonsets", help="leave daemons where they are")
    flags.switch("delete-emptydir-data", help="also Pods whose emptyDir volumes will be lost")
    flags.number("grace-period", default=-1, help="seconds for each Pod to end (-1: what it says itself)")
    flags.duration("timeout", help="give up after this (0: never)")
    flags.number("skip-wait-for-delete-timeout", help="do not wait for Pods that have been ending for so many seconds")
    flags.switch("disable-eviction", help="delete Pods, whatever their budgets say")
    flags.text("selector", "l", meta="SELECTOR", help="nodes with these labels")
    flags.text("pod-selector", meta="SELECTOR", help="only Pods with these labels")
    flags.number("chunk-size", default=500)
    add_dry_run_flag(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Drain each node; those that cannot be are said at the end."""
    if not arguments.words and not arguments.selector:
        raise CommandError("error: USAGE: drain NODE [flags]\nSee 'carob drain -h' for help and examples")
    if arguments.words and arguments.selector:
        raise CommandError(
            "error: cannot specify both a node name and a --selector option\nSee 'carob drain -h' for help and examples"
        )
    dry_run = dry_run_of(arguments)
    connection = connect(arguments)
    try:
        row = TABLE.by_kind("v1", "Node")
        assert row is not None
        names = [word.removeprefix("node/").removeprefix("nodes/") for word in arguments.words]
        nodes = [Target(row, "", name) for name in names] or list(listed(connection, row, "", arguments.selector, ""))
        if mark(connection, nodes, True, dry_run):
            return 1
        return _drain_all(connection, arguments, nodes, dry_run)
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _drain_all(connection: Connection, arguments: Arguments, nodes: Sequence[Target], dry_run: str) -> int:
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(dry_run, "")
    failures: list[tuple[str, list[str]]] = []
    for node in nodes:
        try:
            _drain(connection, arguments, node.name, dry_run, suffix)
        except _CannotDrain as error:
            failures.append((node.name, error.reasons))
            shown = error.reasons[0] if len(error.reasons) == 1 else f"[{', '.join(error.reasons)}]"
            say = f'error: unable to drain node "{node.name}" due to error: {shown}, continuing command...'
            print(say, file=sys.stderr)
        else:
            print(f"node/{node.name} drained{suffix}")
            sys.stdout.flush()
    if not failures:
        return 0
    print("There are pending nodes to be drained:", file=sys.stderr)
    for name, _ in failures:
        print(f" {name}", file=sys.stderr)
    for _, reasons in failures:
        for reason in reasons:
            print(reason, file=sys.stderr)
    return 1


class _CannotDrain(Exception):
    def __init__(self, reasons: list[str]) -> None:
        super().__init__()
        self.reasons = reasons


def _drain(connection: Connection, arguments: Arguments, node: str, dry_run: str, suffix: str) -> None:
    row = TABLE.by_kind("v1", "Pod")
    assert row is not None
    pods = list(listed(connection, row, "", arguments.pod_selector, f"spec.nodeName={node}"))
    chosen, errors, warnings = _choose(connection, arguments, pods)
    if errors:
        raise _CannotDrain([f"cannot delete {why}: {', '.join(names)}" for why, names in sorted(errors.items())])
    if warnings:
        shown = "; ".join(f"{why}: {', '.join(names)}" for why, names in sorted(warnings.items()))
        print(f"Warning: {shown}", file=sys.stderr)
    verb = "deleting" if arguments.disable_eviction else "evicting"
    deadline = time.monotonic() + (arguments.timeout or FOREVER_SECONDS)
    for pod in chosen:
        print(f"{verb} pod {pod.namespace}/{pod.name}{suffix}")
    sys.stdout.flush()
    if dry_run != "client":
        for pod in chosen:
            _end(connection, arguments, pod, dry_run, deadline)
    if dry_run == "none":
        done = "deleted" if arguments.disable_eviction else "evicted"
        for pod in chosen:
            try:
                wait_gone(connection, pod, pod.tree["metadata"]["uid"], deadline)
            except CommandError as error:
                why = "global timeout reached"
                raise _CannotDrain([f"{why}: {arguments.timeout:g}s"]) from error
            print(f"pod/{pod.name} {done}")
            sys.stdout.flush()


def _choose(
    connection: Connection, arguments: Arguments, pods: Sequence[Target]
) -> tuple[list[Target], dict[str, list[str]], dict[str, list[str]]]:
    """Which Pods go, which must not, and what is to be said. Source: kubectl pkg/drain/filters.go."""
    chosen: list[Target] = []
    errors: dict[str, list[str]] = {}
    warnings: dict[str, list[str]] = {}
    for pod in pods:
        stays, why, warning = _judge(connection, arguments, pod)
        name = f"{pod.namespace}/{pod.name}"
        for reason in why:
            errors.setdefault(reason, []).append(name)
        for text in warning:
            warnings.setdefault(text, []).append(name)
        if not stays and not why:
            chosen.append(pod)
    return chosen, errors, warnings


def _judge(connection: Connection, arguments: Arguments, pod: Target) -> tuple[bool, list[str], list[str]]:
    """Whether it stays; why it must not go; what to warn of."""
    metadata, spec = pod.tree["metadata"], pod.tree["spec"]
    if MIRROR in (metadata.get("annotations") or {}):
        return True, [], []
    limit = arguments.skip_wait_for_delete_timeout
    if limit > 0 and metadata.get("deletionTimestamp"):
        from carob.cli.describers.parts import parse_time

        if time.time() - parse_time(metadata["deletionTimestamp"]).timestamp() > limit:
            return True, [], []
    ended = (pod.tree.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    owner = next((o for o in metadata.get("ownerReferences") or [] if o.get("controller")), None)
    if owner is not None and owner["kind"] == "DaemonSet" and not ended:
        if _exists(connection, pod.namespace, owner["name"]):
            if not arguments.ignore_daemonsets:
                return True, [_DAEMONS], []
            return True, [], [_WARN_DAEMONS]
        if not arguments.force:
            return True, [f'daemonsets.apps "{owner["name"]}" not found'], []
    why: list[str] = []
    warning: list[str] = []
    has_data = not ended and any("emptyDir" in volume for volume in spec.get("volumes") or [])
    if has_data and not arguments.delete_emptydir_data:
        why.append(_LOCAL)
    if not ended and owner is None:
        if arguments.force:
            warning.append(_WARN_LONELY)
        else:
            why.append(_LONELY)
    return False, why, warning


def _exists(connection: Connection, namespace: str, name: str) -> bool:
    try:
        connection.json("GET", f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
    except ApiError as error:
        if error.reason != "NotFound":
            raise
        return False
    return True


def _end(connection: Connection, arguments: Arguments, pod: Target, dry_run: str, deadline: float) -> None:
    """Ask for the Pod's end until its budget allows it. Raises: _CannotDrain, ApiError."""
    options: Tree = {"gracePeriodSeconds": arguments.grace_period} if arguments.grace_period >= 0 else {}
    if dry_run == "server":
        options["dryRun"] = ["All"]
    for _ in _attempts(deadline):
        try:
            if arguments.disable_eviction:
                connection.json("DELETE", pod.path(), None, {"kind": "DeleteOptions", "apiVersion": "v1", **options})
            else:
                eviction = {
                    "apiVersion": "policy/v1",
                    "kind": "Eviction",
                    "metadata": {"name": pod.name, "namespace": pod.namespace},
                    **({"deleteOptions": options} if options else {}),
                }
                connection.json("POST", pod.path("eviction"), None, eviction)
        except ApiError as error:
            if error.reason == "NotFound":
                return
            if error.code != 429:
                raise
            say = f'error when evicting pods/"{pod.name}" -n "{pod.namespace}" (will retry after 5s): {error.message}'
            print(say, file=sys.stderr)
        else:
            return
    raise _CannotDrain(
        [
            f'error when waiting for pod "{pod.name}" in namespace "{pod.namespace}" to terminate: global timeout reached: {arguments.timeout:g}s'
        ]
    )


def _attempts(deadline: float) -> Iterator[None]:
    """One now, and one every five seconds: only time can tell when a budget has room again."""
    while True:
        yield
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, RETRY_SECONDS))
