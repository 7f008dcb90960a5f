"""What the CRI's client writes down, reads out of a runtime's further words, and makes of its refusals."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from carob.runtime.cri import container_messages as wire
from carob.runtime.cri import containers, orders, sandboxes, verbose
from carob.runtime.cri.image_messages import ImageSpec
from carob.runtime.cri.sandbox_messages import LinuxContainerResources, PodSandboxConfig
from carob.runtime.cri.streams import refused_command
from carob.runtime.types import (
    ContainerConfig,
    Device,
    DnsConfig,
    Image,
    LinuxUser,
    Mount,
    MountPropagation,
    NamespaceMode,
    PortMapping,
    Resources,
    SandboxConfig,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
)

SANDBOX = SandboxConfig(
    name="web",
    namespace="default",
    uid="u",
    attempt=2,
    log_directory="/logs",
    dns=DnsConfig(servers=["10.43.0.10"], searches=["a"], options=["ndots:5"]),
    port_mappings=[PortMapping("UDP", 53, 5353, "127.0.0.1")],
    labels={"app": "web"},
    annotations={"a": "b"},
    cgroup_parent="/carob/pod",
    resources=Resources(cpu_shares=2, cpu_quota=1000, memory_limit=1 << 20, hugepage_limits={"2MB": 1 << 63}),
    sysctls={"net.core.somaxconn": "1"},
    network=NamespaceMode.NODE,
    pid=NamespaceMode.POD,
    ipc=NamespaceMode.NODE,
    runtime_handler="crun",
    selinux=SELinuxOptions(level="s0:c1"),
)
CONTAINER = ContainerConfig(
    name="main",
    attempt=3,
    image="sha256:1",
    image_spec="web:v1",
    command=["a"],
    args=["b"],
    working_dir="/w",
    env=[("A", "1"), ("A", "2")],
    mounts=[
        Mount(container_path="/m", host_path="/h", readonly=True, propagation=MountPropagation.BIDIRECTIONAL),
        Mount(container_path="/e", host_path="/e", relabel=True),
        Mount(container_path="/i", host_path="", readonly=True, image="sha256:2", image_sub_path="x"),
    ],
    devices=[Device(container_path="/dev/x", host_path="/dev/y", permissions="r")],
    labels={"l": "1"},
    annotations={"a": "1"},
    log_path="main/3.log",
    stdin=True,
    stdin_once=True,
    tty=True,
    stop_signal="SIGRTMIN+3",
    resources=Resources(cpu_shares=100, memory_swap_limit=7, oom_score_adj=-5, cpuset_cpus="0"),
    security=SecurityContext(
        add_capabilities=["NET_ADMIN"],
        drop_capabilities=["ALL"],
        run_as_user=0,
        run_as_group=5,
        supplemental_groups=[7, 8],
        strict_groups=True,
        readonly_rootfs=True,
        no_new_privileges=True,
        seccomp=SeccompProfile(kind="Localhost", localhost_path="/p.json"),
        apparmor_profile="localhost/mine",
        selinux=SELinuxOptions(user="u", role="r", type="t", level="s0:c1,c2"),
        pid=NamespaceMode.TARGET,
        target_container_id="t",
    ),
)


def test_a_sandbox_is_the_same_after_the_wire() -> None:
    assert sandboxes.from_wire_config(sandboxes.to_wire_config(SANDBOX), "crun") == SANDBOX


def test_a_container_is_the_same_after_the_wire() -> None:
    made = containers.to_wire_config(CONTAINER, SANDBOX, (["/proc/kcore"], ["/proc/sys"]))
    assert containers.from_wire_config(made) == CONTAINER
    assert made.linux is not None
    assert made.linux.security_context is not None
    assert made.linux.security_context.masked_paths == ["/proc/kcore"]


@pytest.mark.parametrize(
    ("image", "user", "name"),
    [(Image(id="i"), 0, ""), (Image(id="i", uid=9), 9, ""), (Image(id="i", username="web"), None, "web")],
)
def test_a_group_alone_goes_with_the_images_user(image: Image, user: int | None, name: str) -> None:
    made = containers.of_image_user(SecurityContext(run_as_group=5), image)
    assert (made.run_as_user, made.run_as_username, made.run_as_group) == (user, name, 5)
    asked = msgspec.structs.replace(CONTAINER, security=made)
    wire_config = containers.to_wire_config(asked, SANDBOX, ([], []))
    assert containers.from_wire_config(wire_config).security.run_as_group == 5
    for kept in (SecurityContext(), SecurityContext(run_as_user=3, run_as_group=5)):
        assert containers.of_image_user(kept, image) == kept


def test_a_container_that_sees_its_proc_whole_has_nothing_masked() -> None:
    open_ = msgspec.structs.replace(CONTAINER, security=SecurityContext(unmasked_proc=True))
    made = containers.to_wire_config(open_, SANDBOX, (["/proc/kcore"], ["/proc/sys"]))
    assert made.linux is not None
    assert made.linux.security_context is not None
    assert (made.linux.security_context.masked_paths, made.linux.security_context.readonly_paths) == ([], [])


def test_a_client_that_names_no_seccomp_profile_gets_none() -> None:
    """On the wire the default is unconfined; the kubelet always names one."""
    plain = wire.ContainerConfig(metadata=wire.ContainerMetadata(name="a"), image=ImageSpec(image="i"))
    assert containers.from_wire_config(plain).security.seccomp.kind == "Unconfined"
    old = wire.LinuxContainerSecurityContext(seccomp_profile_path="localhost//p.json")
    plain.linux = wire.LinuxContainerConfig(security_context=old)
    profile = containers.from_wire_config(plain).security.seccomp
    assert (profile.kind, profile.localhost_path) == ("Localhost", "/p.json")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (wire.ContainerConfig(), "metadata"),
        (wire.ContainerConfig(metadata=wire.ContainerMetadata(name="a")), "image"),
    ],
)
def test_a_container_without_a_name_or_an_image_is_refused(config: wire.ContainerConfig, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        containers.from_wire_config(config)


def test_a_sandbox_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="must include metadata"):
        sandboxes.from_wire_config(PodSandboxConfig(), "")


def test_an_order_is_found_again_and_not_shown() -> None:
    marked = orders.of_sandbox(SANDBOX, "me")
    assert marked.labels == {"app": "web", orders.OWNER: "me"}
    assert marked.annotations.keys() == {"a", orders.ORDER}
    assert orders.sandbox_of(marked.labels, marked.annotations) == SANDBOX
    assert orders.sandbox_of({"app": "web"}, {"a": "b"}) is None
    assert orders.sandbox_of({}, {orders.ORDER: "not json"}) is None
    order = orders.ContainerOrder(image="web:v1", tty=True, resources=Resources(cpu_shares=3))
    kept = orders.of_container(CONTAINER, order, "me")
    assert orders.container_of(kept.annotations) == order
    assert orders.without(kept.annotations) == CONTAINER.annotations


def test_limits_are_the_runtimes_and_the_rest_the_orders() -> None:
    order = Resources(cpu_shares=1, memory_limit=5, pids_limit=9)
    assert orders.limits(order, None) == order
    shown = LinuxContainerResources(cpu_shares=2, memory_limit_in_bytes=6)
    assert orders.limits(order, shown) == Resources(cpu_shares=2, memory_limit=6, pids_limit=9)


@pytest.mark.parametrize("info", [{}, {"info": ""}, {"info": "{"}, {"info": "[]"}, {"info": '{"pid": "x"}'}])
def test_a_runtime_that_tells_nothing_more_is_no_failure(info: dict[str, str]) -> None:
    told = verbose.told(info)
    assert (verbose.pid(told), verbose.netns_path(told)) == (0, "")
    assert verbose.user(told) is None
    assert verbose.resources(told) is None


def test_what_containerd_tells_is_read() -> None:
    tree: dict[str, Any] = {
        "pid": 7,
        "runtimeSpec": {
            "process": {"user": {"uid": 1, "gid": 2, "additionalGids": [3]}},
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}],
                "resources": {"cpu": {"shares": 5, "quota": -1}, "memory": {"limit": 9}},
            },
        },
    }
    told = verbose.told({"info": msgspec.json.encode(tree).decode()})
    assert (verbose.pid(told), verbose.netns_path(told)) == (7, "/run/netns/x")
    assert verbose.user(told) == LinuxUser(uid=1, gid=2, groups=[3])
    assert verbose.resources(told) == LinuxContainerResources(cpu_shares=5, cpu_quota=-1, memory_limit_in_bytes=9)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (
            'failed to exec: OCI runtime exec failed: exec failed: exec: "x": executable file not found in $PATH: unknown',
            127,
        ),
        ('OCI runtime exec failed: exec: "/x": stat /x: no such file or directory: unknown', 127),
        ('OCI runtime exec failed: exec: "/etc/hosts": permission denied: unknown', 126),
    ],
)
def test_a_command_that_cannot_begin_has_a_shells_code(words: str, code: int) -> None:
    refused = refused_command(words)
    assert refused is not None
    assert refused[0] == code
    assert refused[1].startswith(b"OCI runtime exec failed: ")


def test_another_failure_is_nobodys_exit_code() -> None:
    assert refused_command("container is in CONTAINER_EXITED state") is None
