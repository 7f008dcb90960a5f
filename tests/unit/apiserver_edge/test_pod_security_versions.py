"""Pod Security beyond the latest standards: older versions, raised levels, usual levels and exemptions from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.admission import pod_security_checks as standards
from carob.apiserver.admission.pod_security import PodSecurity
from carob.apiserver.admission.pod_security_rules import USUAL, PodSecurityError, PodSecurityRules, load
from carob.apiserver.types import Attributes, Operation


def pod(name: str = "p", annotations: Any = None, owner: str = "", **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "a", "annotations": annotations or {}}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "R", "name": owner, "uid": owner, "controller": True}
        ]
    spec = {"containers": [{"name": "c", "image": "i"}]} | spec
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def reasons(level: str, minor: int, tree: dict[str, Any]) -> list[str]:
    return [one.reason for one in standards.violations(level, codec.from_tree(core_v1.Pod, tree), minor)]


def sysctls(*names: str) -> dict[str, Any]:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"} for name in names]})


@pytest.mark.parametrize(
    ("tree", "since"),
    [
        (sysctls("net.ipv4.ip_local_reserved_ports"), 27),
        (sysctls("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout"), 29),
        (sysctls("net.ipv4.tcp_rmem"), 32),
        (pod(securityContext={"seLinuxOptions": {"type": "container_engine_t"}}), 31),
    ],
)
def test_what_later_versions_allow(tree: dict[str, Any], since: int) -> None:
    assert len(reasons("baseline", since - 1, tree)) == 1
    assert reasons("baseline", since, tree) == []
    assert reasons("baseline", standards.LATEST, tree) == []


def test_what_later_versions_forbid() -> None:
    probe = {"httpGet": {"port": 80, "host": "example.com"}}
    tree = pod(containers=[{"name": "c", "image": "i", "livenessProbe": probe}])
    assert reasons("baseline", 33, tree) == []
    assert reasons("baseline", 34, tree) == ["probe or lifecycle host"]


def test_restricted_grew() -> None:
    everything = pod(securityContext={"runAsUser": 0}, volumes=[{"name": "h", "hostPath": {"path": "/"}}])
    first = ["restricted volume types", "runAsNonRoot != true"]
    assert reasons("restricted", 7, everything) == first
    assert reasons("restricted", 8, everything) == ["allowPrivilegeEscalation != false", *first]
    assert reasons("restricted", 19, everything)[-1] == "seccompProfile"
    assert "unrestricted capabilities" not in reasons("restricted", 21, everything)
    assert reasons("restricted", 23, everything) == [
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        *first,
        "runAsUser=0",
        "seccompProfile",
    ]
    # what `restricted` did not sharpen yet is judged as at `baseline`
    adding = pod(containers=[{"name": "c", "image": "i", "securityContext": {"capabilities": {"add": ["SYS_TIME"]}}}])
    assert "non-default capabilities" in reasons("restricted", 21, adding)
    assert "non-default capabilities" not in reasons("restricted", 22, adding)


def test_windows_is_spared_since_25() -> None:
    tree = pod(os={"name": "windows"}, securityContext={"runAsNonRoot": True})
    assert reasons("restricted", 25, tree) == []
    assert reasons("restricted", 24, tree) == [
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "seccompProfile",
    ]


def test_profiles_were_annotations_once() -> None:
    tree = pod(annotations={"seccomp.security.alpha.kubernetes.io/pod": "unconfined"})
    (found,) = standards.violations("baseline", codec.from_tree(core_v1.Pod, tree), 18)
    assert found.detail == 'forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined"'
    assert reasons("baseline", 19, tree) == []


def raised(reader: Any, before: dict[str, str], after: dict[str, str], rules: PodSecurityRules = USUAL) -> list[str]:
    def named(labels: dict[str, str]) -> core_v1.Namespace:
        full = {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}
        return codec.from_tree(core_v1.Namespace, {"metadata": {"name": "a", "labels": full}})

    row = TABLE.by_plural("", "v1", "namespaces")
    assert row is not None
    attributes = Attributes(Operation.UPDATE, row, "", "a", UserInfo("bob"), named(after), named(before))
    PodSecurity(reader, rules).validate(attributes)
    return attributes.warnings


def test_pods_that_are_there_when_a_level_is_raised(reader: Any) -> None:
    for name in ("r-1", "r-2", "r-3"):
        reader.put(pod(name, owner="r", hostPID=True))
    reader.put(pod("lone", hostNetwork=True, volumes=[{"name": "h", "hostPath": {"path": "/"}}]))
    reader.put(pod("fine"))
    assert raised(reader, {}, {"enforce": "baseline"}) == [
        'existing pods in namespace "a" violate the new PodSecurity enforce level "baseline:latest"',
        "lone: host namespaces, hostPath volumes",
        "r-1 (and 2 other pods): host namespaces",
    ]
    # a milder level, the same one, and other labels are no reason to look
    assert raised(reader, {"enforce": "restricted"}, {"enforce": "baseline"}) == []
    assert raised(reader, {"enforce": "baseline"}, {"enforce": "baseline", "warn": "restricted"}) == []
    assert raised(reader, {"enforce": "baseline"}, {"enforce": "privileged"}) == []
    assert raised(reader, {"enforce": "baseline"}, {"enforce": "baseline", "enforce-version": "v1.20"}) != []
    assert raised(reader, {}, {"enforce": "baseline"}, PodSecurityRules(exempt_namespaces=("a",))) == []


CONFIG = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted}
    exemptions: {usernames: [root], namespaces: [kube-system], runtimeClasses: [vm]}
"""


def refused(reader: Any, rules: PodSecurityRules, user: str = "bob", **spec: Any) -> str:
    row = TABLE.by_plural("", "v1", "pods")
    assert row is not None
    obj = codec.from_tree(core_v1.Pod, pod(hostPID=True, **spec))
    attributes = Attributes(Operation.CREATE, row, "a", "p", UserInfo(user), obj)
    try:
        PodSecurity(reader, rules).validate(attributes)
    except ApiError as error:
        return error.message
    return ""


def test_usual_levels_and_exemptions(reader: Any, tmp_path: Path) -> None:
    file = tmp_path / "admission.yml"
    file.write_text(CONFIG)
    rules = load(file)
    assert rules == PodSecurityRules(
        ("baseline", "v1.30"), ("restricted", "latest"), ("root",), ("kube-system",), ("vm",)
    )
    reader.put({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "a"}})
    assert 'violates PodSecurity "baseline:v1.30": host namespaces' in refused(reader, rules)
    assert refused(reader, rules, "root") == ""
    assert refused(reader, rules, runtimeClassName="vm") == ""
    assert refused(reader, USUAL) == ""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("AdmissionConfiguration", "X", "no AdmissionConfiguration"),
        ("name: PodSecurity", "name: ImagePolicyWebhook", r"plugins\[0\].name: Unsupported value"),
        ("PodSecurityConfiguration", "X", "no PodSecurityConfiguration"),
        ("enforce: baseline", "enforce: high", "defaults.enforce: Invalid value"),
        ("v1.30", "1.30", "defaults.enforce-version"),
        ("warn: restricted", "worn: x", "defaults.worn: unknown field"),
        ("usernames: [root]", 'usernames: [""]', r"exemptions.usernames\[0\]"),
        ("usernames: [root]", "users: [root]", "exemptions.users: unknown field"),
        ("plugins:", "plugins: [", "no YAML"),
    ],
)
def test_what_is_wrong_with_a_configuration(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = tmp_path / "admission.yml"
    file.write_text(CONFIG.replace(old, new))
    with pytest.raises(PodSecurityError, match=words):
        load(file)
