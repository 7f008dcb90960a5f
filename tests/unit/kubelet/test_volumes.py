"""Volumes on the node's disk: atomic content, host paths, ownership, parts of volumes."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.kubelet.failures import VolumeFailure
from carob.kubelet.volumes import atomic_writer, host_path, ownership, payloads, sub_paths
from carob.kubelet.volumes.atomic_writer import File
from carob.kubelet.volumes.contents import Contents
from carob.kubelet.volumes.setup import Places, VolumeSetup, huge_page_bytes, memory_volume_bytes
from tests.fakes.mounts import FakeMounts
from tests.unit.kubelet.pods import pod

NOW = 1_700_000_000.5


def text(data: str, mode: int = 0o644) -> File:
    return File(data.encode(), mode)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_content_is_seen_through_one_link(tmp_path: Path) -> None:
    assert atomic_writer.write(str(tmp_path), {"a": text("1"), "dir/b": text("2", 0o400)}, NOW)
    assert (tmp_path / "a").read_text() == "1"
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert os.readlink(tmp_path / "dir") == "..data/dir"
    assert (tmp_path / "dir/b").read_text() == "2"
    assert mode_of(tmp_path / "dir/b") == 0o400
    assert os.readlink(tmp_path / "..data") == "..2023_11_14T22_13_20.500000"


def test_an_update_replaces_everything_at_once(tmp_path: Path) -> None:
    atomic_writer.write(str(tmp_path), {"a": text("1"), "old": text("x")}, NOW)
    held = (tmp_path / "a").open()
    assert atomic_writer.write(str(tmp_path), {"a": text("2"), "new": text("y")}, NOW)
    assert (tmp_path / "a").read_text() == "2"
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a", "new"]
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..2")]) == 1
    # who has the old file open goes on reading it
    assert held.read() == "1"
    held.close()


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    files = {"a": text("1"), "b/c": text("2")}
    atomic_writer.write(str(tmp_path), files, NOW)
    before = os.readlink(tmp_path / "..data")
    assert not atomic_writer.write(str(tmp_path), files, NOW + 1)
    assert os.readlink(tmp_path / "..data") == before
    assert atomic_writer.write(str(tmp_path), files | {"a": text("1", 0o600)}, NOW + 2)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..data", ""])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic_writer.write(str(tmp_path), {path: text("1")}, NOW)


def items(*pairs: tuple[str, str]) -> list[core_v1.KeyToPath]:
    return [core_v1.KeyToPath(key=key, path=path) for key, path in pairs]


def test_config_maps_and_secrets_become_files() -> None:
    config = core_v1.ConfigMap(data={"a": "1"}, binary_data={"b": base64.b64encode(b"\0\xff").decode()})
    files = payloads.config_map_files("m", config, [], None, 0o644)
    assert files == {"a": text("1"), "b": File(b"\0\xff", 0o644)}
    chosen = payloads.config_map_files("m", config, items(("a", "x/./y")), None, 0o600)
    assert chosen == {"x/y": text("1", 0o600)}
    secret = core_v1.Secret(data={"k": base64.b64encode(b"v").decode()})
    assert payloads.secret_files("s", secret, [], None, 0o400) == {"k": text("v", 0o400)}


def test_what_is_missing_is_told_unless_optional() -> None:
    with pytest.raises(payloads.Missing, match='configmap "m" not found'):
        payloads.config_map_files("m", None, [], None, 0o644)
    with pytest.raises(payloads.Missing, match="configmap references non-existent config key: z"):
        payloads.config_map_files("m", core_v1.ConfigMap(), items(("z", "z")), None, 0o644)
    with pytest.raises(payloads.Missing, match="references non-existent secret key: z"):
        payloads.secret_files("s", core_v1.Secret(), items(("z", "z")), None, 0o644)
    assert payloads.config_map_files("m", None, [], True, 0o644) == {}
    assert payloads.secret_files("s", core_v1.Secret(), items(("z", "z")), True, 0o644) == {}


@pytest.mark.parametrize(
    ("users", "owner", "mode"), [([], None, 0o644), ([1000], 1000, 0o600), ([1000, 1001], None, 0o644)]
)
def test_a_token_belongs_to_the_one_user_who_reads_it(users: list[int], owner: int | None, mode: int) -> None:
    made = [{"name": f"c{u}", "image": "i", "securityContext": {"runAsUser": u}} for u in users]
    given = pod(containers=made or [{"name": "c", "image": "i"}])
    (file,) = payloads.own_file(given, "token", "secret", 0o644, None).values()
    assert (file.owner, file.mode) == (owner, mode)


def test_a_host_path_is_what_its_type_says(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert host_path.prepare(str(tmp_path), "Directory")
    assert not host_path.prepare(str(file), "File")
    assert host_path.prepare(str(tmp_path / "new/dir"), "DirectoryOrCreate")
    assert not host_path.prepare(str(tmp_path / "made"), "FileOrCreate")
    assert mode_of(tmp_path / "made") & 0o600 == 0o600
    assert host_path.prepare(str(tmp_path / "any"), "")
    for path, kind, why in (
        (file, "Directory", "is not a directory"),
        (tmp_path, "File", "is not a file"),
        (tmp_path / "none", "File", "is not a file"),
        (file, "Socket", "is not a socket"),
        (Path("/dev/null"), "BlockDevice", "is not a block device"),
    ):
        with pytest.raises(host_path.Mismatch, match=f"hostPath type check failed: {path} {why}"):
            host_path.prepare(str(path), kind)
    assert not host_path.prepare("/dev/null", "CharDevice")


def test_a_group_gets_a_volume(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir(mode=0o700)
    (tmp_path / "dir/file").write_text("x")
    os.chmod(tmp_path / "dir/file", 0o600)
    os.symlink("/etc/passwd", tmp_path / "link")
    group = os.getgid()
    ownership.give_to_group(str(tmp_path), group)
    assert mode_of(tmp_path / "dir/file") == 0o660
    assert mode_of(tmp_path / "dir") & 0o2070 == 0o2070
    before = os.stat("/etc/passwd").st_mode
    assert before == os.stat("/etc/passwd").st_mode
    # the root has the right bits: nothing below is looked at again
    os.chmod(tmp_path / "dir/file", 0o600)
    ownership.give_to_group(str(tmp_path), group, on_root_mismatch=True)
    assert mode_of(tmp_path / "dir/file") == 0o600


def test_a_part_of_a_volume_is_made_and_bound(tmp_path: Path) -> None:
    volume, target = tmp_path / "volume", tmp_path / "pod/volume-subpaths/v/c/0"
    volume.mkdir()
    mounts = FakeMounts()
    assert sub_paths.bind(str(volume), "a/b", str(target), mounts) == str(target)
    assert (volume / "a/b").is_dir()
    assert target.is_dir()
    assert sub_paths.mounted(str(tmp_path / "pod")) == [str(target)]
    (volume / "file").write_text("x")
    sub_paths.bind(str(volume), "file", str(tmp_path / "pod/volume-subpaths/v/c/1"), mounts)
    assert (tmp_path / "pod/volume-subpaths/v/c/1").is_file()
    assert len(mounts.points) == 2


def test_a_link_does_not_lead_a_part_out_of_its_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    os.symlink("/etc", volume / "out")
    os.symlink("inner", volume / "in")
    (volume / "inner").mkdir()
    with pytest.raises(ValueError, match="not within volume path"):
        sub_paths.bind(str(volume), "out/passwd", str(tmp_path / "t"), FakeMounts())
    assert sub_paths.bind(str(volume), "in", str(tmp_path / "t"), FakeMounts())


class Node:
    """A node's volumes below one folder."""

    def __init__(self, folder: Path) -> None:
        self.mounts = FakeMounts()
        self.setup = VolumeSetup(Places(str(folder)), self.mounts, lambda: 1 << 30)
        self.setup.open()

    def set_up(self, contents: dict[str, Contents] | None = None, **volume: Any) -> str:
        made = codec.from_tree(core_v1.Volume, {"name": "v"} | volume)
        return self.setup.set_up(pod(), [made], contents or {}, {}, NOW)["v"].path


