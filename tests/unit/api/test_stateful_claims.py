"""The containers of a StatefulSet may mount what its claim templates give each Pod."""

from __future__ import annotations

from typing import Any

from carob.api import codec
from carob.api.types import apps_v1
from carob.api.validation import apps
from carob.api.validation.field import Cause


def causes(*mounted: str) -> list[str]:
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in mounted]
    container: dict[str, Any] = {
        "name": "db",
        "image": "db",
        "imagePullPolicy": "Always",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
    }
    tree = {
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": spec},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        },
    }
    out: list[Cause] = []
    apps.stateful_set(out, codec.from_tree(apps_v1.StatefulSet, tree))
    return [f"{cause['field']}: {cause['message']}" for cause in out]


def test_a_claim_template_is_a_volume_of_every_pod() -> None:
    assert causes("data") == []
    assert causes("data", "nope") == ['spec.template.spec.containers[0].volumeMounts[1].name: Not found: "nope"']
