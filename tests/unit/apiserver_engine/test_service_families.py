"""Families of Services. Answers upstream `pkg/registry/core/service/storage/alloc_test.go` and KEP-563."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.apiserver.registry.service_families import settle

DUAL = ("IPv4", "IPv6")
WORDS_MANY = "must be 'RequireDualStack' or 'PreferDualStack' when multiple "


def spec(**fields: Any) -> core_v1.ServiceSpec:
    tree = {"type": "ClusterIP", "selector": {"a": "b"}} | fields
    if "clusterIPs" in tree:
        tree["clusterIP"] = tree["clusterIPs"][0]
    return codec.from_tree(core_v1.ServiceSpec, tree)


def settled(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec | None = None, configured: Any = ("IPv4",)) -> Any:
    assert settle(new, old, configured) == []
    return new.ip_family_policy, new.ip_families


def refused(new: core_v1.ServiceSpec, old: core_v1.ServiceSpec | None = None) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"].rpartition(": ")[2]) for cause in settle(new, old)]


@pytest.mark.parametrize(
    ("fields", "one", "two"),
    [
        ({}, ("SingleStack", ["IPv4"]), ("SingleStack", ["IPv4"])),
        (
            {"ipFamilyPolicy": "PreferDualStack"},
            ("PreferDualStack", ["IPv4"]),
            ("PreferDualStack", ["IPv4", "IPv6"]),
        ),
        ({"clusterIPs": ["10.43.0.7"]}, ("SingleStack", ["IPv4"]), ("SingleStack", ["IPv4"])),
        ({"clusterIPs": ["None"]}, ("SingleStack", ["IPv4"]), ("SingleStack", ["IPv4"])),
        (
            {"clusterIPs": ["None"], "selector": {}},
            ("RequireDualStack", ["IPv4", "IPv6"]),
            ("RequireDualStack", ["IPv4", "IPv6"]),
        ),
        (
            {"clusterIPs": ["None"], "selector": {}, "ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"},
            ("SingleStack", ["IPv6"]),
            ("SingleStack", ["IPv6"]),
        ),
        (
            {"clusterIPs": ["None"], "selector": {}, "ipFamilies": ["IPv6"]},
            ("RequireDualStack", ["IPv6", "IPv4"]),
            ("RequireDualStack", ["IPv6", "IPv4"]),
        ),
    ],
)
def test_what_was_left_out(fields: dict[str, Any], one: Any, two: Any) -> None:
    assert settled(spec(**fields)) == one
    assert settled(spec(**fields), configured=DUAL) == two


@pytest.mark.parametrize(
    ("fields", "causes"),
    [
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            [("spec.ipFamilyPolicy", "this cluster is not configured for dual-stack services")],
        ),
        ({"ipFamilies": ["IPv6"]}, [("spec.ipFamilies[0]", "not configured on this cluster")]),
        (
            {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"},
            [
                ("spec.ipFamilyPolicy", "this cluster is not configured for dual-stack services"),
                ("spec.ipFamilies[1]", "not configured on this cluster"),
            ],
        ),
        ({"clusterIPs": ["fd00::7"]}, [("spec.clusterIPs[0]", "IPv6 is not configured on this cluster")]),
        (
            {"clusterIPs": ["10.43.0.7", "fd00::7"]},
            [
                ("spec.ipFamilyPolicy", WORDS_MANY + "cluster IPs are specified"),
                ("spec.clusterIPs[1]", "IPv6 is not configured on this cluster"),
            ],
        ),
        # wrong by itself: validation's affair
        ({"ipFamilies": ["IPv5"]}, []),
        ({"type": "ExternalName", "ipFamilies": ["IPv6"]}, []),
    ],
)
def test_what_a_cluster_of_one_family_refuses(fields: dict[str, Any], causes: list[tuple[str, str]]) -> None:
    assert refused(spec(**fields)) == causes


def test_a_service_keeps_what_it_prefers() -> None:
    old = spec(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"], clusterIPs=["10.43.0.7"])
    new = codec.decode(core_v1.ServiceSpec, codec.encode(old))
    assert settled(new, old, DUAL) == ("PreferDualStack", ["IPv4"])


def test_the_second_family_goes_when_the_policy_says_so() -> None:
    both = {"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.43.0.7", "fd00::7"]}
    old = spec(ipFamilyPolicy="RequireDualStack", **both)
    new = spec(ipFamilyPolicy="SingleStack", **both)
    assert settled(new, old, DUAL) == ("SingleStack", ["IPv4"])
    assert new.cluster_ips == ["10.43.0.7"]
    less = spec(ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4"], clusterIPs=["10.43.0.7"])
    causes = [cause["message"] for cause in settle(less, old, DUAL)]
    assert [text.rpartition("release the secondary ")[2] for text in causes] == ["cluster IP", "IP family"]
