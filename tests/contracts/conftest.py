"""Fixtures of the contract suites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.runtime_worlds import FakeWorld, RealWorld, World, traces


@pytest.fixture(scope="module")
def real_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    """One cluster for all tests of a module; the machine is as before when they are done."""
    folder = tmp_path_factory.mktemp("cluster")
    world = RealWorld(folder)
    try:
        yield world
    finally:
        world.clear()
    assert traces(folder) == []


@pytest.fixture(params=["fake", pytest.param("embedded", marks=[pytest.mark.root, pytest.mark.slow])])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Every implementation in turn."""
    if request.param == "fake":
        return FakeWorld(tmp_path)
    real: RealWorld = request.getfixturevalue("real_world")
    return real
