"""Claims as the kubelet sees them, and the folders that stand for them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from carob.api import codec
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.client.rest import Client
from carob.kubelet.failures import ClaimFailure, VolumeFailure
from carob.kubelet.volumes import persistent
from carob.kubelet.volumes.claimed import ClaimedVolumes
from carob.transport.http import Request, Response
from carob.transport.memory import MemoryTransport
from tests.unit.kubelet.pods import pod

CLAIM = "/api/v1/namespaces/default/persistentvolumeclaims/data"
VOLUME = "/api/v1/persistentvolumes/v"


def objects(**changes: Any) -> dict[str, Any]:
    """A bound claim and its volume, with changes by path such as `claim.status.phase`."""
    modes = changes.pop("modes", ["ReadWriteOnce"])
    claim: dict[str, Any] = {
        "metadata": {"name": "data", "namespace": "default", "uid": "uid-data"},
        "spec": {"volumeName": "v", "accessModes": modes},
        "status": {"phase": "Bound"},
    }
    volume: dict[str, Any] = {
        "metadata": {"name": "v"},
        "spec": {"claimRef": {"name": "data", "namespace": "default", "uid": "uid-data"}, "local": {"path": "/x"}},
    }
    trees = {"claim": claim, "volume": volume}
    for path, value in changes.items():
        *parents, last = path.split("__")
        tree: Any = trees
        for parent in parents:
            tree = tree.setdefault(parent, {})
        tree[last] = value
    return {CLAIM: claim, VOLUME: volume}


def read(trees: dict[str, Any], *pods: core_v1.Pod) -> Any:
    """What the last Pod gets, or the words of its failure; and how often the API was asked."""
    asked: list[str] = []

    def handle(request: Request) -> Response:
        asked.append(request.path)
        tree = trees.get(request.path)
        name = request.path.rpartition("/")[2]
        failure = {"kind": "Status", "message": f'persistentvolumeclaims "{name}" not found', "reason": "NotFound"}
        return Response(404, orjson.dumps(failure)) if tree is None else Response(200, orjson.dumps(tree))

    async def main() -> Any:
        claimed = ClaimedVolumes(Client(MemoryTransport(handle, UserInfo("node"))), "node-0", lambda: {"zone": "a"})
        out: Any = None
        for one in pods:
            try:
                out = dict(await claimed.read_all(one, one.spec.volumes))
                assert dict(await claimed.read_all(one, one.spec.volumes)) == out
            except VolumeFailure as failure:
                out = failure.message
        return out, len(asked)

    return asyncio.run(main())


def user(uid: str = "u-1", **container: Any) -> core_v1.Pod:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    return pod(metadata={"uid": uid}, containers=[{"name": "c", "image": "i"} | container], volumes=volumes)


def test_a_bound_claim_is_asked_for_once() -> None:
    found, asked = read(objects(), user())
    assert found["d"].spec.local.path == "/x"
    assert asked == 2


ELSEWHERE = {
    "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"claim__status__phase": "Pending"}, "error processing PVC default/data: PVC is not bound"),
        ({"claim__metadata__deletionTimestamp": "2026-01-01T00:00:00Z"}, "PVC is being deleted"),
        ({"volume__spec__claimRef": None}, "found PV object v but it has a nil pv.Spec.ClaimRef"),
        ({"volume__spec__claimRef": {"uid": "x"}}, "does not point to claim.UID uid-data"),
        ({"volume__spec__nodeAffinity": ELSEWHERE}, 'NodeAffinity check failed for volume "v"'),
        ({"claim__spec__volumeMode": "Block"}, "has volumeMode Block, but is specified in volumeMounts"),
    ],
)
def test_why_a_claim_cannot_be_used(changes: dict[str, Any], words: str) -> None:
    given = user(volumeMounts=[{"name": "d", "mountPath": "/d"}])
    assert words in read(objects(**changes), given)[0]


def test_a_claim_that_is_not_there_or_is_somebody_elses() -> None:
    words = 'failed to fetch PVC from API server: persistentvolumeclaims "data" not found'
    assert words in read({}, user())[0]
    scratch = pod(metadata={"name": "data"}, volumes=[{"name": "x", "ephemeral": {}}])
    trees = objects()
    trees[f"{CLAIM}-x"] = trees.pop(CLAIM)
    assert "(pod is not owner)" in read(trees, scratch)[0]


def test_what_is_said_of_a_claim_that_is_not_there_and_of_a_mount_that_failed() -> None:
    why = 'error processing PVC default/data: failed to fetch PVC from API server: persistentvolumeclaims "data" not found'
    assert ClaimFailure("d", why).event == (
        "Unable to attach or mount volumes: unmounted volumes=[d], unattached volumes=[], "
        f"failed to process volumes=[d]: {why}"
    )
    assert VolumeFailure("d", "no").event == 'MountVolume.SetUp failed for volume "d" : no'


def test_one_pod_at_a_time() -> None:
    found, _ = read(objects(modes=["ReadWriteOncePod"]), user(), user("u-2"))
    assert found == "volume uses the ReadWriteOncePod access mode and is already in use by another pod"


def volume(**spec: Any) -> core_v1.PersistentVolume:
    return codec.from_tree(core_v1.PersistentVolume, {"metadata": {"name": "v"}, "spec": spec})


def test_folders_that_are_made_and_removed(tmp_path: Path) -> None:
    root = str(tmp_path / "volumes")
    path = Path(persistent.make_folder(root, "pvc-1"))
    assert path.stat().st_mode & 0o7777 == 0o777
    (path / "file").write_text("x")
    assert persistent.make_folder(root, "pvc-1") == str(path)
    assert (path / "file").exists(), "what is there stays"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    os.symlink(outside, path / "link")
    persistent.remove_folder(root, "pvc-1")
    persistent.remove_folder(root, "pvc-1")
    assert not path.exists()
    assert (outside / "kept").exists()
    for name in ("", "..", ".", "a/b", ".hidden", "x" * 300, "a\0b"):
        with pytest.raises(ValueError, match="invalid volume name"):
            persistent.remove_folder(root, name)


def test_local_volumes_are_what_they_say(tmp_path: Path) -> None:
    ready = persistent.set_up("d", volume(local={"path": str(tmp_path)}), None, readonly=True)
    assert (ready.path, ready.readonly, ready.is_device) == (str(tmp_path), True, False)
    for spec, words in (
        ({"local": {"path": str(tmp_path / "nope")}}, "does not exist"),
        ({"local": {"path": "/dev/null"}}, "only folders can be mounted here"),
        ({"local": {"path": "/dev/null"}, "volumeMode": "Block"}, "is not a block device"),
        ({"nfs": {"server": "a", "path": "/"}}, "no volume plugin matched"),
    ):
        with pytest.raises(ValueError, match=words):
            persistent.set_up("d", volume(**spec), None, readonly=False)
