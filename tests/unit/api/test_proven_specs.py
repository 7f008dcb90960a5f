"""The memo of good specs never changes a verdict."""

from __future__ import annotations

from carob.api import codec
from carob.api.defaulting import default
from carob.api.resources import resource_of
from carob.api.types import core_v1
from carob.api.validation import proven, validate_create


def pod(token: str, mount: str, **container: object) -> core_v1.Pod:
    tree = {
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {
            "serviceAccountName": "default",
            "containers": [
                {"name": "c", "image": "i", "volumeMounts": [{"name": mount, "mountPath": "/t"}], **container}
            ],
            "volumes": [{"name": token, "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        },
    }
    made = codec.from_tree(core_v1.Pod, tree)
    default(made)
    return made


def causes(made: core_v1.Pod) -> list[str]:
    return [c["field"] for c in validate_create(resource_of(core_v1.Pod), made)]


def test_pods_of_one_template_share_a_key() -> None:
    first = pod("kube-api-access-aaaaa", "kube-api-access-aaaaa")
    second = pod("kube-api-access-bbbbb", "kube-api-access-bbbbb")
    assert proven.key_of(first.spec) == proven.key_of(second.spec)
    assert causes(first) == causes(second) == []


def test_a_mount_of_another_volume_is_still_refused() -> None:
    assert causes(pod("kube-api-access-ccccc", "kube-api-access-ccccc")) == []
    assert causes(pod("kube-api-access-ccccc", "kube-api-access-ddddd")) == ["spec.containers[0].volumeMounts[0].name"]
    assert causes(pod("kube-api-access-ccccc", "")) != []


def test_bad_specs_are_judged_every_time() -> None:
    bad = pod("kube-api-access-eeeee", "kube-api-access-eeeee", imagePullPolicy="Sometimes")
    assert causes(bad) == causes(bad) == ["spec.containers[0].imagePullPolicy"]


def test_the_name_of_the_pod_is_judged_every_time() -> None:
    made = pod("kube-api-access-fffff", "kube-api-access-fffff")
    assert causes(made) == []
    made.metadata.name = "Not_A_Name"
    assert causes(made) == ["metadata.name"]


def test_ephemeral_claims_depend_on_the_pods_name() -> None:
    made = pod("kube-api-access-ggggg", "kube-api-access-ggggg")
    made.spec.volumes.append(core_v1.Volume(name="e", ephemeral=core_v1.EphemeralVolumeSource()))
    assert proven.key_of(made.spec) is None
