"""Container Device Interface: which files count, and what their edits do to a container."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from carob.runtime.cri.containers import from_wire_config, to_wire_config
from carob.runtime.embedded.cdi import Unresolvable, edits_for, put_in
from carob.runtime.types import ContainerConfig, SandboxConfig


def write(folder: Path, name: str, devices: dict[str, Any], kind: str = "vendor.com/gpu", **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    tree = {
        "cdiVersion": "0.6.0",
        "kind": kind,
        "devices": [{"name": one, "containerEdits": edits} for one, edits in devices.items()],
    } | more
    (folder / name).write_text(json.dumps(tree))


def env(*lines: str) -> dict[str, Any]:
    return {"env": list(lines)}


def test_devices_are_found_by_their_names_and_what_holds_for_all_comes_once(tmp_path: Path) -> None:
    write(tmp_path / "a", "gpu.json", {"0": env("A=0"), "1": env("A=1")}, containerEdits=env("ALL=yes"))
    write(tmp_path / "a", "nic.yaml", {"x": env("N=x")}, kind="vendor.com/nic")
    folders = [str(tmp_path / "a"), str(tmp_path / "missing")]
    names = ["vendor.com/gpu=1", "vendor.com/nic=x", "vendor.com/gpu=0"]
    assert edits_for(names, folders) == [env("ALL=yes"), env("A=1"), {}, env("N=x"), env("A=0")]


def test_the_later_folder_wins_and_two_files_of_one_folder_contradict(tmp_path: Path) -> None:
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    write(tmp_path / "a", "gpu.json", {"0": env("A=old")})
    write(tmp_path / "b", "gpu.json", {"0": env("A=new")})
    assert edits_for(["vendor.com/gpu=0"], folders)[1] == env("A=new")
    write(tmp_path / "b", "again.json", {"0": env("A=third")})
    with pytest.raises(Unresolvable, match=r"unresolvable CDI devices vendor\.com/gpu=0"):
        edits_for(["vendor.com/gpu=0"], folders)


def test_a_broken_file_costs_only_its_own_devices(tmp_path: Path) -> None:
    write(tmp_path / "a", "gpu.json", {"0": env("A=0")})
    (tmp_path / "a" / "broken.json").write_text("{")
    (tmp_path / "a" / "list.yaml").write_text("- 1")
    (tmp_path / "a" / "notes.txt").write_text("no spec")
    assert edits_for(["vendor.com/gpu=0"], [str(tmp_path / "a")])[1] == env("A=0")
    with pytest.raises(
        Unresolvable, match=r"^CDI device injection failed: unresolvable CDI devices vendor\.com/gpu=7$"
    ):
        edits_for(["vendor.com/gpu=0", "vendor.com/gpu=7"], [str(tmp_path / "a")])


def spec() -> dict[str, Any]:
    return {
        "process": {"env": ["PATH=/bin", "A=image"], "user": {"uid": 1000, "gid": 1000, "additionalGids": [7]}},
        "mounts": [{"destination": "/data", "type": "bind", "source": "/old", "options": ["rbind"]}],
        "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]}},
    }


def test_what_edits_do() -> None:
    found = spec()
    put_in(
        found,
        [
            env("A=vendor", "B=1"),
            {
                "deviceNodes": [
                    {"path": "/dev/card", "hostPath": "/dev/null", "permissions": "rw"},
                    {"path": "/dev/own", "type": "c", "major": 9, "minor": 4, "uid": 0, "gid": 5, "fileMode": 432},
                ],
                "mounts": [
                    {"hostPath": "/lib/vendor", "containerPath": "/data", "options": ["ro", "nosuid"]},
                    {"hostPath": "tmpfs", "containerPath": "/scratch", "type": "tmpfs"},
                ],
                "hooks": [{"hookName": "createContainer", "path": "/usr/bin/vendor", "args": ["vendor", "setup"]}],
                "additionalGids": [7, 44, 0],
            },
        ],
    )
    assert found["process"]["env"] == ["PATH=/bin", "A=vendor", "B=1"]
    assert found["process"]["user"]["additionalGids"] == [7, 44]
    null = {"path": "/dev/card", "type": "c", "major": 1, "minor": 3, "uid": 1000, "gid": 1000}
    own = {"path": "/dev/own", "type": "c", "major": 9, "minor": 4, "fileMode": 432, "uid": 0, "gid": 5}
    assert found["linux"]["devices"] == [null, own]
    assert found["linux"]["resources"]["devices"][1:] == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 9, "minor": 4, "access": "rwm"},
    ]
    assert found["mounts"] == [
        {"destination": "/data", "type": "bind", "source": "/lib/vendor", "options": ["bind", "ro", "nosuid"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": []},
    ]
    assert found["hooks"] == {"createContainer": [{"path": "/usr/bin/vendor", "args": ["vendor", "setup"]}]}


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(OSError, match="is not a device node"):
        put_in(spec(), [{"deviceNodes": [{"path": "/etc/passwd"}]}])
    with pytest.raises(FileNotFoundError):
        put_in(spec(), [{"deviceNodes": [{"path": "/dev/no-such-device"}]}])


def test_names_of_devices_pass_the_cri_both_ways() -> None:
    config = ContainerConfig(name="main", image="web", cdi_devices=["vendor.com/gpu=0", "vendor.com/gpu=1"])
    sandbox = SandboxConfig(name="pod", namespace="default", uid="u")
    assert from_wire_config(to_wire_config(config, sandbox, ([], []))).cdi_devices == config.cdi_devices
