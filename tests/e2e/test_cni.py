"""A cluster whose Pods the distribution's CNI bridge plugin attaches, on every node."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from pathlib import Path

import pytest
from clusters import WEB_IMAGE, Cluster, start
from machine import left_behind, look
from test_services import create, fetch, get, service, web_pod

PLUGINS = "/usr/lib/cni"
pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(PLUGINS, "bridge").exists(), reason="needs containernetworking-plugins"),
]


def test_pods_services_and_names_on_a_bridge_and_nothing_left(tmp_path: Path) -> None:
    before = look()
    folder = tmp_path / "net.d"
    folder.mkdir()
    bridge = f"cni{os.getpid() % 100000}"
    ipam = {
        "type": "host-local",
        "dataDir": str(tmp_path / "ipam"),
        "ranges": [[{"subnet": "usePodCidr"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugin = {"type": "bridge", "bridge": bridge, "isGateway": True, "hairpinMode": True, "ipam": ipam}
    tree = {"cniVersion": "0.4.0", "name": "bridged", "plugins": [plugin]}
    (folder / "10-bridge.conflist").write_text(json.dumps(tree))
    flags = ("--cni-conf-dir", str(folder), "--cni-bin-dir", PLUGINS)
    cluster = start(f"cni-{os.getpid() % 10000}", tmp_path, "--nodes", "2", *flags)
    try:
        cluster.carob("node", "add", "node-2").check()
        cluster.carob("image", "build", "--web", "-t", WEB_IMAGE).check()
        where = {"web": "node-0", "client": "node-0", "near": "node-1", "far": "node-2"}
        pods = [web_pod(name, app=name) for name in where]
        for pod in pods:
            pod["spec"]["nodeName"] = where[pod["metadata"]["name"]]
        create(cluster, *pods, service("web", {"app": "web"}))
        for name in where:
            cluster.wait_ready(name)
        for name, node in where.items():
            ip, range_ = get(cluster, f"pod/{name}", ".status.podIP"), get(cluster, f"node/{node}", ".spec.podCIDR")
            assert ipaddress.ip_address(ip) in ipaddress.ip_network(range_)
        assert Path("/sys/class/net", bridge, "bridge").exists()
        assert "Hello from a Pod" in fetch(get(cluster, "service/web", ".spec.clusterIP"))
        for name, to in (("near", "far"), ("far", "client")):
            address = get(cluster, f"pod/{to}", ".status.podIP")
            request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 {address} 8080"
            assert "Hello from a Pod" in cluster.carob("exec", name, "--", "sh", "-c", request).check().out
        for who in where:
            request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 web.default.svc.cluster.local 80"
            assert "Hello from a Pod" in cluster.carob("exec", who, "--", "sh", "-c", request).check().out
        held = tmp_path / "ipam" / "bridged"
        addresses = {name: get(cluster, f"pod/{name}", ".status.podIP") for name in where}
        assert set(addresses.values()) < {path.name for path in held.iterdir()}
        cluster.carob("delete", "pod", "web").check()
        end = time.monotonic() + 30
        while (held / addresses["web"]).exists() and time.monotonic() < end:
            time.sleep(0.05)
        cluster.carob("node", "rm", "node-1").check()
        still = {path.name for path in held.iterdir()}
        assert {name for name, address in addresses.items() if address in still} == {"client", "far"}
    finally:
        cluster.carob("down", timeout=120).check()
    assert not {path.name for path in held.iterdir()} & set(addresses.values())
    left = [line for line in left_behind(before) if bridge in line or cluster.name in line]
    assert not left, "\n".join(left)


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    cluster = Cluster("cni-wrong", tmp_path)
    done = cluster.carob("up", "--cni-conf-dir", "/no/such/folder")
    assert done.code == 1
    assert done.err == "error: --cni-conf-dir: there is no folder /no/such/folder\n"
    done = cluster.carob("up", "--cni-bin-dir", str(tmp_path))
    assert done.err == "error: --cni-bin-dir: plugins are asked only with --cni-conf-dir\n"
