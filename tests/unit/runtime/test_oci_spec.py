"""What crun is told: pure, from configs to config.json."""

from __future__ import annotations

from typing import Any

import pytest

from carob.runtime.embedded.oci_spec import DeviceNode, Facts, NoCommand, arguments, build, environment, mounts, process
from carob.runtime.embedded.seccomp import BPF_ANNOTATION, Filter
from carob.runtime.embedded.users import User
from carob.runtime.types import ContainerConfig, Mount, MountPropagation, Resources, SecurityContext


def config(**changes: Any) -> ContainerConfig:
    return ContainerConfig(**{"name": "main", "image": "i", "command": ["run"], **changes})


def facts(**changes: Any) -> Facts:
    return Facts(**{"rootfs": "/r", "cgroup": "/g", "hostname": "pod", "shm": "/shm", **changes})


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "command", "args", "expected"),
    [
        (["e"], ["c"], None, None, ["e", "c"]),
        (["e"], ["c"], ["k"], None, ["k"]),
        (["e"], ["c"], None, ["a"], ["e", "a"]),
        (["e"], ["c"], ["k"], ["a"], ["k", "a"]),
        (None, ["c"], None, None, ["c"]),
        (["e"], None, [], [], ["e"]),
        (["e"], ["c"], ["k"], [], ["k"]),
    ],
)
def test_command_and_args_replace_entrypoint_and_cmd(
    entrypoint: list[str] | None,
    cmd: list[str] | None,
    command: list[str] | None,
    args: list[str] | None,
    expected: list[str],
) -> None:
    """kubernetes.io: Define a Command and Arguments for a Container."""
    image = {"Entrypoint": entrypoint, "Cmd": cmd}
    assert arguments(config(command=command, args=args), image) == expected


def test_no_command_at_all() -> None:
    with pytest.raises(NoCommand, match="no command specified"):
        arguments(config(command=None), {})


def test_variables_of_the_pod_replace_those_of_the_image_in_place() -> None:
    image = {"Env": ["PATH=/bin", "A=1", "B=x=y"]}
    made = environment(config(env=[("B", "2"), ("C", "3"), ("C", "4")]), facts(image=image))
    assert made == ["PATH=/bin", "HOSTNAME=pod", "A=1", "B=2", "C=4", "HOME=/"]
    assert "TERM=xterm" in environment(config(tty=True), facts())
    assert environment(config(), facts(user=User(home="/home/web")))[0].startswith("PATH=/usr/local/sbin:")


def test_a_user_that_is_not_root_has_no_effective_capabilities() -> None:
    made = process(config(), facts(user=User(uid=5, gid=6, groups=(6, 7)), capabilities=["CAP_CHOWN"]))
    assert made["capabilities"] == {"bounding": ["CAP_CHOWN"], "effective": [], "permitted": []}
    assert made["user"] == {"uid": 5, "gid": 6, "additionalGids": [6, 7]}


def destinations(made: list[dict[str, Any]]) -> list[str]:
    return [mount["destination"] for mount in made]


def test_volumes_come_after_the_kernels_file_systems_outer_before_inner() -> None:
    asked = [
        Mount(container_path="/data/a/b", host_path="/1"),
        Mount(container_path="/data", host_path="/2", readonly=True),
        Mount(container_path="/dev/shm", host_path="/3"),
    ]
    made = mounts(config(mounts=asked), facts(files={"/etc/hostname": "/s/hostname"}))
    assert destinations(made)[:2] == ["/proc", "/dev"]
    assert destinations(made)[-3:] == ["/data", "/dev/shm", "/data/a/b"]
    assert destinations(made).count("/dev/shm") == 1
    assert made[-3]["options"] == ["rbind", "rprivate", "ro"]


def test_the_kubelets_files_win_over_the_sandboxes() -> None:
    asked = [Mount(container_path="/etc/resolv.conf", host_path="/k")]
    made = mounts(config(mounts=asked), facts(files={"/etc/resolv.conf": "/s", "/etc/hostname": "/h"}))
    found = {mount["destination"]: mount["source"] for mount in made}
    assert (found["/etc/resolv.conf"], found["/etc/hostname"]) == ("/k", "/h")