def test_an_empty_dir_is_everybodys_and_stays(tmp_path: Path) -> None:
    node = Node(tmp_path)
    path = Path(node.set_up(emptyDir={}))
    assert mode_of(path) == 0o777
    (path / "kept").write_text("x")
    assert node.set_up(emptyDir={}) == str(path)
    assert (path / "kept").exists()


def test_an_empty_dir_in_memory_is_mounted_once_with_its_limit(tmp_path: Path) -> None:
    node = Node(tmp_path)
    path = node.set_up(emptyDir={"medium": "Memory", "sizeLimit": "8Mi"})
    assert node.mounts.points[path] == f"tmpfs size={8 << 20} mode=777"
    node.set_up(emptyDir={"medium": "Memory"})
    assert "size=8388608" in node.mounts.points[path]
    node.setup.tear_down("u-1")
    assert path not in node.mounts.points


def asking(*sizes: str) -> core_v1.Pod:
    requests = {f"hugepages-{size}": "4Mi" for size in sizes}
    return pod(containers=[{"name": "c", "image": "i", "resources": {"requests": requests}}])


@pytest.mark.parametrize(
    ("medium", "sizes", "expected"),
    [
        ("HugePages", ("2Mi",), 2 << 20),
        ("HugePages-1Gi", ("2Mi", "1Gi"), 1 << 30),
        ("HugePages-2048Ki", ("2Mi",), 2 << 20),
    ],
)
def test_the_page_size_of_a_volume_of_huge_pages(medium: str, sizes: tuple[str, ...], expected: int) -> None:
    assert huge_page_bytes(asking(*sizes), medium) == expected


