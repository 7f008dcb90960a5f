"""CNI configurations: which file counts, and what plugins are told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from carob.network import cni_config
from carob.network.layout import NetworkFailure

RANGE = "10.42.3.0/24"


@dataclass(frozen=True)
class Mapping:
    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True)
class Request:
    sandbox_id: str = "s"
    port_mappings: tuple[Mapping, ...] = ()
    namespace: str = "default"
    name: str = "pod"
    uid: str = "u"
    netns_path: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


def test_the_first_usable_file_counts(tmp_path: Path) -> None:
    with pytest.raises(NetworkFailure, match="cni plugin not initialized"):
        cni_config.load(str(tmp_path), RANGE)
    with pytest.raises(NetworkFailure, match="cni config load failed"):
        cni_config.load(str(tmp_path / "nowhere"), RANGE)
    (tmp_path / "00-notes.txt").write_text("{")
    (tmp_path / "10-broken.conf").write_text("{")
    with pytest.raises(NetworkFailure, match=r"10-broken\.conf"):
        cni_config.load(str(tmp_path), RANGE)
    (tmp_path / "30-late.conf").write_text(json.dumps({"name": "late", "type": "bridge"}))
    (tmp_path / "20-list.conflist").write_text(
        json.dumps(
            {
                "name": "list",
                "cniVersion": "1.0.0",
                "plugins": [{"type": "bridge", "ipam": {"ranges": [[{"subnet": "usePodCidr"}]]}}, {"type": "portmap"}],
            }
        )
    )
    found = cni_config.load(str(tmp_path), RANGE)
    assert (found.name, found.version) == ("list", "1.0.0")
    assert [plugin["type"] for plugin in found.plugins] == ["bridge", "portmap"]
    assert found.plugins[0]["ipam"]["ranges"] == [[{"subnet": RANGE}]]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "is no JSON object"),
        ({"type": "bridge"}, "has no name"),
        ({"name": "a"}, "no plugins"),
        ({"name": "a", "plugins": []}, "no plugins"),
        ({"name": "a", "plugins": [{}]}, "a plugin has no type"),
        ({"name": "a", "type": "b", "capabilities": []}, "capabilities are no object"),
    ],
)
def test_what_is_no_configuration(tree: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cni_config.parse(tree)


def test_a_plugin_gets_what_it_can_use() -> None:
    tree = {
        "name": "n",
        "cniVersion": "0.4.0",
        "plugins": [
            {"type": "bridge", "mtu": 1400},
            {"type": "portmap", "capabilities": {"portMappings": True}},
            {"type": "bandwidth", "capabilities": {"bandwidth": True, "portMappings": False}},
        ],
    }
    config = cni_config.parse(tree)
    assert config.can("portMappings")
    assert not config.can("mac")
    annotations = {"kubernetes.io/ingress-bandwidth": "8M"}
    told = cni_config.runtime_config(
        Request(port_mappings=(Mapping(8080, 80), Mapping(0, 81)), annotations=annotations)
    )
    asked = [json.loads(config.request(plugin, told, None)) for plugin in config.plugins]
    assert asked[0] == {"cniVersion": "0.4.0", "name": "n", "type": "bridge", "mtu": 1400}
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}]
    assert asked[1]["runtimeConfig"] == {"portMappings": ports}
    assert asked[2]["runtimeConfig"]["bandwidth"]["ingressRate"] == 8_000_000
    previous = {"ips": [{"address": "10.1.2.3/24"}]}
    assert json.loads(config.request(config.plugins[0], {}, previous))["prevResult"] == previous


def test_results_of_all_versions() -> None:
    new = {
        "ips": [{"address": "fd00::3/64"}, {"address": "10.1.2.3/24"}],
        "interfaces": [{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/x"}],
    }
    assert cni_config.addresses_of(new) == ["10.1.2.3", "fd00::3"]
    assert cni_config.shared_interfaces(new) == ["cni0", "veth1"]
    assert cni_config.addresses_of({"ip4": {"ip": "10.1.2.3/24"}}) == ["10.1.2.3"]
    assert cni_config.addresses_of({}) == []
