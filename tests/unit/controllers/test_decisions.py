"""What each controller decides, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from carob.api import codec
from carob.api.types import certificates_v1, core_v1, meta_v1
from carob.base.clock import rfc3339
from carob.controllers import csr as csrs
from carob.controllers import (
    namespaces,
    node_lifecycle,
    node_taints,
    pod_garbage,
    root_ca,
    service_accounts,
    taint_eviction,
)
from carob.controllers.certificates import RequestFacts
from carob.controllers.disruption import disruption_patch
from carob.controllers.views import PodView

NOW = 1_700_000_000.0


def namespace(phase: str = "Active", **metadata: Any) -> core_v1.Namespace:
    tree = {"metadata": {"name": "a"} | metadata, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": phase}}
    return codec.from_tree(core_v1.Namespace, tree)


def node(**more: Any) -> core_v1.Node:
    return codec.from_tree(core_v1.Node, {"metadata": {"name": "node-0", "creationTimestamp": rfc3339(NOW)}} | more)


def pod(name: str = "a", **more: Any) -> PodView:
    tree = {"metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "1"}}
    return codec.from_tree(PodView, tree | more)


# a namespace's account and CA


def test_an_active_namespace_gets_its_account_and_its_ca() -> None:
    account = service_accounts.reconcile(namespace(), exists=False)
    assert account is not None
    assert (account.metadata.namespace, account.metadata.name) == ("a", "default")
    assert service_accounts.reconcile(namespace(), exists=True) is None
    assert service_accounts.reconcile(namespace("Terminating"), exists=False) is None
    wanted = root_ca.reconcile(namespace(), None, "PEM")
    assert wanted is not None
    assert wanted.data == {"ca.crt": "PEM"}
    assert root_ca.reconcile(namespace(), wanted, "PEM") is None
    changed = core_v1.ConfigMap(metadata=meta_v1.ObjectMeta(resource_version="7"), data={"ca.crt": "forged"})
    repaired = root_ca.reconcile(namespace(), changed, "PEM")
    assert repaired is not None
    assert (repaired.data, repaired.metadata.resource_version) == ({"ca.crt": "PEM"}, "7")


# a namespace's end


def test_a_namespace_is_emptied_only_while_it_is_deleted() -> None:
    assert not namespaces.reconcile(namespace())
    assert namespaces.reconcile(namespace(deletionTimestamp="2026-01-01T00:00:00Z"))
    kinds = [row.group_resource for row in namespaces.deletable()]
    assert kinds[-1] == "pods"
    assert {"configmaps", "secrets", "deployments.apps", "events"} <= set(kinds)
    assert "namespaces" not in kinds
    assert len(kinds) == len(set(kinds))


def test_conditions_of_a_namespace_that_ends() -> None:
    said = namespaces.conditions({"pods": 2}, {"example.com/hold": 1}, [], "now")
    assert {c.type: (c.status, c.reason, c.message) for c in said} == {
        "NamespaceDeletionDiscoveryFailure": ("False", "ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": (
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: pods. has 2 resource instances",
        ),
        "NamespaceFinalizersRemaining": (
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        ),
    }


# nodes


def test_taints_follow_conditions_and_leave_others_alone() -> None:
    foreign = {"key": "dedicated", "effect": "NoSchedule"}
    stale = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    status = {"conditions": [{"type": "Ready", "status": "Unknown"}, {"type": "DiskPressure", "status": "True"}]}
    taints = node_taints.reconcile(node(spec={"taints": [foreign, stale], "unschedulable": True}, status=status), "now")
    assert taints is not None
    assert [(t.key.rpartition("/")[2], t.effect, t.time_added) for t in taints] == [
        ("dedicated", "NoSchedule", None),
        ("disk-pressure", "NoSchedule", "now"),
        ("unreachable", "NoSchedule", "now"),
        ("unreachable", "NoExecute", "now"),
        ("unschedulable", "NoSchedule", "now"),
    ]
    assert node_taints.reconcile(node(status={"conditions": [{"type": "Ready", "status": "True"}]}), "now") is None


def test_a_silent_node_becomes_unknown_once() -> None:
    silent = node(
        status={"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "Unknown"}]}
    )
    patches = node_lifecycle.unknown_conditions(silent, "now")
    assert [(p["type"], p["reason"]) for p in patches] == [
        ("Ready", "NodeStatusUnknown"),
        ("MemoryPressure", "NodeStatusNeverUpdated"),
        ("PIDPressure", "NodeStatusNeverUpdated"),
    ]
    assert all(p["status"] == "Unknown" for p in patches)
    every = [{"type": kind, "status": "Unknown"} for kind in node_lifecycle.WATCHED]
    assert node_lifecycle.unknown_conditions(node(status={"conditions": every}), "now") == []


# Pods that have to go


def toleration(**fields: Any) -> core_v1.Toleration:
    return codec.from_tree(core_v1.Toleration, fields)


UNREACHABLE = core_v1.Taint(key="node.kubernetes.io/unreachable", effect="NoExecute", time_added=rfc3339(NOW))
OUT_OF_SERVICE = core_v1.Taint(key="x", effect="NoExecute", time_added=rfc3339(NOW + 100))


@pytest.mark.parametrize(
    ("tolerations", "taints", "due"),
    [
        ([], [], None),
        ([], [UNREACHABLE], NOW + 50),
        ([{"key": UNREACHABLE.key, "operator": "Exists"}], [UNREACHABLE], None),
        ([{"key": UNREACHABLE.key, "operator": "Exists", "tolerationSeconds": 300}], [UNREACHABLE], NOW + 300),
        ([{"operator": "Exists", "tolerationSeconds": 0}], [UNREACHABLE], NOW),
        ([{"operator": "Exists", "tolerationSeconds": -5}], [UNREACHABLE], NOW),
        (
            [{"operator": "Exists"}, {"key": UNREACHABLE.key, "operator": "Exists", "tolerationSeconds": 60}],
            [UNREACHABLE],
            NOW + 60,
        ),
        (
            [{"key": UNREACHABLE.key, "operator": "Exists", "tolerationSeconds": 300}],
            [UNREACHABLE, OUT_OF_SERVICE],
            NOW + 50,
        ),
        ([{"operator": "Exists", "tolerationSeconds": 60}], [UNREACHABLE, OUT_OF_SERVICE], NOW + 60),
        ([{"key": UNREACHABLE.key, "value": "other"}], [UNREACHABLE], NOW + 50),
        ([{"operator": "Exists", "effect": "NoSchedule"}], [UNREACHABLE], NOW + 50),
    ],
)
def test_when_a_pod_leaves_a_tainted_node(
    tolerations: list[dict[str, Any]], taints: list[core_v1.Taint], due: float | None
) -> None:
    assert taint_eviction.due_at([toleration(**t) for t in tolerations], taints, NOW + 50) == due


def test_orphans_and_pods_that_nobody_ends() -> None:
    assert pod_garbage.is_orphan(pod(spec={"nodeName": "gone"}), node_exists=False)
    assert not pod_garbage.is_orphan(pod(spec={"nodeName": "there"}), node_exists=True)
    assert not pod_garbage.is_orphan(pod(), node_exists=False)
    ending: dict[str, Any] = {"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert pod_garbage.ends_without_node(pod(**ending))
    assert not pod_garbage.ends_without_node(pod(**ending, spec={"nodeName": "there"}))


def test_the_oldest_ended_pods_go_when_there_are_too_many() -> None:
    pods = [pod(f"p{i}", status={"phase": "Failed"}) for i in range(5)]
    for number, each in enumerate(pods):
        each.metadata.resource_version = str(100 - number)
    running = pod("running", status={"phase": "Running"})
    assert [p.metadata.name for p in pod_garbage.too_many_ended([*pods, running], 3)] == ["p4", "p3"]
    assert pod_garbage.too_many_ended(pods, 5) == []


def test_the_patch_that_says_who_ended_a_pod() -> None:
    running = pod(status={"phase": "Running"})
    patch = disruption_patch(running, "DeletionByPodGC", "PodGC: node no longer exists", NOW, fail=True)
    assert patch["metadata"] == {"uid": "uid-a"}
    assert patch["status"]["phase"] == "Failed"
    assert patch["status"]["conditions"][0]["type"] == "DisruptionTarget"
    ended = pod(status={"phase": "Succeeded"})
    assert "phase" not in disruption_patch(ended, "r", "m", NOW, fail=True)["status"]


# certificates

NODE_FACTS = RequestFacts("system:node:node-0", ("system:nodes",))
CLIENT_USAGES = ["digital signature", "client auth"]
SERVING_USAGES = ["digital signature", "server auth"]


def csr(signer: str, usages: list[str], username: str) -> certificates_v1.CertificateSigningRequest:
    spec = certificates_v1.CertificateSigningRequestSpec(signer_name=signer, usages=usages, username=username)
    return certificates_v1.CertificateSigningRequest(spec=spec)


def test_which_right_a_requester_needs() -> None:
    bootstrap = csr(csrs.KUBELET_CLIENT, CLIENT_USAGES, "system:bootstrap:abcdef")
    assert [name for name, _ in csrs.approvals(bootstrap, NODE_FACTS)] == ["nodeclient"]
    own = csr(csrs.KUBELET_CLIENT, CLIENT_USAGES, "system:node:node-0")
    assert [name for name, _ in csrs.approvals(own, NODE_FACTS)] == ["selfnodeclient", "nodeclient"]
    assert csrs.approvals(csr(csrs.CLIENT, CLIENT_USAGES, "x"), NODE_FACTS) == []
    assert csrs.approvals(csr(csrs.KUBELET_CLIENT, SERVING_USAGES, "x"), NODE_FACTS) == []


@pytest.mark.parametrize(
    "facts",
    [
        RequestFacts("node-0", ("system:nodes",)),
        RequestFacts("system:node:node-0", ("system:masters",)),
        RequestFacts("system:node:node-0", ("system:nodes", "system:masters")),
        RequestFacts("system:node:node-0", ("system:nodes",), dns_names=("evil",)),
        RequestFacts("system:node:node-0", ("system:nodes",), others=("a@b",)),
    ],
)
def test_what_is_no_node_s_client_certificate_is_not_approved(facts: RequestFacts) -> None:
    assert csrs.approvals(csr(csrs.KUBELET_CLIENT, CLIENT_USAGES, "system:bootstrap:x"), facts) == []


@pytest.mark.parametrize(
    ("username", "addresses", "names", "serves"),
    [
        ("system:node:node-0", ("10.42.0.1",), ("node-0",), True),
        ("system:node:node-0", ("10.42.0.9",), (), False),
        ("system:node:node-0", (), ("kubernetes.default",), False),
        ("system:node:node-0", (), (), False),
        ("system:node:node-1", ("10.42.0.1",), (), False),
    ],
)
def test_a_node_serves_under_its_own_names_only(
    username: str, addresses: tuple[str, ...], names: tuple[str, ...], serves: bool
) -> None:
    facts = RequestFacts("system:node:node-0", ("system:nodes",), names, addresses)
    known = node(status={"addresses": [{"type": "InternalIP", "address": "10.42.0.1"}]})
    asked = csr(csrs.KUBELET_SERVING, SERVING_USAGES, username)
    assert csrs.may_serve(asked, facts, known) is serves
    assert not csrs.may_serve(asked, facts, None)


NETWORK_FACTS = RequestFacts("system:carob:network:node-0", ("system:carob:node-network",))


@pytest.mark.parametrize(
    ("facts", "usages", "username", "may"),
    [
        (NETWORK_FACTS, CLIENT_USAGES, "system:node:node-0", True),
        (NETWORK_FACTS, CLIENT_USAGES, "system:node:node-1", False),
        (NETWORK_FACTS, CLIENT_USAGES, "node-0", False),
        (NETWORK_FACTS, SERVING_USAGES, "system:node:node-0", False),
        (RequestFacts("system:carob:network:node-0", ("system:masters",)), CLIENT_USAGES, "system:node:node-0", False),
        (RequestFacts("admin", ("system:carob:node-network",)), CLIENT_USAGES, "system:node:node-0", False),
        (replace(NETWORK_FACTS, dns_names=("x",)), CLIENT_USAGES, "system:node:node-0", False),
    ],
)
def test_a_node_gets_its_own_network_agent_s_certificate_only(
    facts: RequestFacts, usages: list[str], username: str, may: bool
) -> None:
    asked = csr(csrs.CLIENT, usages, username)
    asked.spec.groups = ["system:nodes", "system:authenticated"]
    assert csrs.may_read_network(asked, facts) is may
    asked.spec.groups = ["system:authenticated"]
    assert not csrs.may_read_network(asked, facts)


def test_requests_are_kept_for_an_hour_after_their_answer_and_for_a_day_without_one() -> None:
    asked = csr(csrs.CLIENT, CLIENT_USAGES, "x")
    assert csrs.removed_at(asked) is None
    asked.metadata.creation_timestamp = rfc3339(NOW)
    assert csrs.removed_at(asked) == NOW + 24 * 3600
    asked.status.conditions = [
        certificates_v1.CertificateSigningRequestCondition(type="Denied", last_update_time=rfc3339(NOW + 5))
    ]
    assert csrs.removed_at(asked) == NOW + 3605