@pytest.mark.parametrize(
    ("medium", "sizes", "words"),
    [
        ("HugePages", (), "no resource request for huge pages"),
        ("HugePages-1Gi", ("2Mi",), "no resource request for huge pages"),
        ("HugePages", ("2Mi", "1Gi"), "multiple huge page sizes"),
    ],
)
def test_volumes_of_huge_pages_that_cannot_be(medium: str, sizes: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        huge_page_bytes(asking(*sizes), medium)


def test_a_volume_of_huge_pages_is_mounted_and_goes(tmp_path: Path) -> None:
    mounts = FakeMounts()
    setup = VolumeSetup(Places(str(tmp_path)), mounts, lambda: 1 << 30)
    setup.open()
    volume = core_v1.Volume(name="v", empty_dir=core_v1.EmptyDirVolumeSource(medium="HugePages"))
    prepared = setup.set_up(asking("2Mi"), [volume], {}, {}, NOW)
    assert mounts.points[prepared["v"].path] == f"hugetlbfs page={2 << 20} mode=777"
    setup.tear_down("u-1")
    assert prepared["v"].path not in mounts.points


def test_content_from_the_api_lies_in_memory(tmp_path: Path) -> None:
    node = Node(tmp_path)
    path = node.set_up({"v": Contents({"k": text("s")})}, secret={"secretName": "s"})
    assert path == f"{tmp_path}/memory/u-1/volumes/v"
    assert node.mounts.points[f"{tmp_path}/memory"].startswith("tmpfs")
    assert node.setup.pods_on_disk() == {"u-1"}
    node.setup.remove("u-1")
    assert node.setup.pods_on_disk() == set()


def test_a_volume_that_cannot_be_set_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeFailure) as caught:
        Node(tmp_path).set_up(hostPath={"path": "/dev/null", "type": "Directory"})
    assert caught.value.volume == "v"
    assert caught.value.message == "hostPath type check failed: /dev/null is not a directory"
    with pytest.raises(VolumeFailure, match="no volume plugin matched"):
        Node(tmp_path).set_up(nfs={"server": "s", "path": "/"})


def test_tearing_down_what_is_not_there(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.setup.tear_down("u-1")
    node.setup.remove("u-1")


def test_a_volume_in_memory_is_no_larger_than_what_its_pod_may_use() -> None:
    """Source: `calculateEmptyDirMemorySize`."""
    free = pod()
    assert memory_volume_bytes(free, None, 1 << 30) == 1 << 30
    assert memory_volume_bytes(free, "10Mi", 1 << 30) == 10 << 20
    assert memory_volume_bytes(free, "2Gi", 1 << 30) == 1 << 30
    limits = {"limits": {"memory": "64Mi"}}
    bounded = pod(containers=[{"name": name, "image": "i", "resources": limits} for name in "ab"])
    assert memory_volume_bytes(bounded, None, 1 << 30) == 128 << 20
    half = pod(containers=[{"name": "a", "image": "i", "resources": limits}, {"name": "b", "image": "i"}])
    assert memory_volume_bytes(half, None, 1 << 30) == 1 << 30
