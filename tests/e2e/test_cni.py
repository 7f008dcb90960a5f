"""A cluster whose Pods the distribution's CNI bridge plugin attaches."""

from __future__ import annotations

import ipaddress
import json
import os
import time
from pathlib import Path

import pytest
from clusters import Cluster, start
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
    cluster = start(f"cni-{os.getpid() % 10000}", tmp_path, *flags)
    try:
        create(cluster, web_pod("web", app="web"), web_pod("client"), service("web", {"app": "web"}))
        for name in ("web", "client"):
            cluster.wait_ready(name)
        ip, range_ = get(cluster, "pod/web", ".status.podIP"), get(cluster, "node/node-0", ".spec.podCIDR")
        assert ipaddress.ip_address(ip) in ipaddress.ip_network(range_)
        assert Path("/sys/class/net", bridge, "bridge").exists()
        assert "Hello from a Pod" in fetch(get(cluster, "service/web", ".spec.clusterIP"))
        for who in ("client", "web"):
            request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 20 web.default.svc.cluster.local 80"
            assert "Hello from a Pod" in cluster.carob("exec", who, "--", "sh", "-c", request).check().out
        cluster.carob("delete", "pod", "web").check()
        end = time.monotonic() + 30
        while (held := (tmp_path / "ipam" / "bridged" / ip)).exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not held.exists()
    finally:
        cluster.carob("down", timeout=120).check()
    left = [line for line in left_behind(before) if bridge in line or cluster.name in line]
    assert not left, "\n".join(left)


def test_wrong_places_are_refused(tmp_path: Path) -> None:
    cluster = Cluster("cni-wrong", tmp_path)
    done = cluster.carob("up", "--cni-conf-dir", "/no/such/folder")
    assert done.code == 1
    assert done.err == "error: --cni-conf-dir: there is no folder /no/such/folder\n"
    done = cluster.carob("up", "--cni-bin-dir", str(tmp_path))
    assert done.err == "error: --cni-bin-dir: plugins are asked only with --cni-conf-dir\n"
