"""Which Pods stand behind a Service, and how that is written down."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1, discovery_v1
from carob.controllers import endpoint_mirroring, endpoint_slices, endpoints, load_balancers
from carob.controllers.endpoint_slices import CONTROLLER, MANAGED_BY_LABEL, SERVICE_LABEL, Plan
from carob.controllers.views import PodView

NOW = 1_700_000_000.0


def service(**spec: Any) -> core_v1.Service:
    tree = {
        "metadata": {"name": "web", "namespace": "default", "uid": "uid-web", "labels": {"team": "a"}},
        "spec": {
            "selector": {"app": "web"},
            "clusterIP": "10.43.0.7",
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}],
        }
        | spec,
    }
    return codec.from_tree(core_v1.Service, tree)


def pod(number: int, *, ready: bool = True, ending: bool = False, phase: str = "Running", port: int = 8080) -> PodView:
    metadata: dict[str, Any] = {
        "name": f"web-{number:03}",
        "namespace": "default",
        "uid": f"uid-{number}",
        "labels": {"app": "web"},
    }
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}
    status: dict[str, Any] = {"phase": phase, "podIP": f"10.42.0.{number}", "podIPs": [{"ip": f"10.42.0.{number}"}]}
    if ready:
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    spec = {"nodeName": "node-0", "containers": [container]}
    return codec.from_tree(PodView, {"metadata": metadata, "spec": spec, "status": status})


def written(plan: Plan) -> list[discovery_v1.EndpointSlice]:
    """What was created, as the server keeps it."""
    for number, one in enumerate(plan.create):
        one.metadata.name = one.metadata.generate_name + str(number)
        one.metadata.resource_version = "1"
    return plan.create


def planned(owner: core_v1.Service, pods: list[PodView], slices: list[discovery_v1.EndpointSlice]) -> Plan:
    return endpoint_slices.plan(owner, endpoint_slices.endpoints_of(owner, pods, {"node-0": "z1"}), slices, NOW)


def test_a_slice_says_whose_it_is_and_what_state_each_pod_is_in() -> None:
    pods = [pod(2), pod(3, ready=False), pod(4, ending=True), pod(5, phase="Succeeded")]
    (one,) = planned(service(), pods, []).create
    metadata = one.metadata
    assert metadata.generate_name == "web-"
    assert metadata.labels == {"team": "a", SERVICE_LABEL: "web", MANAGED_BY_LABEL: CONTROLLER}
    (owner,) = metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Service", "web", "uid-web", True)
    states = [
        (e.addresses, e.conditions.ready, e.conditions.serving, e.conditions.terminating) for e in one.endpoints or []
    ]
    assert states == [
        (["10.42.0.2"], True, True, False),
        (["10.42.0.3"], False, False, False),
        (["10.42.0.4"], False, True, True),
    ]
    assert [(p.name, p.port, p.protocol) for p in one.ports or []] == [("http", 8080, "TCP")]
    assert (one.endpoints or [])[0].zone == "z1"


def test_unready_pods_are_ready_for_who_asks_for_them() -> None:
    (one,) = planned(service(publishNotReadyAddresses=True), [pod(2, ready=False), pod(3, ending=True)], []).create
    assert [(e.conditions.ready, e.conditions.serving) for e in one.endpoints or []] == [(True, False), (True, True)]


def test_nothing_changes_when_nothing_changed() -> None:
    slices = written(planned(service(), [pod(2), pod(3)], []))
    assert planned(service(), [pod(2), pod(3)], slices) == Plan()


def test_one_change_is_one_write() -> None:
    slices = written(planned(service(), [pod(2), pod(3)], []))
    plan = planned(service(), [pod(2), pod(4)], slices)
    assert (len(plan.create), len(plan.update), len(plan.delete)) == (0, 1, 0)
    assert [e.addresses[0] for e in plan.update[0].endpoints or []] == ["10.42.0.2", "10.42.0.4"]
    assert plan.update[0].metadata.resource_version == "1"


def test_a_service_without_endpoints_keeps_one_empty_slice_that_serves_for_the_first() -> None:
    slices = written(planned(service(), [], []))
    assert [(one.endpoints, one.ports) for one in slices] == [(None, None)]
    assert planned(service(), [], slices) == Plan()
    plan = planned(service(), [pod(2)], slices)
    assert (plan.create, plan.delete) == ([], [])
    assert [e.addresses for e in plan.update[0].endpoints or []] == [["10.42.0.2"]]
    assert [p.port for p in plan.update[0].ports or []] == [8080]
    emptied = planned(service(), [], plan.update)
    assert (emptied.create, emptied.delete) == ([], [])
    assert emptied.update[0].endpoints is None


def test_pods_that_listen_elsewhere_have_a_slice_of_their_own() -> None:
    slices = planned(service(), [pod(2), pod(3, port=9090)], []).create
    assert sorted((one.ports or [])[0].port or 0 for one in slices) == [8080, 9090]


def test_a_slice_holds_a_hundred_and_room_is_used() -> None:
    slices = written(planned(service(), [pod(n) for n in range(1, 151)], []))
    assert sorted(len(one.endpoints or []) for one in slices) == [50, 100]
    plan = planned(service(), [pod(n) for n in range(1, 161)], slices)
    assert (len(plan.create), [len(one.endpoints or []) for one in plan.update]) == (0, [60])


def test_headless_slices_are_marked_and_host_names_are_kept() -> None:
    one = pod(2)
    one.spec.hostname, one.spec.subdomain = "db-0", "web"
    (made,) = planned(service(clusterIP="None", ports=[]), [one], []).create
    assert made.metadata.labels["service.kubernetes.io/headless"] == ""
    assert (made.endpoints or [])[0].hostname == "db-0"
    assert made.ports is None


@pytest.mark.parametrize(("wish", "nodes"), [("PreferSameNode", ["node-0"]), ("PreferSameZone", [])])
def test_traffic_wishes_become_hints(wish: str, nodes: list[str]) -> None:
    (made,) = planned(service(trafficDistribution=wish), [pod(2)], []).create
    hints = (made.endpoints or [])[0].hints
    assert hints is not None
    assert ([z.name for z in hints.for_zones], [n.name for n in hints.for_nodes]) == (["z1"], nodes)


def test_only_services_that_select_pods_are_served() -> None:
    assert endpoint_slices.serves(service())
    assert not endpoint_slices.serves(service(selector={}))
    assert not endpoint_slices.serves(service(type="ExternalName"))


# the older form


def test_endpoints_group_addresses_by_port_and_readiness() -> None:
    pods = [pod(3), pod(2), pod(4, ready=False), pod(5, port=9090), pod(6, ending=True)]
    made = endpoints.reconcile(service(), pods, None, NOW)
    assert made is not None
    first, second = made.subsets
    assert [a.ip for a in first.addresses] == ["10.42.0.2", "10.42.0.3"]
    assert [a.ip for a in first.not_ready_addresses] == ["10.42.0.4"]
    assert [p.port for p in second.ports or []] == [9090]
    assert endpoints.reconcile(service(), pods, made, NOW) is None
    changed = endpoints.reconcile(service(), pods[:1], made, NOW)
    assert changed is not None
    assert [a.ip for a in changed.subsets[0].addresses] == ["10.42.0.3"]


def test_endpoints_hold_a_thousand_and_say_so() -> None:
    pods = [pod(n % 250) for n in range(1001)]
    made = endpoints.reconcile(service(), pods, None, NOW)
    assert made is not None
    assert len(made.subsets[0].addresses) == 1000
    assert made.metadata.annotations["endpoints.kubernetes.io/over-capacity"] == "truncated"


# written by hand


def by_hand(**metadata: Any) -> core_v1.Endpoints:
    subset = {
        "addresses": [{"ip": "192.0.2.1", "hostname": "a"}, {"ip": "2001:db8::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.2"}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    tree = {"metadata": {"name": "web", "namespace": "default", "uid": "e"} | metadata, "subsets": [subset]}
    return codec.from_tree(core_v1.Endpoints, tree)


def test_endpoints_by_hand_are_mirrored_for_services_that_select_nothing() -> None:
    lone = service(selector={})
    assert endpoint_mirroring.is_mirrored(lone, by_hand())
    assert not endpoint_mirroring.is_mirrored(service(), by_hand())
    assert not endpoint_mirroring.is_mirrored(None, by_hand())
    assert not endpoint_mirroring.is_mirrored(lone, by_hand(labels={endpoint_mirroring.SKIP_LABEL: "true"}))


def test_a_mirror_says_the_same_by_family() -> None:
    four, six = endpoint_mirroring.mirrored(by_hand())
    assert (four.address_type, six.address_type) == ("IPv4", "IPv6")
    assert [(e.addresses, e.conditions.ready) for e in four.endpoints or []] == [
        (["192.0.2.1"], True),
        (["192.0.2.2"], False),
    ]
    assert (four.endpoints or [])[0].hostname == "a"
    assert four.metadata.labels[MANAGED_BY_LABEL] == endpoint_mirroring.CONTROLLER
    assert endpoint_mirroring.same(four, endpoint_mirroring.mirrored(by_hand())[0])
    assert not endpoint_mirroring.same(four, six)


# addresses of load balancers


def test_an_address_is_free_or_wished_for() -> None:
    assert load_balancers.pick("10.42.255.0/24", set()) == "10.42.255.1"
    assert load_balancers.pick("10.42.255.0/24", {"10.42.255.1"}, "10.42.255.1") == "10.42.255.2"
    assert load_balancers.pick("10.42.255.0/24", set(), "10.42.255.9") == "10.42.255.9"
    assert load_balancers.pick("10.42.255.0/24", set(), "192.0.2.1") == "10.42.255.1"
    assert load_balancers.pick("10.42.255.0/30", {"10.42.255.1", "10.42.255.2"}) == ""
    assert load_balancers.wants_address(service(type="LoadBalancer"))
    assert not load_balancers.wants_address(service(type="LoadBalancer", loadBalancerClass="x.example/y"))
    assert not load_balancers.wants_address(service())
