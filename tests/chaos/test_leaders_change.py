"""Two servers over one store: leaders die, fall silent and come back, and the cluster still comes to what was declared.

At no moment do two schedulers, or two sets of controllers, work. Seeds as in `test_convergence`.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from carob.apiserver.pki import Pki, PkiOptions, ensure_pki
from carob.base.clock import SystemClock
from tests.chaos.elected import ElectedSimulation
from tests.chaos.simulation import Simulation
from tests.chaos.test_convergence import Fault, delete_pod, find_node, lose_node, lose_watches, new_version, play, scale

pytestmark = pytest.mark.slow

_COUNT = int(os.environ.get("CAROB_SEEDS", "2"))
SEEDS = [int(os.environ["CAROB_SEED"])] if "CAROB_SEED" in os.environ else range(1, 1 + _COUNT)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder: Path = tmp_path_factory.mktemp("pki")
    return ensure_pki(folder, PkiOptions(), SystemClock().now())


async def kill_leader(simulation: Simulation, lots: random.Random) -> None:
    assert isinstance(simulation, ElectedSimulation)
    await simulation.kill(simulation.leader())
    await simulation.advance(lots.choice((0.2, 3, 14, 18, 60)))
    await simulation.start_server()


async def silence_leader(simulation: Simulation, lots: random.Random) -> None:
    """Too short to lose the lease, about as long as it lasts, or much longer."""
    assert isinstance(simulation, ElectedSimulation)
    leader = simulation.leader()
    await leader.silence(True)
    await simulation.advance(lots.choice((1, 9, 10, 11, 15, 17, 40)))
    await leader.silence(False)


async def kill_everybody(simulation: Simulation, lots: random.Random) -> None:
    await simulation.stop_server()
    await simulation.advance(lots.choice((0, 3, 90)))
    await simulation.start_server()


FAULTS: tuple[Fault, ...] = (kill_leader, silence_leader, kill_everybody)
FAULTS += (lose_watches, lose_node, find_node, delete_pod, scale, new_version, silence_leader)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
def test_leaders_change_and_all_ends_as_declared(pki: Pki, seed: int) -> None:
    history: list[str] = []

    async def main() -> None:
        simulation = ElectedSimulation(seed, pki)
        await play(simulation, random.Random(seed), FAULTS, history)
        assert simulation.terms >= 2

    try:
        asyncio.run(main())
    except BaseException as error:
        error.add_note(f"CAROB_SEED={seed}: {', '.join(history)}")
        raise
