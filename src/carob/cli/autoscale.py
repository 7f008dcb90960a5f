"""Make an autoscaler that chooses how many Pods a deployment, replica set, stateful set or replication controller runs.

Examples:
  carob autoscale deployment web --min=2 --max=10
  carob autoscale deployment web --max=5 --cpu=80%
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.api.status import ApiError
from carob.cli.apply import encode_last_applied, with_last_applied
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.results import ResultPrinter, add_dry_run_flag, add_output_flags
from carob.cli.targets import add_target_flags, fetch, targets_of

if TYPE_CHECKING:
    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

    Tree = dict[str, Any]

_OLD_FLAG = (
    "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%' for "
    "utilization or '500m' for milliCPU)."
)
KINDS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")


def add_flags(flags: Flags) -> None:
    """kubectl autoscale's flags."""
    flags.usage = "(-f FILE | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [flags]"
    flags.number("min", default=-1, help="not fewer Pods than this")
    flags.number("max", default=-1, help="not more Pods than this")
    flags.number("cpu-percent", default=-1)
    flags.text("cpu", meta="TARGET", help="how much CPU a Pod is to use: 70%% of what it asked for, or 500m")
    flags.text("memory", meta="TARGET", help="how much memory a Pod is to use: 60%% of what it asked for, or 200Mi")
    flags.text("name", meta="NAME", help="the autoscaler's name (default: the object's)")
    flags.text("field-manager", default="kubectl-autoscale")
    flags.switch("save-config", help="keep what was given in the annotation that apply reads")
    add_target_flags(flags, selectors=False)
    add_dry_run_flag(flags)
    add_output_flags(flags)
    add_connection_flags(flags)


def run(arguments: Arguments) -> int:
    """Make one for each."""
    if "max" not in arguments.changed:
        raise CommandError('error: required flag(s) "max" not set')
    if arguments.max < 1:
        raise CommandError(f"error: --max=MAXPODS is required and must be at least 1, max: {arguments.max}")
    if arguments.max < arguments.min:
        raise CommandError(
            f"error: --max=MAXPODS must be larger or equal to --min=MINPODS, max: {arguments.max}, min: {arguments.min}"
        )
    if "cpu-percent" in arguments.changed:
        print(_OLD_FLAG, file=sys.stderr)
    connection = connect(arguments)
    try:
        printer = ResultPrinter(arguments)
        for target in targets_of(connection, arguments):
            if target.resource.kind not in KINDS:
                resource = target.resource
                raise CommandError(
                    f"error: cannot autoscale a {resource.kind}: could not find scale subresource for "
                    f"{resource.api_version}, Resource={resource.plural} in discovery information"
                )
            _one(connection, arguments, printer, fetch(connection, target))
            sys.stdout.flush()
        return 0
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _one(connection: Connection, arguments: Arguments, printer: ResultPrinter, tree: Tree) -> None:
    made = _autoscaler(arguments, tree)
    if arguments.save_config:
        made = with_last_applied(made, encode_last_applied(made))
    if printer.dry_run != "client":
        query: dict[str, str | list[str]] = {"fieldManager": arguments.field_manager}
        if printer.dry_run == "server":
            query["dryRun"] = "All"
        path = f"/apis/autoscaling/v2/namespaces/{connection.namespace}/horizontalpodautoscalers"
        made = connection.json("POST", path, query, made)
    printer.show(made, "autoscaled", typed=True)


def _autoscaler(arguments: Arguments, tree: Tree) -> Tree:
    name = tree["metadata"]["name"]
    spec: Tree = {
        "scaleTargetRef": {"apiVersion": tree["apiVersion"], "kind": tree["kind"], "name": name},
        "maxReplicas": arguments.max,
    }
    if arguments.min > 0:
        spec["minReplicas"] = arguments.min
    metrics = []
    if arguments.cpu_percent >= 0:
        metrics.append(_metric("cpu", f"{arguments.cpu_percent}%"))
    metrics += [_metric(word, text) for word in ("cpu", "memory") if (text := getattr(arguments, word))]
    if metrics:
        spec["metrics"] = metrics
    metadata: Tree = {"name": arguments.name or name}
    if "namespace" in arguments.changed:
        metadata["namespace"] = arguments.namespace
    return {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": metadata,
        "spec": spec,
        "status": {"desiredReplicas": 0, "currentMetrics": None},
    }


def _metric(name: str, text: str) -> Tree:
    if text.endswith("%"):
        number = text[:-1]
        if not number.isdigit():
            raise CommandError(f'error: invalid percentage value "{text}"')
        target: Tree = {"type": "Utilization", "averageUtilization": int(number)}
    else:
        # a bare number of CPU is in thousandths
        value = f"{text}m" if name == "cpu" and text.isdigit() else text
        try:
            target = {"type": "AverageValue", "averageValue": str(quantity.canonical(value))}
        except ValueError:
            raise CommandError(f"error: invalid resource {name} value: {text}") from None
    return {"type": "Resource", "resource": {"name": name, "target": target}}
