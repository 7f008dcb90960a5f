"""Env, envFrom, references, service variables, and $(VAR)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.kubelet.environment import Reference, Sources, environment, references, service_variables
from carob.kubelet.expansion import expand, expand_all
from carob.kubelet.failures import StepFailure
from carob.kubelet.fields import Facts, format_map, pod_field, resource_field
from tests.unit.kubelet.pods import container, pod


def config_map(**data: str) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(data=data)


def secret(**data: str) -> core_v1.Secret:
    return core_v1.Secret(data={key: base64.b64encode(value.encode()).decode() for key, value in data.items()})


def service(called: str, namespace: str = "default", ip: str = "10.43.0.7", **port: Any) -> core_v1.Service:
    tree = {
        "metadata": {"name": called, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": [{"port": 80, "protocol": "TCP"} | port]},
    }
    return codec.from_tree(core_v1.Service, tree)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$(A)", "1"),
        ("$(A)-$(B)", "1-2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("100$", "100$"),
        ("$()", "$()"),
        ("", ""),
    ],
)
def test_expansion(text: str, wanted: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}.get) == wanted
    assert expand_all([text], {"A": "1", "B": "2"}) == [wanted]


def test_variables_see_those_before_them() -> None:
    made = container(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}])
    assert environment(pod(), made, Sources()) == {"A": "1", "B": "1$(C)", "C": "3"}


def test_env_wins_over_env_from_and_both_over_services() -> None:
    made = container(
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "s"}}],
        env=[{"name": "P_a", "value": "own"}, {"name": "URL", "value": "$(WEB_SERVICE_HOST)"}],
    )
    sources = Sources(
        {"m": config_map(a="1", b="2")}, {"s": secret(token="x", WEB_SERVICE_PORT="mine")}, [service("web")]
    )
    env = environment(pod(), made, sources)
    assert env["P_a"] == "own"
    assert env["P_b"] == "2"
    assert env["token"] == "x"
    assert env["URL"] == "10.43.0.7"
    assert env["WEB_SERVICE_PORT"] == "mine"


def test_every_reference_is_found() -> None:
    made = container(
        envFrom=[{"configMapRef": {"name": "m"}}],
        env=[
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "n", "key": "k"}}},
        ],
    )
    assert set(references(made)) == {Reference("ConfigMap", "m"), Reference("Secret", "s"), Reference("ConfigMap", "n")}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "m", "key": "k"}}, "couldn't find key k in ConfigMap default/m"),
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret default/s"),
    ],
)
def test_what_is_missing_is_told_unless_optional(source: dict[str, Any], message: str) -> None:
    sources = Sources({"m": config_map(a="1")}, {"s": secret(a="1")})
    made = container(env=[{"name": "A", "valueFrom": source}])
    with pytest.raises(StepFailure) as caught:
        environment(pod(), made, sources)
    assert (caught.value.reason, caught.value.message) == ("CreateContainerConfigError", message)
    (kind, reference), *_ = source.items()
    made = container(env=[{"name": "A", "valueFrom": {kind: reference | {"optional": True}}}])
    assert environment(pod(), made, sources) == {}


def test_service_variables() -> None:
    assert service_variables("default", [service("red-is", name="db")], links=True) == {
        "RED_IS_SERVICE_HOST": "10.43.0.7",
        "RED_IS_SERVICE_PORT": "80",
        "RED_IS_SERVICE_PORT_DB": "80",
        "RED_IS_PORT": "tcp://10.43.0.7:80",
        "RED_IS_PORT_80_TCP": "tcp://10.43.0.7:80",
        "RED_IS_PORT_80_TCP_PROTO": "tcp",
        "RED_IS_PORT_80_TCP_PORT": "80",
        "RED_IS_PORT_80_TCP_ADDR": "10.43.0.7",
    }


def test_only_kubernetes_without_links_and_no_headless_service() -> None:
    services = [service("kubernetes"), service("web", namespace="team"), service("headless", "team", ip="None")]
    linked = service_variables("team", services, links=True)
    assert {"KUBERNETES_SERVICE_HOST", "WEB_SERVICE_HOST"} < set(linked)
    assert not any(name.startswith("HEADLESS") for name in linked)
    assert not any(name.startswith("WEB") for name in service_variables("team", services, links=False))


def test_fields_of_the_pod() -> None:
    given = pod(nodeName="n", serviceAccountName="sa", metadata={"labels": {"b": 'say "x"', "a": "1\n2"}})
    facts = Facts(("10.1.1.1", "fd00::1"), ("10.0.0.1",))
    wanted = {
        "metadata.name": "p",
        "metadata.namespace": "default",
        "metadata.uid": "u-1",
        "metadata.labels['a']": "1\n2",
        "metadata.labels['none']": "",
        "metadata.labels": 'a="1\\n2"\nb="say \\"x\\""',
        "spec.nodeName": "n",
        "spec.serviceAccountName": "sa",
        "status.podIP": "10.1.1.1",
        "status.podIPs": "10.1.1.1,fd00::1",
        "status.hostIP": "10.0.0.1",
    }
    assert {path: pod_field(given, path, facts) for path in wanted} == wanted
    with pytest.raises(ValueError, match=r"unsupported fieldPath: spec\.secret"):
        pod_field(given, "spec.secret", facts)
    assert format_map({}) == ""


@pytest.mark.parametrize(
    ("resource", "divisor", "wanted"),
    [
        ("limits.cpu", "0", "1"),
        ("limits.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "64"),
        ("requests.memory", "1Mi", "0"),
        ("limits.ephemeral-storage", "1Ki", "2"),
    ],
)
def test_amounts_are_divided_and_rounded_up(resource: str, divisor: str, wanted: str) -> None:
    limits = {"cpu": "250m", "memory": "64Mi"}
    given = pod(containers=[{"name": "web", "image": "w", "resources": {"limits": limits}}])
    selector = codec.from_tree(core_v1.ResourceFieldSelector, {"resource": resource, "divisor": divisor})
    # what has no limit may use what the node has
    assert resource_field(given, selector, "web", Facts(allocatable={"ephemeral-storage": "2Ki"})) == wanted


def test_a_missing_limit_is_the_whole_pods() -> None:
    """Source: `defaultPodLimitsForDownwardAPI`."""
    whole = pod(resources={"limits": {"memory": "64Mi"}})
    facts = Facts(allocatable={"cpu": "2", "memory": "1Gi"})
    name = whole.spec.containers[0].name
    memory = core_v1.ResourceFieldSelector(resource="limits.memory")
    assert resource_field(whole, memory, name, facts) == str(64 << 20)
    assert resource_field(whole, core_v1.ResourceFieldSelector(resource="limits.cpu"), name, facts) == "2"
