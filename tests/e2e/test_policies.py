"""NetworkPolicies, with real Pods."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from clusters import WEB_IMAGE, Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": WEB_IMAGE, "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }


def policy(name: str, selector: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": selector}} | spec,
    }


def listed(*objects: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def reaches(cluster: Cluster, who: str, address: str) -> bool:
    request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 {address} 8080"
    return "Hello from a Pod" in cluster.carob("exec", who, "--", "sh", "-c", request).out


def comes_to(cluster: Cluster, who: str, address: str, wanted: bool) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if reaches(cluster, who, address) == wanted:
            return True
    return False


def test_a_policy_keeps_strangers_away_until_it_goes(cluster: Cluster) -> None:
    names = ("np-web", "np-friend", "np-stranger")
    cluster.carob("create", "-f", "-", stdin=json.dumps(listed(*map(pod, names)))).check()
    for name in names:
        cluster.wait_ready(name)
    address = cluster.carob("get", "pod/np-web", "-o", "jsonpath={.status.podIP}").check().out
    assert comes_to(cluster, "np-stranger", address, True)
    friend = {"podSelector": {"matchLabels": {"app": "np-friend"}}}
    rules = [{"from": [friend], "ports": [{"port": "http"}]}]
    friends_only = policy("np", {"app": "np-web"}, ingress=rules)
    cluster.carob("create", "-f", "-", stdin=json.dumps(friends_only)).check()
    assert comes_to(cluster, "np-stranger", address, False)
    assert reaches(cluster, "np-friend", address)
    friendly = cluster.carob("explain-flow", "np-friend", "np-web:http").check().out.splitlines()
    assert friendly[0] == "default/np-friend -> default/np-web 8080/TCP: allowed"
    assert friendly[2].split(maxsplit=1) == ["ingress", "allowed  by NetworkPolicy default/np ingress[0]"]
    strange = cluster.carob("explain-flow", "np-stranger", f"{address}:8080")
    assert strange.code == 1
    assert strange.out.splitlines()[3].strip() == "np ingress[0]: default/np-stranger is no Pod with app=np-friend"
    cluster.carob("delete", "networkpolicy", "np").check()
    cluster.carob("explain-flow", "np-stranger", "np-web:8080").check()
    assert comes_to(cluster, "np-stranger", address, True)
    cluster.carob("delete", *(f"pod/{name}" for name in names)).check()
