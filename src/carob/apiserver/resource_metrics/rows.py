"""The two rows that `metrics.k8s.io` adds to the server's resource table. Pure."""

from __future__ import annotations

from carob.api.resources import Resource

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
_READ = ("get", "list")

# trees, as custom resources are: nobody writes them, so nobody needs a Struct
NODES = Resource(GROUP, VERSION, "NodeMetrics", "nodes", namespaced=False, verbs=_READ, stored=False, custom=True)
PODS = Resource(GROUP, VERSION, "PodMetrics", "pods", verbs=_READ, stored=False, custom=True)
ROWS = (NODES, PODS)
