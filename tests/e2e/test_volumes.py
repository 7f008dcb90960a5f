"""Claims from YAML to files on the node and back to nothing, as users of the default StorageClass see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from clusters import Cluster
from test_node import manifest, run

pytestmark = [pytest.mark.root, pytest.mark.slow]


def claim(name: str, size: str = "1Gi", **spec: Any) -> str:
    tree = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}} | spec,
    }
    return orjson.dumps(tree).decode()


def get(cluster: Cluster, *what: str) -> dict[str, Any]:
    return dict(json.loads(cluster.carob("get", *what, "-o", "json").check().out))


def test_a_claim_keeps_files_from_pod_to_pod_and_takes_them_with_it(cluster: Cluster) -> None:
    cluster.carob("apply", "-f", "-", stdin=claim("data")).check()
    assert get(cluster, "pvc", "data")["spec"]["storageClassName"] == "local-path"
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {
            "name": "scratch",
            "ephemeral": {"volumeClaimTemplate": {"spec": json.loads(claim(""))["spec"]}},
        },
    ]
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/scratch", "subPath": "a/b"}]
    user = {"runAsUser": 1234, "fsGroup": 5678, "fsGroupChangePolicy": "OnRootMismatch"}
    shell = run(cluster, "writer", {"volumeMounts": mounts}, volumes=volumes, securityContext=user)
    shell("echo kept > /data/file; echo lost > /scratch/file")
    assert shell("stat -c %g /data/file") == "5678"
    found = get(cluster, "pvc", "data")
    assert found["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
    }
    volume = get(cluster, "pv", found["spec"]["volumeName"])
    folder = Path(volume["spec"]["local"]["path"])
    assert (folder / "file").read_text() == "kept\n"
    scratch = Path(
        get(cluster, "pv", get(cluster, "pvc", "writer-scratch")["spec"]["volumeName"])["spec"]["local"]["path"]
    )
    assert (scratch / "a/b/file").read_text() == "lost\n"
    # it grows, and stays while it is used
    cluster.carob("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}').check()
    cluster.wait_for(".status.capacity.storage", "2Gi", "pvc/data")
    cluster.carob("delete", "pvc", "data", "--wait=false").check()
    assert get(cluster, "pvc", "data")["metadata"]["deletionTimestamp"]
    # one that is ending lets no new Pod in
    blocked = orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "late"},
            "spec": {"containers": [{"name": "a", "image": "x"}], "volumes": volumes[:1]},
        }
    ).decode()
    cluster.carob("apply", "-f", "-", stdin=blocked).check()
    cluster.wait_for('.status.conditions[?(@.type=="PodScheduled")].status', "False", "pod/late")
    message = get(cluster, "pod", "late")["status"]["conditions"][0]["message"]
    assert 'persistentvolumeclaim "data" is being deleted' in message
    cluster.carob("delete", "pod", "writer", "late").check()
    cluster.carob(
        "wait", "--for=delete", "pvc/data", f"pv/{folder.name}", f"pv/{scratch.name}", "--timeout=60s"
    ).check()
    assert not folder.exists()
    assert not scratch.exists()


def test_a_volume_of_an_admin_outlives_its_claim(cluster: Cluster, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    node = get(cluster, "nodes")["items"][0]["metadata"]["name"]
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "disk-0", "labels": {"disk": "mine"}},
        "spec": {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOncePod"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "by-hand",
            "local": {"path": str(disk)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }
    class_ = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "by-hand"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    mine = claim("mine", "3Gi", accessModes=["ReadWriteOncePod"], storageClassName="by-hand")
    for one in (orjson.dumps(volume).decode(), orjson.dumps(class_).decode(), mine):
        cluster.carob("apply", "-f", "-", stdin=one).check()
    pod = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}]}
    shell = run(cluster, "first", {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, **pod)
    shell("echo kept > /v/file")
    # the second Pod waits for the first, and starts when that has gone
    waiting = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "second"},
            "spec": json.loads(cluster.carob("get", "pod", "first", "-o", "json").check().out)["spec"]
            | {"nodeName": None, "terminationGracePeriodSeconds": 1},
        }
    )
    cluster.carob("apply", "-f", "-", stdin=waiting).check()
    cluster.wait_for('.status.conditions[?(@.type=="PodScheduled")].status', "False", "pod/second")
    message = get(cluster, "pod", "second")["status"]["conditions"][0]["message"]
    assert "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode" in message
    cluster.carob("delete", "pod", "first").check()
    cluster.wait_ready("second")
    cluster.carob("delete", "pod", "second").check()
    cluster.carob("delete", "pvc", "mine").check()
    cluster.wait_for(".status.phase", "Released", "pv/disk-0")
    assert (disk / "file").read_text() == "kept\n"
    cluster.carob("delete", "pv", "disk-0").check()
    cluster.carob("delete", "storageclass", "by-hand").check()


def test_an_image_as_a_volume_and_strict_groups(cluster: Cluster, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "models/small").mkdir(parents=True)
    (root / "models/small/weights").write_text("42\n")
    (root / "out").symlink_to("/")
    cluster.carob("image", "build", "-t", "carob.local/model:v1", root).check()
    mounts = [{"name": "m", "mountPath": "/m"}, {"name": "m", "mountPath": "/small", "subPath": "models/small"}]
    shell = run(
        cluster,
        "image-volume",
        {"volumeMounts": mounts},
        volumes=[{"name": "m", "image": {"reference": "carob.local/model:v1"}}],
        securityContext={"runAsUser": 12, "supplementalGroups": [77], "supplementalGroupsPolicy": "Strict"},
    )
    assert shell("cat /m/models/small/weights /small/weights") == "42\n42"
    assert shell("touch /m/x 2>&1 || true").endswith("Read-only file system")
    status = get(cluster, "pod", "image-volume")["status"]["containerStatuses"][0]
    assert status["user"]["linux"] == {"uid": 12, "gid": 0, "supplementalGroups": [0, 77]}
    refused = cluster.carob("image", "rm", "carob.local/model:v1")
    assert refused.code != 0, "an image that is mounted must stay"
    # a part that is not there, and a handler that nobody has, keep a Pod waiting and say why
    handler = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata"}
    cluster.carob("apply", "-f", "-", stdin=orjson.dumps(handler).decode()).check()
    cluster.carob("apply", "-f", "-", stdin=manifest("vm", runtimeClassName="kata")).check()
    cluster.carob(
        "apply",
        "-f",
        "-",
        stdin=manifest(
            "lost",
            {"volumeMounts": [mounts[1] | {"subPath": "nope"}]},
            volumes=[{"name": "m", "image": {"reference": "carob.local/model:v1"}}],
        ),
    ).check()
    cluster.wait_for(".status.containerStatuses[0].state.waiting.reason", "CreateContainerError", "pod/lost")
    cluster.wait_event("vm", 'failed to get sandbox runtime: no runtime for "kata" is configured')
    cluster.carob("delete", "pod", "image-volume", "vm", "lost").check()
    cluster.carob("delete", "runtimeclass", "kata").check()