@pytest.mark.parametrize(
    ("propagation", "readonly", "recursive", "options", "root"),
    [
        (MountPropagation.PRIVATE, False, False, ["rbind", "rprivate", "rw"], None),
        (MountPropagation.HOST_TO_CONTAINER, True, False, ["rbind", "rslave", "ro"], "rslave"),
        (MountPropagation.BIDIRECTIONAL, False, False, ["rbind", "rshared", "rw"], "rshared"),
        (MountPropagation.PRIVATE, True, True, ["rbind", "rprivate", "rro"], None),
    ],
)
def test_propagation(
    propagation: MountPropagation, readonly: bool, recursive: bool, options: list[str], root: str | None
) -> None:
    mount = Mount(
        container_path="/v", host_path="/h", propagation=propagation, readonly=readonly, recursive_readonly=recursive
    )
    spec = build(config(mounts=[mount]), facts())
    assert spec["mounts"][-1]["options"] == options
    assert spec["linux"].get("rootfsPropagation") == root


def test_image_volumes_stay_writable_under_a_read_only_root() -> None:
    image: dict[str, Any] = {"Volumes": {"/var/lib/db": {}, "/asked": {}}}
    asked = [Mount(container_path="/asked", host_path="/h")]
    made = mounts(config(mounts=asked, security=SecurityContext(readonly_rootfs=True)), facts(image=image))
    assert [m["source"] for m in made if m["destination"] == "/var/lib/db"] == ["/r/var/lib/db"]
    assert destinations(made).count("/asked") == 1
    assert "/var/lib/db" not in destinations(mounts(config(), facts(image=image)))


def test_limits_are_named_only_where_asked_for() -> None:
    asked = Resources(cpu_shares=2, cpu_quota=500, memory_limit=7, memory_swap_limit=7, pids_limit=3)
    made = build(config(resources=asked), facts(swap_accounting=True))["linux"]["resources"]
    assert made["cpu"] == {"shares": 2, "quota": 500, "period": 100_000}
    assert made["memory"] == {"limit": 7, "swap": 7}
    assert made["pids"] == {"limit": 3}
    assert "swap" not in build(config(resources=asked), facts())["linux"]["resources"]["memory"]
    assert set(build(config(), facts())["linux"]["resources"]) == {"devices"}


def test_limits_in_the_words_of_cgroup_v2() -> None:
    asked = Resources(cpu_shares=102, memory_limit=7, unified={"memory.swap.max": "0"}, hugepage_limits={"2MB": 0})
    made = build(config(resources=asked), facts(cgroup2=True, huge_pages=True))["linux"]["resources"]
    assert "cpu" not in made
    assert made["unified"] == {"memory.swap.max": "0", "cpu.weight": "17", "hugetlb.2MB.rsvd.max": "0"}
    assert made["hugepageLimits"] == [{"pageSize": "2MB", "limit": 0}]
    made = build(config(resources=asked), facts())["linux"]["resources"]
    assert made["cpu"] == {"shares": 102}
    assert set(made) == {"cpu", "memory", "devices"}


def test_devices_are_denied_but_for_the_harmless_and_the_asked_for() -> None:
    node = DeviceNode("/dev/fuse", "c", 10, 229, "rw")
    linux = build(config(), facts(devices=[node]))["linux"]
    rules = linux["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-1] == {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    assert linux["devices"][0]["path"] == "/dev/fuse"
    assert "devices" not in build(config(), facts(device_rules=False))["linux"]["resources"]


def test_privileged_hides_nothing() -> None:
    spec = build(config(security=SecurityContext(privileged=True)), facts())
    assert "maskedPaths" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    options = {mount["destination"]: mount["options"] for mount in spec["mounts"]}
    assert "rw" in options["/sys"]
    assert "rw" in options["/sys/fs/cgroup"]
    assert "maskedPaths" not in build(config(security=SecurityContext(unmasked_proc=True)), facts())["linux"]


def test_a_ready_filter_takes_the_place_of_the_profile() -> None:
    ready = build(config(), facts(filter=Filter("k", None, "QUJD")))
    assert ready["annotations"] == {BPF_ANNOTATION: "QUJD"}
    assert "seccomp" not in ready["linux"]
    plain = build(config(), facts(filter=Filter("k", {"defaultAction": "x"})))
    assert plain["linux"]["seccomp"] == {"defaultAction": "x"}
    assert plain["annotations"] == {}


def test_annotations_of_the_pod_never_reach_crun() -> None:
    """They could ask it for hooks."""
    spec = build(config(annotations={"run.oci.hooks.stdout": "/x"}), facts())
    assert spec["annotations"] == {}


def test_namespaces_are_joined_made_or_left() -> None:
    made = build(config(), facts(namespaces={"mount": "", "network": "/n"}))["linux"]["namespaces"]
    assert made == [{"type": "mount"}, {"type": "network", "path": "/n"}]
