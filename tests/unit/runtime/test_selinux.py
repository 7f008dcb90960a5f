"""Which labels of SELinux a container gets, and where they stand in what crun is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from carob.host import selinux
from carob.host.cgroup import Cgroups, Layout
from carob.host.recording import FakeHost
from carob.runtime.embedded import overlay
from carob.runtime.embedded.containers import Containers, Machine
from carob.runtime.embedded.crun import Crun
from carob.runtime.embedded.oci_spec import Facts, build
from carob.runtime.embedded.places import Places
from carob.runtime.embedded.records import ContainerRecord, SandboxRecord
from carob.runtime.embedded.seccomp import UNCONFINED
from carob.runtime.embedded.selinux import Labels, labels_of
from carob.runtime.types import ContainerConfig, Mount, RuntimeFailure, SandboxConfig, SecurityContext, SELinuxOptions

USUAL = """# what containers are called
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
ro_file = "system_u:object_r:container_ro_file_t:s0"
"""
ON = {
    "/sys/fs/selinux/enforce": "1",
    "/etc/selinux/config": "# mode\nSELINUX=enforcing\nSELINUXTYPE=mine\n",
    "/etc/selinux/mine/contexts/lxc_contexts": USUAL,
}


def asked(*, privileged: bool = False, **parts: str) -> SecurityContext:
    return SecurityContext(selinux=SELinuxOptions(**parts), privileged=privileged)


def test_what_is_not_named_comes_from_the_policy() -> None:
    host = FakeHost(dict(ON))
    usual = Labels("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
    assert labels_of(host, asked()) == usual
    mine = labels_of(host, asked(user="u", role="r", type="spc_t", level="s0:c1,c2"))
    assert mine == ("u:r:spc_t:s0:c1,c2", "u:object_r:container_file_t:s0:c1,c2")
    assert labels_of(host, asked(level="s0:c5", privileged=True)) == ("", "system_u:object_r:container_file_t:s0:c5")


def test_who_names_none_has_none_and_neither_has_anybody_without_selinux() -> None:
    assert labels_of(FakeHost(dict(ON)), SecurityContext()) == Labels()
    assert labels_of(FakeHost({}), asked(level="s0")) == Labels()


def test_a_policy_that_knows_no_containers_is_told_of() -> None:
    for files in ({}, {"/etc/selinux/targeted/contexts/lxc_contexts": "content = x\n"}):
        host = FakeHost({"/sys/fs/selinux/enforce": "1", **files})
        with pytest.raises(RuntimeFailure, match="no label for containers") as refused:
            labels_of(host, asked(level="s0"))
        assert refused.value.reason == "CreateContainerError"


def test_crun_is_told() -> None:
    config = ContainerConfig(name="main", image="i", command=["run"])
    facts = Facts(rootfs="/r", cgroup="/g", hostname="pod", shm="/shm", labels=Labels("a:b:c:s0", "a:o:f:s0"))
    made = build(config, facts)
    assert (made["process"]["selinuxLabel"], made["linux"]["mountLabel"]) == ("a:b:c:s0", "a:o:f:s0")


def test_the_root_file_system_has_the_label() -> None:
    host = FakeHost({})
    overlay.mount(host, "/b", "/w", ["/l"], label="a:o:f:s0:c1,c2")
    (options,) = [str(arguments[4]) for verb, arguments in host.calls if verb == "mount"]
    assert options == 'lowerdir=/l,upperdir=/w/upper,workdir=/w/work,context="a:o:f:s0:c1,c2",volatile'


def test_all_in_a_folder_gets_the_label_and_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume/deep").mkdir(parents=True)
    (tmp_path / "volume/deep/file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/not-ours").touch()
    (tmp_path / "volume/link").symlink_to(tmp_path / "elsewhere")
    labelled: list[str] = []

    def setxattr(path: str, name: str, value: bytes, *, follow_symlinks: bool) -> None:
        assert (name, value, follow_symlinks) == ("security.selinux", b"a:o:f:s0\0", False)
        labelled.append(os.path.relpath(path, tmp_path))

    monkeypatch.setattr(os, "setxattr", setxattr)
    selinux.relabel(str(tmp_path / "volume"), "a:o:f:s0")
    assert sorted(labelled) == ["volume", "volume/deep", "volume/deep/file", "volume/link"]
    with pytest.raises(PermissionError, match="relabeling"):
        selinux.relabel("/usr/", "a:o:f:s0")


def test_a_file_system_without_labels_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def setxattr(path: str, name: str, value: bytes, *, follow_symlinks: bool) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(os, "setxattr", setxattr)
    code = errno.ENOTSUP
    selinux.relabel(str(tmp_path), "a:o:f:s0")
    code = errno.EACCES
    with pytest.raises(PermissionError):
        selinux.relabel(str(tmp_path), "a:o:f:s0")


def test_what_a_container_mounts_gets_its_label(tmp_path: Path) -> None:
    host = FakeHost(dict(ON))
    machine = Machine(
        capabilities=frozenset(),
        oom_score_adj_floor=0,
        cgroup2=False,
        huge_pages=False,
        device_rules=True,
        swap_accounting=False,
        hostname="node",
    )
    places = Places("/state", "/run")
    containers = Containers(host, places, Cgroups(host, Layout(unified="/sys/fs/cgroup")), machine, Crun(host, places))
    ours, theirs = tmp_path / "empty-dir", tmp_path / "host-path"
    ours.mkdir()
    theirs.mkdir()
    config = ContainerConfig(
        name="main",
        image="i",
        command=["run"],
        mounts=[
            Mount(container_path="/ours", host_path=str(ours), relabel=True),
            Mount(container_path="/theirs", host_path=str(theirs)),
        ],
        security=SecurityContext(selinux=SELinuxOptions(level="s0:c7")),
    )
    record = ContainerRecord(id="c", sandbox_id="s", config=config, boot_id="b", created_at=0, cgroup="/g")
    label = "system_u:object_r:container_file_t:s0"
    folder = places.sandbox("s")
    for of_pod, shared in ((None, f"{label}:c7"), (SELinuxOptions(level="s0:c1"), f"{label}:c1")):
        host.calls.clear()
        shared_config = SandboxConfig(name="p", namespace="n", uid="u", selinux=of_pod)
        sandbox = SandboxRecord(id="s", config=shared_config, boot_id="b", created_at=0)
        containers.prepare(record, sandbox, {}, ["/l"], UNCONFINED)
        relabelled = {arguments[0]: arguments[1] for verb, arguments in host.calls if verb == "relabel"}
        assert relabelled == {f"{folder}/hostname": shared, f"{folder}/shm": shared, str(ours): f"{label}:c7"}
