"""Short ways to write the objects that controllers look at."""

from __future__ import annotations

import itertools
from typing import Any

from carob.api import codec
from carob.base.clock import rfc3339
from carob.controllers.views import PodView, compact
from carob.controllers.workload_views import DeploymentView, JobView, ReplicaSetView, StatefulSetView

NOW = 1_700_000_000.0
_numbers = itertools.count()


def template(version: str = "v1") -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": version}]}}


def pod(name: str = "", *, ready: bool | float = False, phase: str = "Running", **more: Any) -> PodView:
    """A Pod; `ready` may be the time since when."""
    name = name or f"pod-{next(_numbers)}"
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "creationTimestamp": rfc3339(NOW - 100)}
    metadata |= more.pop("metadata", {})
    conditions = []
    if ready:
        since = ready if isinstance(ready, float) else NOW - 50
        conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": rfc3339(since)}]
    status = {"phase": phase, "conditions": conditions} | more.pop("status", {})
    spec = {"nodeName": "node-0"} | more.pop("spec", {})
    made = codec.from_tree(PodView, {"metadata": metadata, "spec": spec, "status": status} | more)
    compact(name, None, made)
    return made


def _view(kind: Any, name: str, spec: dict[str, Any], **more: Any) -> Any:
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "generation": 1,
        "creationTimestamp": rfc3339(NOW - 1000),
    } | more.pop("metadata", {})
    tree = {"metadata": metadata, "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template()} | spec}
    return codec.decode(kind, codec.encode(tree | more))


def replica_set(name: str = "web-1", replicas: int = 3, **more: Any) -> ReplicaSetView:
    spec = {"replicas": replicas} | more.pop("spec", {})
    made: ReplicaSetView = _view(ReplicaSetView, name, spec, **more)
    return made


def deployment(replicas: int = 3, **more: Any) -> DeploymentView:
    spec = {
        "replicas": replicas,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
    } | more.pop("spec", {})
    made: DeploymentView = _view(DeploymentView, "web", spec, **more)
    return made


def job(**more: Any) -> JobView:
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 6} | more.pop("spec", {})
    made: JobView = _view(JobView, "work", spec, **more)
    return made


def stateful_set(replicas: int = 3, **more: Any) -> StatefulSetView:
    spec = {"replicas": replicas, "updateStrategy": {"type": "RollingUpdate"}} | more.pop("spec", {})
    made: StatefulSetView = _view(StatefulSetView, "web", spec, **more)
    return made
