"""Fixtures of the contract suites."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.runtime_worlds import (
    ContainerdWorld,
    FakeWorld,
    RealWorld,
    ServedWorld,
    World,
    clear_killed_runs,
    traces,
)


@pytest.fixture(scope="session", autouse=True)
def _clean_machine() -> Iterator[None]:
    """Before, of what killed runs have left; after, of the controllers that runc has enabled in cgroup2."""
    if os.geteuid() == 0:
        clear_killed_runs()
    yield
    if os.geteuid() == 0:
        clear_killed_runs()


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


REAL = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module")
def containerd_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerdWorld]:
    """One containerd for all tests of a module; the machine is as before when they are done."""
    folder = tmp_path_factory.mktemp("containerd")
    # sockets' paths are short
    run = Path(tempfile.mkdtemp(prefix="carob-c-", dir="/tmp"))
    world = ContainerdWorld(folder, run)
    try:
        world.start()
        yield world
    finally:
        world.stop()
    assert traces(folder) + traces(run) == []


@pytest.fixture(
    params=[
        "fake",
        "fake served",
        pytest.param("embedded", marks=REAL),
        pytest.param("embedded served", marks=REAL),
        pytest.param("containerd", marks=REAL),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """Every implementation in turn."""
    if request.param == "fake":
        return FakeWorld(tmp_path)
    if request.param == "fake served":
        return ServedWorld(FakeWorld(tmp_path), tmp_path / "cri.sock")
    if request.param == "containerd":
        driven: ContainerdWorld = request.getfixturevalue("containerd_world")
        return driven
    real: RealWorld = request.getfixturevalue("real_world")
    if request.param == "embedded served":
        return ServedWorld(real, Path(real.places.run_dir) / "cri.sock")
    return real
