"""Back-off, names, credentials, security, admission, callers: small rules, each with upstream's words."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from carob.api import codec
from carob.api.types import core_v1, meta_v1
from carob.kubelet.adoption import adopt
from carob.kubelet.backoff import Backoff, go_duration
from carob.kubelet.credentials import pull_secrets_of
from carob.kubelet.etc_files import hostname_and_domain, hosts_file, kernel_hostname
from carob.kubelet.failures import Rejected, StepFailure
from carob.kubelet.image_names import InvalidImageName, with_default_tag
from carob.kubelet.security import security_context
from carob.kubelet.steps import node_features
from carob.kubelet.steps.admission import admit
from carob.runtime.types import Image, SandboxConfig, SandboxState, SandboxStatus, SELinuxOptions
from tests.unit.kubelet.pods import container, pod, running


def test_the_delay_doubles_up_to_its_limit_and_is_forgotten() -> None:
    backoff, now, delays = Backoff(), 0.0, []
    for _ in range(8):
        backoff.advance(now, now)
        delays.append(backoff.delay_seconds)
        now += backoff.delay_seconds
    assert delays == [10, 20, 40, 80, 160, 300, 300, 300]
    assert backoff.remaining(now, now + 100) == 200
    assert backoff.remaining(now + 601, now + 601) == 0
    backoff.advance(now + 601, now + 601)
    assert backoff.delay_seconds == 10


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    backoff = Backoff()
    backoff.advance(10_000.0, 10_000.0)
    assert backoff.remaining(10_000.0, 10_000.0) == 10.0
    assert backoff.remaining(10_000.0, 10_000.0 - 3600) == 0.0
    # what ends after that waits as usual, and longer each time
    backoff.advance(6_400.0, 6_400.0)
    assert backoff.remaining(6_400.0, 6_401.0) == 19.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (10, "10s"), (80, "1m20s"), (300, "5m0s"), (3661, "1h1m1s"), (1.25, "1.25s"), (0.5, "500ms")],
)
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1", "busybox:1"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        ("a@sha256:" + "0" * 64, "a@sha256:" + "0" * 64),
    ],
)
def test_a_tag_is_added(image: str, wanted: str) -> None:
    assert with_default_tag(image) == wanted


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("UPPER CASE", r"repository name \(library/UPPER CASE\) must be lowercase"),
        ("docker.io/Foo/bar:1", r"repository name \(Foo/bar\) must be lowercase"),
        ("a b", "invalid reference format"),
        ("", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("0" * 64, "cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_what_is_no_image_name(image: str, why: str) -> None:
    with pytest.raises(InvalidImageName, match=why):
        with_default_tag(image)


def pull_secret(auths: dict[str, Any], key: str = ".dockerconfigjson") -> core_v1.Secret:
    tree = {"auths": auths} if key == ".dockerconfigjson" else auths
    return core_v1.Secret(data={key: base64.b64encode(orjson.dumps(tree)).decode()})


def test_credentials_fit_by_host_and_path_the_longest_first() -> None:
    secret = pull_secret(
        {
            "reg.example": {"username": "host", "password": "1"},
            "https://reg.example/team": {"auth": base64.b64encode(b"team:2").decode()},
            "*.example": {"username": "any", "password": "3"},
            "other.org": {"username": "no", "password": "4"},
        }
    )
    found = [(s.auth.username, s.auth.password) for s in pull_secrets_of(secret, "reg.example/team/app:1")]
    assert found == [("team", "2"), ("host", "1"), ("any", "3")]
    hub = pull_secret({"https://index.docker.io/v1/": {"username": "hub", "password": "5"}}, ".dockercfg")
    assert [s.auth.username for s in pull_secrets_of(hub, "busybox")] == ["hub"]


@pytest.mark.parametrize("text", ["", "no base64 at all", base64.b64encode(b"[1]").decode()])
def test_a_broken_pull_secret_has_no_credentials(text: str) -> None:
    assert pull_secrets_of(core_v1.Secret(data={".dockerconfigjson": text}), "busybox") == []


def test_the_containers_security_wins_over_the_pods() -> None:
    of_pod = {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4]}
    given = pod(securityContext=of_pod)
    made = container(
        securityContext={"runAsUser": 9, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    )
    context = security_context(given, made, Image(id="i"))
    assert (context.run_as_user, context.run_as_group) == (9, 2)
    assert context.supplemental_groups == [4, 3]
    assert context.no_new_privileges
    assert context.drop_capabilities == ["ALL"]
    assert context.seccomp.kind == "RuntimeDefault"
    local = container(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}})
    chosen = security_context(given, local, Image(id="i"), seccomp_root="/node/seccomp").seccomp
    assert (chosen.kind, chosen.localhost_path) == ("Localhost", "/node/seccomp/a/b.json")
    privileged = security_context(given, container(securityContext={"privileged": True}), Image(id="i"))
    assert privileged.seccomp.kind == "Unconfined"


def test_a_containers_label_of_selinux_replaces_the_pods_whole() -> None:
    given = pod(securityContext={"seLinuxOptions": {"type": "t", "level": "s0"}})
    own = container(securityContext={"seLinuxOptions": {"level": "s0:c1"}})
    made = [security_context(given, one, Image(id="i")).selinux for one in (container(), own)]
    assert made == [SELinuxOptions(type="t", level="s0"), SELinuxOptions(level="s0:c1")]
    assert security_context(pod(), container(), Image(id="i")).selinux is None


@pytest.mark.parametrize(
    ("context", "image", "why"),
    [
        ({"runAsUser": 0}, Image(id="i"), "container's runAsUser breaks non-root policy"),
        ({}, Image(id="i", uid=0), "container has runAsNonRoot and image will run as root"),
        ({}, Image(id="i"), "container has runAsNonRoot and image will run as root"),
        ({}, Image(id="i", username="web"), r"image has non-numeric user \(web\), cannot verify user is non-root"),
    ],
)
def test_root_is_refused_where_it_is_not_wanted(context: dict[str, Any], image: Image, why: str) -> None:
    made = container(securityContext={"runAsNonRoot": True} | context)
    with pytest.raises(StepFailure, match=why) as caught:
        security_context(pod(), made, image)
    assert caught.value.reason == "CreateContainerConfigError"
    assert caught.value.message.endswith('(pod: "p_default(u-1)", container: web)')


def test_users_other_than_root_may() -> None:
    made = container(securityContext={"runAsNonRoot": True})
    assert security_context(pod(), made, Image(id="i", uid=1000)).run_as_user is None


def asking(cpu: str, **spec: Any) -> core_v1.Pod:
    made = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}} | spec.pop("container", {})
    return pod(containers=[made], **spec)


def sysctl(name: str) -> dict[str, Any]:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}


ROOM = {"cpu": "2", "memory": "1Gi", "pods": "3"}
NODE = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n", labels={"zone": "a"}))


def zone(name: str) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": [name]}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def test_what_fits_is_let_in() -> None:
    admit(asking("0", affinity=zone("a")), [], ROOM, NODE)
    admit(asking("1"), [asking("1")], ROOM, NODE)


@pytest.mark.parametrize(
    ("given", "others", "reason", "words"),
    [
        (asking("1500m"), 1, "OutOfcpu", "resource: cpu, requested: 1500, used: 1000, capacity: 2000"),
        (asking("0"), 3, "OutOfpods", "resource: pods, requested: 1, used: 3, capacity: 3"),
        (asking("0", nodeSelector={"a": "b"}), 0, "NodeAffinity", "didn't match Pod's node affinity/selector"),
        (asking("0", os={"name": "windows"}), 0, "PodOSNotSupported", "OS field doesn't match node OS"),
        (asking("0", affinity=zone("b")), 0, "NodeAffinity", "didn't match Pod's node affinity/selector"),
    ],
)
def test_what_does_not_fit_is_refused(given: core_v1.Pod, others: int, reason: str, words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        admit(given, [asking("1")] * others, ROOM, NODE)
    assert caught.value.reason == reason


def test_who_may_not_stay_does_not_begin() -> None:
    taint = core_v1.Taint(key="k", value="v", effect="NoExecute")
    tainted = core_v1.Node(spec=core_v1.NodeSpec(taints=[taint, core_v1.Taint(key="x", effect="NoSchedule")]))
    with pytest.raises(Rejected, match="node\\(s\\) had taints that the pod didn't tolerate") as caught:
        admit(asking("0"), [], ROOM, tainted)
    assert caught.value.reason == "TaintToleration"
    for toleration in ({"operator": "Exists"}, {"key": "k", "value": "v", "operator": "Equal", "effect": "NoExecute"}):
        admit(asking("0", tolerations=[toleration]), [], ROOM, tainted)


def test_a_port_of_the_node_is_given_once() -> None:
    def wanting(**port: Any) -> core_v1.Pod:
        return asking("0", container={"ports": [{"containerPort": 80, "hostPort": 80} | port]})

    with pytest.raises(Rejected) as caught:
        admit(wanting(), [wanting(hostIP="127.0.0.1")], ROOM, NODE)
    assert caught.value.reason == "NodePorts"
    admit(wanting(hostIP="10.0.0.1"), [wanting(hostIP="127.0.0.1")], ROOM, NODE)
    admit(wanting(protocol="UDP"), [wanting()], ROOM, NODE)


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        (sysctl("kernel.msgmax"), "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        (
            sysctl("net.ipv4.tcp_syncookies") | {"hostNetwork": True},
            "SysctlForbidden",
            "not allowed with host net enabled",
        ),
        (
            sysctl("kernel.shm_rmid_forced") | {"hostIPC": True},
            "SysctlForbidden",
            "not allowed with host ipc enabled",
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}},
            "AppArmor",
            "Cannot enforce AppArmor: AppArmor is not enabled on the host",
        ),
    ],
)
def test_what_the_kernel_must_not_or_cannot_do(spec: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(Rejected, match=words) as caught:
        node_features.check(pod(**spec), apparmor=False)
    assert caught.value.reason == reason


def test_safe_sysctls_are_let_in() -> None:
    node_features.check(pod(**sysctl("net.ipv4.ip_unprivileged_port_start")), apparmor=False)
    node_features.check(pod(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}), apparmor=True)


def test_host_names() -> None:
    named = pod(hostname="h", subdomain="s")
    assert hostname_and_domain(named, "cluster.local") == ("h", "s.default.svc.cluster.local")
    assert kernel_hostname(named, "cluster.local") == "h"
    assert kernel_hostname(pod(hostname="h", subdomain="s", setHostnameAsFQDN=True), "c.l") == "h.s.default.svc.c.l"
    with pytest.raises(ValueError, match="is too long"):
        kernel_hostname(pod(hostname="h" * 60, subdomain="s", setHostnameAsFQDN=True), "cluster.local")
    assert hostname_and_domain(pod(metadata={"name": "a" * 62 + "-b"}), "c") == ("a" * 62, "")
    assert "10.1.1.1\th.s.default.svc.c\th\n" in hosts_file(named, ["10.1.1.1"], "c")
    own = "127.0.0.1 localhost\n127.0.1.1 machine\n"
    seen = [hosts_file(pod(hostNetwork=True), ["10.1.1.1"], "c", own, name) for name in ("machine", "node-1")]
    assert seen[0].endswith(own)
    assert seen[1].endswith(own + "10.1.1.1\tnode-1\n")


def test_pods_are_found_again_by_their_labels() -> None:
    config = SandboxConfig(name="web", namespace="team", uid="u-9")
    sandbox = SandboxStatus(id="s", config=config, state=SandboxState.READY, created_at=1.0)
    left = running("main", attempt=3, sandbox="s")
    left.annotations = {"io.kubernetes.pod.terminationGracePeriod": "7"}
    stray = running("lost", sandbox="nobody's")
    (record,) = adopt([sandbox], [left, stray])
    assert (record.uid, record.pod.metadata.name, record.pod.metadata.namespace) == ("u-9", "web", "team")
    assert list(record.containers) == ["main-3"]
    assert record.pod.spec.termination_grace_period_seconds == 7
    # three restarts lie behind it: the next one waits as long as it would have
    assert record.crashes["main"].delay_seconds == 40


def test_what_a_claim_of_devices_gives_a_pod_the_node_need_not_offer() -> None:
    amounts = {"cpu": "1", "example.com/gpu": "2"}
    tree = {
        "spec": {"containers": [{"name": "main", "resources": {"requests": amounts}}]},
        "status": {
            "extendedResourceClaimStatus": {
                "resourceClaimName": "c",
                "requestMappings": [
                    {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "container-0-request-1"}
                ],
            }
        },
    }
    claimed = codec.from_tree(core_v1.Pod, tree)
    admit(claimed, [], ROOM, NODE)
    with pytest.raises(Rejected, match=r"Node didn't have enough resource: example\.com/gpu, requested: 2"):
        admit(claimed, [], {**ROOM, "example.com/gpu": "1"}, NODE)
    claimed.status.extended_resource_claim_status = None
    with pytest.raises(Rejected, match=r"Node didn't have enough resource: example\.com/gpu, requested: 2"):
        admit(claimed, [], {**ROOM, "example.com/gpu": "0"}, NODE)


def test_what_others_added_to_the_node_is_the_schedulers_to_count() -> None:
    def wanting(name: str) -> core_v1.Pod:
        return asking("0", container={"resources": {"requests": {name: "2"}}})

    admit(wanting("example.com/dongle"), [wanting("example.com/dongle")], ROOM, NODE)
    with pytest.raises(Rejected, match="Node didn't have enough resource: hugepages-2Mi, requested: 2"):
        admit(wanting("hugepages-2Mi"), [], ROOM, NODE)
