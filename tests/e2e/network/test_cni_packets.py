"""Pods that the distribution's CNI plugins attach (containernetworking-plugins): bridge and host-local, real packets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from network.namespaces import Namespace
from network.worlds import (
    LAYOUT,
    NODE_OUTER,
    OUTSIDE,
    Mapping,
    Request,
    World,
    connect_outside,
    loopback_up,
    traces,
)

from carob.network.layout import CniPlaces, NetworkFailure
from carob.network.node import remove_everything
from carob.network.services import Backends, Endpoint, ServicePort

PLUGINS = "/usr/lib/cni"
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not Path(PLUGINS, "bridge").exists(), reason="needs containernetworking-plugins"),
]
WEB = ServicePort("10.43.7.7", "tcp", 80)


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    """A bridge with addresses of the node's range, that keeps its books below `folder`."""
    ipam = {
        "type": "host-local",
        "dataDir": str(folder / "ipam"),
        "ranges": [[{"subnet": "usePodCidr", "rangeStart": "10.42.0.2", "gateway": "10.42.0.6"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "packets", "plugins": [bridge | changes]}


def places(tmp_path: Path, tree: dict[str, Any]) -> CniPlaces:
    folder = tmp_path / "net.d"
    folder.mkdir(exist_ok=True)
    (folder / "10-packets.conflist").write_text(json.dumps(tree))
    (folder / "99-later.conf").write_text("{}")
    return CniPlaces(str(folder), (str(tmp_path), PLUGINS))


@dataclass
class CniWorld(World):
    requests: dict[str, Request] = field(default_factory=dict)

    def attached(self, name: str, *mappings: Mapping) -> tuple[Namespace, str]:
        """A Pod whose namespace is found by a path, as the runtime pins it."""
        network = self.network
        assert network is not None
        pod = Namespace()
        self.made.append(pod)
        pod.call(loopback_up)
        path = f"/proc/{os.getpid()}/task/{pod.call(_thread_id)}/ns/net"
        request = Request(name, mappings, netns_path=path, uid=f"uid-{name}")
        self.requests[name] = request
        (address,) = pod.call(lambda: network.pods.attach(request))
        assert pod.call(lambda: network.pods.attach(request)) == [address]
        return pod, address


def _thread_id() -> int:
    import threading

    return threading.get_native_id()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CniWorld]:
    world = CniWorld(tmp_path / "state")
    connect_outside(world)
    world.node.call(loopback_up)
    world.start(replace(LAYOUT, cni=places(tmp_path, configuration(tmp_path))))
    yield world
    world.close()


def test_pods_on_a_bridge_reach_each_other_services_the_node_and_the_world(world: CniWorld) -> None:
    assert world.network is not None
    assert world.network.pods.status() == ""
    one, first = world.attached("one", Mapping(8080, 80))
    two, second = world.attached("two")
    assert {first, second} == {"10.42.0.2", "10.42.0.3"}
    world.servers += [one.serve(first, 80, b"one"), world.outside.serve(OUTSIDE, 80, b"outside")]
    assert two.fetch(first, 80) == f"one {second}"
    assert world.node.fetch(first, 80).startswith("one")
    assert two.fetch(OUTSIDE, 80) == f"outside {NODE_OUTER}"  # masqueraded, though the plugin does not
    world.network.services.apply({WEB: Backends((Endpoint(first, 80),))})
    for caller in (one, two, world.node):
        assert caller.fetch(WEB.address, WEB.port).startswith("one")
    assert world.outside.fetch(NODE_OUTER, 8080) == f"one {OUTSIDE}"


def test_what_a_pod_had_is_free_again(world: CniWorld) -> None:
    network = world.network
    assert network is not None
    _, first = world.attached("one", Mapping(8080, 80))
    assert [lease.address for lease in network.pods.leases()] == [first]
    for _ in range(2):
        network.pods.detach(world.requests["one"])
    assert network.pods.leases() == []
    assert sorted(path.name for path in (world.folder.parent / "ipam" / "packets").glob("10.*")) == []
    gone, _ = world.attached("gone")
    gone.close()
    world.made.remove(gone)
    network.pods.detach(world.requests["gone"])  # also when its namespace is there no more
    assert network.pods.leases() == []
    world.attached("two", Mapping(8080, 80))
    with pytest.raises(NetworkFailure, match="host port 8080/TCP is taken by sandbox two"):
        world.attached("three", Mapping(8080, 80))
    assert len(network.pods.leases()) == 1


def test_a_range_that_is_used_up_is_said_in_the_plugins_words(world: CniWorld) -> None:
    for number in range(4):
        world.attached(f"pod-{number}")
    with pytest.raises(NetworkFailure, match="plugin bridge: failed to allocate for range 0"):
        world.attached("one-too-many")
    assert world.network is not None
    assert len(world.network.pods.leases()) == 4


def test_nothing_is_left_after_a_kill(tmp_path: Path) -> None:
    world = CniWorld(tmp_path / "state")
    connect_outside(world)
    where = places(tmp_path, configuration(tmp_path))
    try:
        world.node.call(loopback_up)
        before = world.node.call(traces)
        world.start(replace(LAYOUT, cni=where))
        for name in ("one", "two"):
            world.attached(name)
        assert world.network is not None
        world.network.close()
        world.node.call(lambda: remove_everything(LAYOUT.cluster, world.folder, where))
        assert world.node.call(traces) == before
        assert list((tmp_path / "ipam" / "packets").glob("10.*")) == []
        assert list(world.folder.iterdir()) == []
    finally:
        world.close()


def test_what_is_wrong_with_plugins_is_said(world: CniWorld, tmp_path: Path) -> None:
    network = world.network
    assert network is not None
    places(tmp_path, configuration(tmp_path, type="missing"))
    assert network.pods.status().startswith('failed to find plugin "missing" in path')
    with pytest.raises(NetworkFailure, match='failed to find plugin "missing"'):
        world.attached("one")
    script = tmp_path / "broken"
    script.write_text('#!/bin/sh\necho \'{"code": 7, "msg": "no luck", "details": "at all"}\'; exit 1\n')
    script.chmod(0o755)
    places(tmp_path, configuration(tmp_path, type="broken"))
    with pytest.raises(NetworkFailure, match="plugin broken: no luck: at all"):
        world.attached("two")
    (tmp_path / "net.d" / "10-packets.conflist").unlink()
    assert "99-later.conf: has no name" in network.pods.status()
    (tmp_path / "net.d" / "99-later.conf").unlink()
    assert "cni plugin not initialized" in network.pods.status()
