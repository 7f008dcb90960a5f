"""What a file says becomes a Pod, the same one for the same words; its mirror shows it and belongs to the node."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from carob.api.types import core_v1, meta_v1
from carob.base.clock import VirtualClock
from carob.kubelet.static_pods import BadManifest, is_mirror, is_static, mirror_pod, shows, static_pod
from carob.kubelet.static_source import StaticSource

POD = b"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: a, image: web}]\n"
NOW = 1_800_000_000.0


def test_a_file_becomes_a_pod_of_this_node() -> None:
    pod = static_pod(POD, "/m/web.yaml", "node-0", NOW)
    assert (pod.metadata.name, pod.metadata.namespace, pod.spec.node_name) == ("web-node-0", "default", "node-0")
    assert is_static(pod)
    assert pod.spec.termination_grace_period_seconds == 30, "defaults are set"
    assert any(t.operator == "Exists" and t.effect == "NoExecute" for t in pod.spec.tolerations)
    again = static_pod(POD, "/m/web.yaml", "node-0", NOW + 5)
    assert again.metadata.uid == pod.metadata.uid, "the time does not make it another"
    changed = static_pod(POD.replace(b"image: web", b"image: new"), "/m/web.yaml", "node-0", NOW)
    assert changed.metadata.uid != pod.metadata.uid
    node = core_v1.Node(metadata=meta_v1.ObjectMeta(name="node-0", uid="u"))
    mirror = mirror_pod(pod, node)
    assert is_mirror(mirror)
    assert not is_static(mirror)
    assert shows(mirror, pod)
    assert not shows(mirror, changed)
    assert [(o.kind, o.uid, o.controller) for o in mirror.metadata.owner_references] == [("Node", "u", True)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not a v1 Pod"),
        (b"kind: Service\napiVersion: v1", "not a v1 Pod"),
        (b"{", "yaml"),
        (POD.replace(b"{name: web}", b"{}"), "Required value"),
        (POD.replace(b"name: a", b"name: A"), "lowercase"),
        (POD + b"  serviceAccountName: me\n", "static pods may not reference serviceaccounts"),
        (POD + b"  volumes: [{name: v, secret: {secretName: s}}]\n", "static pods may not reference secrets"),
        (
            POD + b"  volumes: [{name: v, persistentVolumeClaim: {claimName: s}}]\n",
            "static pods may not reference persistentvolumeclaims",
        ),
    ],
)
def test_what_is_no_static_pod(text: bytes, why: str) -> None:
    with pytest.raises(BadManifest, match=why):
        static_pod(text, "/m/web.yaml", "node-0", NOW)


def test_the_folder_is_read_again_when_it_changes(tmp_path: Path) -> None:
    async def body() -> None:
        told: list[str] = []
        more = asyncio.Event()

        def changed(old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
            told.append(f"-{old.metadata.name}" if old is not None else f"+{new.metadata.name if new else ''}")
            more.set()

        async def until(count: int) -> None:
            async with asyncio.timeout(30):
                while len(told) < count:
                    more.clear()
                    await more.wait()

        (tmp_path / "broken.yaml").write_bytes(b"{")
        (tmp_path / ".hidden").write_bytes(POD)
        (tmp_path / "a.yaml").write_bytes(POD)
        (tmp_path / "b.yaml").write_bytes(POD.replace(b"image: web", b"image: second"))
        source = StaticSource(str(tmp_path), "node-0", VirtualClock(NOW), changed)
        task = asyncio.get_running_loop().create_task(source.run())
        await until(1)
        (tmp_path / "c.yaml").write_bytes(POD.replace(b"name: web", b"name: more"))
        await until(2)
        (tmp_path / "a.yaml").unlink()
        await until(4)
        assert told == ["+web-node-0", "+more-node-0", "-web-node-0", "+web-node-0"], (
            "the second file of the name counts now"
        )
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(body())
