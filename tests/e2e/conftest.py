"""Real clusters for the end-to-end tests: `carob up` in a folder of the test's own, and `carob down` after it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from clusters import Cluster, start
from machine import left_behind, look

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests that do not break it."""
    before = look()
    cluster = start(f"e2e-{os.getpid() % 10000}", tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.carob("down", timeout=120).check()
    left = left_behind(before)
    assert not left, "carob down left the machine changed:\n" + "\n".join(left)


@pytest.fixture
def own_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster for one test that breaks it."""
    cluster = start(f"own-{os.getpid() % 10000}-{int(time.monotonic() * 1000) % 10000}", tmp_path)
    yield cluster
    cluster.carob("down", timeout=120)


@pytest.fixture(params=["1.31", "1.37"])
def kubectl_version(request: pytest.FixtureRequest) -> str:
    """Each kubectl that the main job is judged by."""
    return str(request.param)
