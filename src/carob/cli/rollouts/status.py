"""`rollout status`: say how far it is, until it is done. Woken by the watch, with nothing asked twice.

Source: kubectl pkg/polymorphichelpers/rollout_status.go, pkg/cmd/rollout/rollout_status.go.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.cli.connection import connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.rollouts.chosen import add_rollout_flags, chosen
from carob.cli.rollouts.revisions import REVISION

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags
    from carob.cli.targets import Target

    Tree = dict[str, Any]

FOREVER_SECONDS = 7 * 24 * 3600.0
PROGRESS_LOST = "ProgressDeadlineExceeded"


class Status:
    """Show the status of the rollout, and wait until it is done.

    Examples:
      carob rollout status deployment/web --timeout=60s
      carob rollout status deployment/web --watch=false
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.switch("watch", "w", default=True, help="until it is done")
        flags.number("revision", help="only while this is the newest one")
        flags.duration("timeout", help="wait no longer (0: for ever)")
        add_rollout_flags(flags, field_manager=False)

    @staticmethod
    def run(arguments: Arguments) -> int:
        """Wait for each, one after another."""
        if arguments.revision < 0:
            raise CommandError(f"error: revision must be a positive integer: {arguments.revision}")
        deadline = time.monotonic() + (arguments.timeout or FOREVER_SECONDS)
        connection = connect(arguments)
        try:
            for target, tree in chosen(connection, arguments):
                _follow(connection, target, tree, arguments, deadline)
            return 0
        except ApiError as error:
            raise server_error(error) from error
        finally:
            connection.close()


def _follow(connection: Connection, target: Target, tree: Tree, arguments: Arguments, deadline: float) -> None:
    if _tell(target, tree, arguments.revision) or not arguments.watch:
        return
    collection = target.resource.path(target.namespace or None)
    version = tree["metadata"]["resourceVersion"]
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise CommandError("error: timed out waiting for the condition")
        query: dict[str, str | list[str]] = {
            "fieldSelector": f"metadata.name={target.name}",
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, min(int(left), 300))),
        }
        for line in connection.lines(collection, query, {"Accept": "application/json"}):
            event = json.loads(line)
            if event["type"] == "ERROR":
                version = ""
                break
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                raise CommandError("error: object has been deleted")
            if event["type"] != "BOOKMARK" and _tell(target, event["object"], arguments.revision):
                return


def _tell(target: Target, tree: Tree, revision: int) -> bool:
    """Print where it stands; whether it is done. Raises: CommandError when it never will be."""
    kind = target.resource.kind
    judges = {"Deployment": _deployment, "DaemonSet": _daemon_set, "StatefulSet": _stateful_set}
    if kind not in judges:
        group = f".{target.resource.group}" if target.resource.group else ""
        raise CommandError(f"error: no status viewer has been implemented for {kind}{group}")
    text, done = judges[kind](tree, revision)
    print(text)
    sys.stdout.flush()
    return done


def _observed(tree: Tree) -> bool:
    return bool(tree["metadata"].get("generation", 0) <= (tree.get("status") or {}).get("observedGeneration", 0))


def _deployment(tree: Tree, revision: int) -> tuple[str, bool]:
    name, spec, status = tree["metadata"]["name"], tree["spec"], tree.get("status") or {}
    if revision:
        at = (tree["metadata"].get("annotations") or {}).get(REVISION, "0")
        if at != str(revision):
            raise CommandError(f"error: desired revision ({revision}) is different from the running revision ({at})")
    if not _observed(tree):
        return "Waiting for deployment spec update to be observed...", False
    progressing = [c for c in status.get("conditions") or [] if c.get("type") == "Progressing"]
    if progressing and progressing[0].get("reason") == PROGRESS_LOST:
        raise CommandError(f'error: deployment "{name}" exceeded its progress deadline')
    wanted = spec.get("replicas", 1)
    total, updated, available = (status.get(f, 0) for f in ("replicas", "updatedReplicas", "availableReplicas"))
    waiting = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new replicas have been updated...", False
    if total > updated:
        return f"{waiting} {total - updated} old replicas are pending termination...", False
    if available < updated:
        return f"{waiting} {available} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _daemon_set(tree: Tree, revision: int) -> tuple[str, bool]:
    del revision
    name, status = tree["metadata"]["name"], tree.get("status") or {}
    _only_rolling(tree)
    if not _observed(tree):
        return "Waiting for daemon set spec update to be observed...", False
    fields = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    wanted, updated, available = (status.get(f, 0) for f in fields)
    waiting = f'Waiting for daemon set "{name}" rollout to finish:'
    if updated < wanted:
        return f"{waiting} {updated} out of {wanted} new pods have been updated...", False
    if available < wanted:
        return f"{waiting} {available} of {wanted} updated pods are available...", False
    return f'daemon set "{name}" successfully rolled out', True


def _stateful_set(tree: Tree, revision: int) -> tuple[str, bool]:
    del revision
    spec, status = tree["spec"], tree.get("status") or {}
    _only_rolling(tree)
    if not status.get("observedGeneration") or not _observed(tree):
        return "Waiting for statefulset spec update to be observed...", False
    wanted, ready = spec.get("replicas"), status.get("readyReplicas", 0)
    if wanted is not None and ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    updated, newest = status.get("updatedReplicas", 0), status.get("updateRevision", "")
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition")
    if partition is not None:
        if wanted is not None and updated < wanted - partition:
            text = "Waiting for partitioned roll out to finish: {} out of {} new pods have been updated..."
            return text.format(updated, wanted - partition), False
        return f"partitioned roll out complete: {updated} new pods have been updated...", True
    if newest != status.get("currentRevision", ""):
        return f"waiting for statefulset rolling update to complete {updated} pods at revision {newest}...", False
    at = status.get("currentRevision", "")
    return f"statefulset rolling update complete {status.get('currentReplicas', 0)} pods at revision {at}...", True


def _only_rolling(tree: Tree) -> None:
    if ((tree["spec"].get("updateStrategy") or {}).get("type")) != "RollingUpdate":
        raise CommandError("error: rollout status is only available for RollingUpdate strategy type")
