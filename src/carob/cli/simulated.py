"""The flags of simulated nodes, for `carob up`."""

from __future__ import annotations

from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carob.cli.flags import Arguments, Flags

MAX_NODES = 16_000


def add_flags(flags: Flags) -> None:
    """`--simulated-nodes` and what they look like."""
    flags.number("simulated-nodes", meta="K", help="how many simulated nodes beside the others: they run no containers")
    flags.csv("simulated-capacity", meta="NAME=AMOUNT,...", help="of each (default: cpu=32,memory=256Gi,pods=110)")
    flags.csv("simulated-labels", meta="KEY=VALUE,...", help="further labels of each")
    flags.number("simulated-zones", default=3, meta="N", help="over how many zones they are spread")
    flags.duration("simulated-start", default=0.0, meta="T", help="until a Pod on them is Running and Ready")
    flags.duration("simulated-job", default=0.0, meta="T", help="how long a Job's Pod on them runs")


def options(arguments: Arguments) -> dict[str, Any]:
    """What the arguments say, by the options' names; empty without simulated nodes. Raises: CommandError."""
    count = arguments.simulated_nodes
    if not 0 <= count <= MAX_NODES:
        raise CommandError(f"error: --simulated-nodes: {count} is not between 0 and {MAX_NODES}")
    if not count:
        return {}
    if arguments.simulated_zones < 0:
        raise CommandError(f"error: --simulated-zones: {arguments.simulated_zones} is less than 0")
    capacity = _pairs(arguments.simulated_capacity, "simulated-capacity")
    from carob.api import quantity

    for name, amount in capacity.items():
        try:
            quantity.nano(amount)
        except ValueError as error:
            raise CommandError(f'error: --simulated-capacity: {name}: "{amount}" is no quantity') from error
    return {
        "count": count,
        "zones": arguments.simulated_zones,
        "capacity": capacity,
        "labels": _pairs(arguments.simulated_labels, "simulated-labels"),
        "start_seconds": arguments.simulated_start,
        "job_seconds": arguments.simulated_job,
    }


def _pairs(texts: list[str], flag: str) -> dict[str, str]:
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise CommandError(f'error: --{flag}: "{text}" is not KEY=VALUE')
        found[key] = value
    return found
