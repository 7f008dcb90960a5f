"""What is said about writes that are accepted."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE
from carob.apiserver.registry.warnings import WARNINGS


def warnings(api_version: str, kind: str, tree: dict[str, Any]) -> list[str]:
    row = TABLE.by_kind(api_version, kind)
    assert row is not None
    return WARNINGS[row.group, row.plural](codec.from_tree(row.struct, tree))


CONTAINER = {"name": "c", "image": "i"}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, []),
        ({"volumes": [{"name": "v", "cephfs": {"monitors": ["m"]}}]}, ["spec.volumes[0].cephfs: deprecated in v1.28"]),
        (
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            ["spec.nodeSelector[beta.kubernetes.io/os]: deprecated"],
        ),
        ({"imagePullSecrets": [{"name": ""}]}, ['spec.imagePullSecrets[0].name: invalid empty name ""']),
        (
            {"containers": [CONTAINER | {"resources": {"requests": {"memory": "100m"}}}]},
            ['spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid'],
        ),
        (
            {"containers": [CONTAINER | {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]},
            ['spec.containers[0].env[1]: hides previous definition of "A"'],
        ),
        ({"containers": [CONTAINER | {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]}]}, []),
    ],
)
def test_pods(spec: dict[str, Any], wanted: list[str]) -> None:
    found = warnings("v1", "Pod", {"metadata": {}, "spec": {"containers": [CONTAINER]} | spec})
    assert [text.startswith(start) for text, start in zip(found, wanted, strict=True)] == [True] * len(wanted)


def test_a_template_says_where_it_stands() -> None:
    spec = {"template": {"spec": {"containers": [CONTAINER], "topologySpreadConstraints": [{"maxSkew": 1}]}}}
    assert warnings("apps/v1", "Deployment", {"metadata": {}, "spec": spec}) == [
        "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"
    ]


def test_other_kinds() -> None:
    assert warnings("v1", "Service", {"metadata": {}, "spec": {"externalIPs": ["1.2.3.4"]}})
    assert warnings("v1", "PersistentVolume", {"metadata": {}, "spec": {"persistentVolumeReclaimPolicy": "Recycle"}})
    assert not warnings("v1", "PersistentVolume", {"metadata": {}, "spec": {"persistentVolumeReclaimPolicy": "Retain"}})
