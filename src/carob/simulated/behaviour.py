"""What a simulated node does with a Pod, and how it fails: by annotations, which may be changed at any time.

Pure. On a Pod:

- `simulated.carob.dev/start-seconds`: how long until it is Running and Ready;
- `simulated.carob.dev/run-seconds`: how long its containers run until they exit;
- `simulated.carob.dev/exit-code`: what they exit with;
- `simulated.carob.dev/ready`: `false` keeps it from being Ready.

On a Node, `simulated.carob.dev/state`:

- `ready`: as if there were no annotation;
- `not-ready`: its Ready condition is False;
- `silent`: it gives no sign of life and does nothing, like a machine without power;
- `flapping`: in turn ready and not, `simulated.carob.dev/flap-seconds` each;
- `gone`: its Node is deleted, with the Pods left to the garbage collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.simulated.options import SimulatedOptions
    from carob.simulated.views import PodView

PREFIX = "simulated.carob.dev/"
START, RUN, EXIT, READY = (PREFIX + word for word in ("start-seconds", "run-seconds", "exit-code", "ready"))
STATE, FLAP = PREFIX + "state", PREFIX + "flap-seconds"
NOT_READY, SILENT, FLAPPING, GONE = "not-ready", "silent", "flapping", "gone"
FLAP_SECONDS = 10.0
LONGEST_SECONDS = 1e9


class Behaviour(Struct, frozen=True):
    """One Pod's. `run_seconds` None: until it is deleted."""

    start_seconds: float
    run_seconds: float | None
    exit_code: int
    ready: bool


def behaviour_of(pod: PodView, options: SimulatedOptions) -> Behaviour:
    """What the Pod does; annotations that make no sense count as missing."""
    notes = pod.metadata.annotations
    of_a_job = any(owner.kind == "Job" and owner.controller for owner in pod.metadata.owner_references)
    return Behaviour(
        start_seconds=_number(notes, START, options.start_seconds),
        run_seconds=_number(notes, RUN, options.job_seconds if of_a_job else -1.0)
        if of_a_job or RUN in notes
        else None,
        exit_code=int(_number(notes, EXIT, 0.0)) & 255,
        ready=notes.get(READY) != "false",
    )


def flap_seconds(notes: Mapping[str, str]) -> float:
    """How long a flapping node stays as it is."""
    return max(_number(notes, FLAP, FLAP_SECONDS), 0.1)


def _number(notes: Mapping[str, str], key: str, default: float) -> float:
    try:
        value = float(notes.get(key, ""))
    except ValueError:
        return max(default, 0.0)
    return value if 0 <= value <= LONGEST_SECONDS else max(default, 0.0)
