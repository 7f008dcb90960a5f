"""Layers that have the places of usual mounts."""

from __future__ import annotations

import pytest

from carob.host.recording import FakeHost
from carob.runtime.embedded import mount_points

HOSTS, NAME, DNS = "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.mark.parametrize(
    ("places", "layers"),
    [
        ({HOSTS, NAME, DNS, TOKEN, "/data"}, ["/m/names", "/m/account"]),
        ({HOSTS, NAME, DNS}, ["/m/names"]),
        ({TOKEN}, ["/m/account"]),
        # on the node's network: an empty file would show at the place that nobody mounts
        ({HOSTS, DNS}, []),
    ],
)
def test_a_layer_is_used_where_all_that_it_has_is_mounted_over(places: set[str], layers: list[str]) -> None:
    assert mount_points.layers("/m", places) == layers


def test_layers_are_made_once() -> None:
    host = FakeHost({})
    mount_points.make(host, "/m")
    before = dict(host.files)
    assert {f"/m/names{path}" for path in (HOSTS, NAME, DNS)} <= before.keys()
    mount_points.make(host, "/m")
    assert host.files == before
