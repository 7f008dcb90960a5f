"""What a node may see: what its own Pods refer to. Source: upstream's node authorizer cases, KEP-279."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api.user import UserInfo
from carob.apiserver.authn.service_accounts import PODS
from carob.apiserver.authz.node import NodeAuthorizer, node_name
from carob.apiserver.authz.questions import Question
from carob.apiserver.bootstrap import policy


def pod(name: str, node: str = "n1", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"nodeName": node, "containers": [], **spec},
    }


SPEC: dict[str, Any] = {
    "serviceAccountName": "sa",
    "imagePullSecrets": [{"name": "pull"}],
    "volumes": [
        {"name": "v1", "secret": {"secretName": "mounted"}},
        {"name": "v2", "configMap": {"name": "settings"}},
        {"name": "v3", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]}},
        {"name": "v4", "persistentVolumeClaim": {"claimName": "claim"}},
    ],
    "containers": [
        {
            "name": "c",
            "envFrom": [{"secretRef": {"name": "env-from"}}],
            "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
        }
    ],
}


def authorizer(reader: Any) -> NodeAuthorizer:
    return NodeAuthorizer(reader, policy.node_rules())


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("secrets", "pull"),
        ("secrets", "mounted"),
        ("secrets", "env-from"),
        ("secrets", "env"),
        ("configmaps", "settings"),
        ("configmaps", "kube-root-ca.crt"),
        ("persistentvolumeclaims", "claim"),
        ("pods", "p"),
    ],
)
def test_a_node_reads_what_its_pods_refer_to(reader: Any, resource: str, name: str) -> None:
    reader.put(pod("p", **SPEC))
    nodes = authorizer(reader)
    asked = Question("get", "", resource, "", "a", name)
    assert nodes.decide("n1", asked).allowed
    refused = nodes.decide("n2", asked)
    assert refused == (False, "no relationship found between node 'n2' and this object")


def test_what_a_pod_no_longer_refers_to_is_closed_again(reader: Any) -> None:
    nodes = authorizer(reader)
    asked = Question("get", "", "secrets", "", "a", "mounted")
    assert not nodes.decide("n1", asked).allowed
    reader.put(pod("p", **SPEC))
    reader.put(pod("q", **SPEC))
    assert nodes.decide("n1", asked).allowed
    reader.delete(PODS, "a", "p")
    assert nodes.decide("n1", asked).allowed
    reader.delete(PODS, "a", "q")
    assert not nodes.decide("n1", asked).allowed


def test_a_mirror_pod_opens_nothing(reader: Any) -> None:
    tree = pod("p", **SPEC)
    tree["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    reader.put(tree)
    nodes = authorizer(reader)
    assert not nodes.decide("n1", Question("get", "", "secrets", "", "a", "mounted")).allowed
    assert nodes.decide("n1", Question("get", "", "pods", "", "a", "p")).allowed


def test_a_volume_behind_a_claim_and_the_secret_behind_the_volume(reader: Any) -> None:
    reader.put(pod("p", **SPEC))
    metadata = {"name": "claim", "namespace": "a"}
    reader.put(
        {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": {"volumeName": "pv"}}
    )
    csi = {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s", "namespace": "k"}}
    reader.put({"kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": "pv"}, "spec": {"csi": csi}})
    nodes = authorizer(reader)
    assert nodes.decide("n1", Question("get", "", "persistentvolumes", "", "", "pv")).allowed
    assert nodes.decide("n1", Question("get", "", "secrets", "", "k", "s")).allowed
    assert not nodes.decide("n2", Question("get", "", "persistentvolumes", "", "", "pv")).allowed


@pytest.mark.parametrize(
    ("asked", "allowed", "reason"),
    [
        (Question("list", "", "pods"), False, "can only list/watch pods with spec.nodeName field selector"),
        (Question("list", "", "pods", field_selector="spec.nodeName=n1"), True, ""),
        (Question("watch", "", "pods", field_selector="spec.nodeName=n2"), False, None),
        (Question("update", "", "pods", "status", "a", "p"), True, ""),
        (Question("update", "", "pods", "", "a", "p"), False, ""),
        (Question("get", "", "nodes", "", "", "n1"), True, ""),
        (Question("get", "", "nodes", "", "", "n2"), False, "node 'n1' cannot read 'n2', only its own Node object"),
        (Question("list", "", "nodes"), False, "node 'n1' cannot read all nodes, only its own Node object"),
        (Question("patch", "", "nodes", "status", "", "n1"), True, ""),
        (Question("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n1"), True, ""),
        (Question("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n2"), False, None),
        (Question("create", "coordination.k8s.io", "leases", "", "kube-node-lease"), True, ""),
        (Question("list", "", "services"), True, ""),
        (Question("create", "", "events", "", "a"), True, ""),
        (Question("delete", "", "services", "", "a", "s"), False, ""),
        (Question("create", "", "serviceaccounts", "token", "a", "nobody"), False, None),
        (Question("list", "", "secrets", "", "a"), False, "No Object name found"),
    ],
)
def test_decisions(reader: Any, asked: Question, allowed: bool, reason: str | None) -> None:
    decision = authorizer(reader).decide("n1", asked)
    assert decision.allowed is allowed
    if reason is not None:
        assert decision.reason == reason


def test_only_members_of_the_nodes_group_are_nodes() -> None:
    assert node_name(UserInfo("system:node:n1", ("system:nodes",))) == "n1"
    assert node_name(UserInfo("system:node:n1")) == ""
    assert node_name(UserInfo("bob", ("system:nodes",))) == ""
