"""LimitRange, ResourceQuota and the Pod Security Standards: what they count, and the words of their refusals."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.admission import pod_security_checks as standards
from carob.apiserver.admission import quota_usage
from carob.apiserver.admission.limit_ranges import ANNOTATION, LimitRanger
from carob.apiserver.admission.pod_security import PodSecurity, label_causes, policy_of
from carob.apiserver.types import Attributes, Operation

BOB = UserInfo("bob", ("system:authenticated",))


def container(name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "i"} | fields


def resources(**fields: Any) -> dict[str, Any]:
    return container(resources=fields)


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "a"}
    spec = {"containers": list(containers) or [container()]} | spec
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def as_pod(tree: dict[str, Any]) -> core_v1.Pod:
    return codec.from_tree(core_v1.Pod, tree)


def creation(tree: dict[str, Any]) -> Attributes:
    resource = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert resource is not None
    obj = codec.from_tree(resource.struct, tree)
    return Attributes(Operation.CREATE, resource, obj.metadata.namespace, obj.metadata.name, BOB, obj)


def message_of(plugin: Any, attributes: Attributes) -> str:
    try:
        plugin.admit(attributes)
        plugin.validate(attributes)
    except ApiError as error:
        return error.message
    return ""


# LimitRange


def limits(**item: Any) -> dict[str, Any]:
    metadata = {"name": "l", "namespace": "a"}
    spec = {"limits": [{"type": "Container"} | item]}
    return {"kind": "LimitRange", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def test_defaults_are_filled_in_and_told(reader: Any) -> None:
    reader.put(limits(default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "500m"}))
    attributes = creation(pod(resources(limits={"cpu": "2"}), initContainers=[container("i")]))
    LimitRanger(reader).admit(attributes)
    found = attributes.obj.spec.containers[0].resources
    assert (found.limits, found.requests) == ({"cpu": "2", "memory": "1Gi"}, {"cpu": "500m"})
    assert attributes.obj.metadata.annotations[ANNOTATION] == (
        "LimitRanger plugin set: cpu request for container c; memory limit for container c; "
        "cpu request for init container i; cpu, memory limit for init container i"
    )


@pytest.mark.parametrize(
    ("item", "amounts", "words"),
    [
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {},
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
        (
            {"max": {"memory": "1Gi"}},
            {"limits": {"memory": "2Gi"}},
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        ),
        ({"max": {"memory": "1Gi"}}, {}, "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            {"min": {"cpu": "1"}},
            {"requests": {"cpu": "500m"}},
            "minimum cpu usage per Container is 1, but request is 500m",
        ),
        (
            {"type": "Pod", "max": {"cpu": "1"}},
            {"limits": {"cpu": "1500m"}},
            "maximum cpu usage per Pod is 1, but limit is 1500m",
        ),
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "1"}}, ""),
    ],
)
def test_bounds(reader: Any, item: dict[str, Any], amounts: dict[str, Any], words: str) -> None:
    reader.put(limits(**item))
    found = message_of(LimitRanger(reader), creation(pod(resources(**amounts))))
    assert found == (f'pods "p" is forbidden: {words}' if words else "")


def test_several_complaints_come_together(reader: Any) -> None:
    reader.put(limits(max={"cpu": "1", "memory": "1Gi"}))
    found = message_of(LimitRanger(reader), creation(pod()))
    assert found == (
        'pods "p" is forbidden: [maximum cpu usage per Container is 1.  No limit is specified, '
        "maximum memory usage per Container is 1Gi.  No limit is specified]"
    )


# ResourceQuota


def usage(tree: dict[str, Any]) -> dict[str, str]:
    resource = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert resource is not None
    return dict(quota_usage.usage_of(resource, codec.from_tree(resource.struct, tree)))


def test_what_a_pod_costs() -> None:
    amounts = {"requests": {"cpu": "500m", "example.com/gpu": "1"}, "limits": {"memory": "512Mi"}}
    assert usage(pod(resources(**amounts))) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "500m",
        "requests.cpu": "500m",
        "requests.example.com/gpu": "1",
        "limits.memory": "512Mi",
    }


def test_a_pod_that_has_ended_costs_its_place_in_the_store_alone() -> None:
    assert usage(pod() | {"status": {"phase": "Succeeded"}}) == {"count/pods": "1"}


def test_what_other_objects_cost() -> None:
    metadata = {"name": "x", "namespace": "a"}
    service: dict[str, Any] = {"kind": "Service", "apiVersion": "v1", "metadata": metadata}
    ports = [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]
    found = usage(service | {"spec": {"type": "LoadBalancer", "ports": ports}})
    assert found == {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": "1",
        "services.nodeports": "2",
    }
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "2Gi"}}}
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": spec}
    found = usage(claim)
    assert found["requests.storage"] == "2Gi"
    assert found["fast.storageclass.storage.k8s.io/requests.storage"] == "2Gi"
    assert usage({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata}) == {
        "count/deployments.apps": "1"
    }


@pytest.mark.parametrize(
    ("spec", "tree", "counted"),
    [
        ({"scopes": ["BestEffort"]}, pod(), True),
        ({"scopes": ["NotBestEffort"]}, pod(), False),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["NotTerminating"]}, pod(activeDeadlineSeconds=5), False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["x"]}]
                }
            },
            pod(priorityClassName="x"),
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["x"]}]
                }
            },
            pod(),
            False,
        ),
    ],
)
def test_scopes(spec: dict[str, Any], tree: dict[str, Any], counted: bool) -> None:
    quota = codec.from_tree(core_v1.ResourceQuota, {"metadata": {"name": "q"}, "spec": spec})
    resource = TABLE.by_plural("", "v1", "pods")
    assert resource is not None
    assert quota_usage.counts(quota, resource, as_pod(tree)) is counted


def test_what_containers_must_say() -> None:
    resource = TABLE.by_plural("", "v1", "pods")
    assert resource is not None
    hard: Any = {"limits.memory": "1Gi", "requests.cpu": "1", "pods": "3"}
    assert quota_usage.missing(resource, as_pod(pod()), hard) == ["limits.memory for: c", "requests.cpu for: c"]


# Pod Security

STRICT = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.parametrize(
    ("level", "tree", "words"),
    [
        ("baseline", pod(), []),
        ("baseline", pod(hostNetwork=True), ["host namespaces (hostNetwork=true)"]),
        (
            "baseline",
            pod(container(securityContext={"privileged": True})),
            ['privileged (container "c" must not set securityContext.privileged=true)'],
        ),
        ("baseline", pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), ['hostPath volumes (volume "h")']),
        (
            "baseline",
            pod(container(ports=[{"containerPort": 80, "hostPort": 80}])),
            ['hostPort (container "c" uses hostPort 80)'],
        ),
        (
            "baseline",
            pod(container(securityContext={"capabilities": {"add": ["SYS_ADMIN", "NET_RAW", "CHOWN"]}})),
            [
                'non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in '
                "securityContext.capabilities.add)"
            ],
        ),
        (
            "baseline",
            pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            ["forbidden sysctls (kernel.msgmax)"],
        ),
        (
            "baseline",
            pod(securityContext={"seLinuxOptions": {"user": "x"}}),
            ["seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: user may not be set)"],
        ),
        (
            "baseline",
            pod(container(livenessProbe={"httpGet": {"port": 80, "host": "1.2.3.4"}})),
            ['probe or lifecycle host (container "c" uses probe or lifecycle host "1.2.3.4")'],
        ),
        (
            "baseline",
            pod(container(securityContext={"appArmorProfile": {"type": "Unconfined"}})),
            ['forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")'],
        ),
        ("restricted", pod(container(securityContext=STRICT)), []),
        (
            "restricted",
            pod(container(securityContext=STRICT), container("d"), initContainers=[container("i")]),
            [
                'allowPrivilegeEscalation != false (containers "i", "d" must set '
                "securityContext.allowPrivilegeEscalation=false)",
                'unrestricted capabilities (containers "i", "d" must set securityContext.capabilities.drop=["ALL"])',
                'runAsNonRoot != true (pod or containers "i", "d" must set securityContext.runAsNonRoot=true)',
                'seccompProfile (pod or containers "i", "d" must set securityContext.seccompProfile.type to '
                '"RuntimeDefault" or "Localhost")',
            ],
        ),
        (
            "restricted",
            pod(container(securityContext=STRICT), volumes=[{"name": "n", "nfs": {"server": "s", "path": "/"}}]),
            ['restricted volume types (volume "n" uses restricted volume type "nfs")'],
        ),
        (
            "restricted",
            pod(container(securityContext=STRICT), securityContext={"runAsUser": 0}),
            ["runAsUser=0 (pod must not set runAsUser=0)"],
        ),
        ("privileged", pod(hostPID=True), []),
    ],
)
def test_standards(level: str, tree: dict[str, Any], words: list[str]) -> None:
    found = standards.violations(level, as_pod(tree))
    assert [f"{one.reason} ({one.detail})" for one in found] == words


def namespace(**labels: str) -> dict[str, Any]:
    named = {f"pod-security.kubernetes.io/{key.replace('_', '-')}": value for key, value in labels.items()}
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a", "labels": named}}


def test_a_namespace_enforces_or_warns(reader: Any) -> None:
    plugin = PodSecurity(reader)
    reader.put(namespace(enforce="baseline"))
    found = message_of(plugin, creation(pod(hostPID=True)))
    assert found == 'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    reader.put(namespace(warn="baseline", warn_version="v1.30"))
    attributes = creation(pod(hostPID=True))
    assert message_of(plugin, attributes) == ""
    assert attributes.warnings == ['would violate PodSecurity "baseline:v1.30": host namespaces (hostPID=true)']


def test_workloads_are_warned_of_what_their_pods_will_meet(reader: Any) -> None:
    reader.put(namespace(enforce="baseline"))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(hostPID=True)["spec"]}
    metadata = {"name": "d", "namespace": "a"}
    for tree in (
        {"kind": "Deployment", "apiVersion": "apps/v1", "spec": {"template": template}},
        {"kind": "CronJob", "apiVersion": "batch/v1", "spec": {"jobTemplate": {"spec": {"template": template}}}},
        {"kind": "PodTemplate", "apiVersion": "v1", "template": template},
    ):
        attributes = creation(tree | {"metadata": metadata})
        assert message_of(PodSecurity(reader), attributes) == ""
        assert len(attributes.warnings) == 1


def test_labels_of_namespaces_are_checked() -> None:
    labels = namespace(enforce="nope", audit_version="1.2")["metadata"]["labels"]
    assert [cause["message"] for cause in label_causes(labels)] == [
        'Invalid value: "nope": must be one of privileged, baseline, restricted',
        'Invalid value: "1.2": must be "latest" or "v1.x"',
    ]
    assert str(policy_of({}, "enforce")) == "privileged:latest"
