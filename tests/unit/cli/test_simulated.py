"""The flags of simulated nodes."""

from __future__ import annotations

import pytest

from carob.cli import simulated
from carob.cli.errors import CommandError
from carob.cli.flags import Flags
from carob.simulated.options import SimulatedOptions


def options(*given: str) -> dict[str, object]:
    flags = Flags("carob up")
    simulated.add_flags(flags)
    return simulated.options(flags.parse(given))


def test_options_are_those_of_the_nodes() -> None:
    assert options() == {}
    found = options(
        "--simulated-nodes=3",
        "--simulated-capacity=cpu=8,example.com/gpu=1",
        "--simulated-labels=a=b",
        "--simulated-job=2s",
    )
    made = SimulatedOptions(**found)  # type: ignore[arg-type]
    assert made.names() == ["simulated-0", "simulated-1", "simulated-2"]
    assert made.capacity == {"cpu": "8", "example.com/gpu": "1"}
    assert (made.labels, made.job_seconds, made.start_seconds) == ({"a": "b"}, 2.0, 0.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--simulated-nodes=-1"], "error: --simulated-nodes: -1 is not between 0 and 16000"),
        (["--simulated-nodes=1", "--simulated-labels=x"], 'error: --simulated-labels: "x" is not KEY=VALUE'),
        (
            ["--simulated-nodes=1", "--simulated-capacity=cpu=much"],
            'error: --simulated-capacity: cpu: "much" is no quantity',
        ),
        (["--simulated-nodes=1", "--simulated-zones=-2"], "error: --simulated-zones: -2 is less than 0"),
    ],
)
def test_mistakes_are_named(given: list[str], words: str) -> None:
    with pytest.raises(CommandError) as caught:
        options(*given)
    assert str(caught.value) == words
