"""DefaultTolerationSeconds and TaintNodesByCondition: what Pods and Nodes get about nodes that are not ready.

Source: kubernetes `plugin/pkg/admission/defaulttolerationseconds`, `nodetaint`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1
from carob.apiserver.admission.refusals import PODS, creates, writes
from carob.apiserver.authn.service_accounts import NODES

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes

DEFAULT_SECONDS = 300
NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds:
    """A Pod stays a while (five minutes) on a node that is not ready or not reachable, unless it says otherwise."""

    name = "DefaultTolerationSeconds"
    phases = ("admit",)
    handles = frozenset((("", "pods"),))

    def __init__(self, seconds: int = DEFAULT_SECONDS) -> None:
        # all Pods share these: they are encoded with each of them and nobody changes them
        self._added = [
            core_v1.Toleration(key=key, operator="Exists", effect="NoExecute", toleration_seconds=seconds)
            for key in (NOT_READY, _UNREACHABLE)
        ]

    def admit(self, attributes: Attributes) -> None:
        """Add the tolerations that are missing."""
        if not writes(attributes, PODS):
            return
        spec: core_v1.PodSpec = attributes.obj.spec
        added = self._added
        if spec.tolerations:
            given = [t.key for t in spec.tolerations if t.effect in ("NoExecute", "")]
            added = [] if "" in given else [t for t in self._added if t.key not in given]
        spec.tolerations = [*spec.tolerations, *added]

    def validate(self, attributes: Attributes) -> None:
        """Nothing."""


class TaintNodesByCondition:
    """A new Node takes no Pods until somebody has seen that it is ready."""

    name = "TaintNodesByCondition"
    phases = ("admit",)
    handles = frozenset((("", "nodes"),))

    def admit(self, attributes: Attributes) -> None:
        """Add the taint."""
        if not creates(attributes, NODES):
            return
        spec: core_v1.NodeSpec = attributes.obj.spec
        if not any(taint.key == NOT_READY and taint.effect == "NoSchedule" for taint in spec.taints):
            spec.taints = [*spec.taints, core_v1.Taint(key=NOT_READY, effect="NoSchedule")]

    def validate(self, attributes: Attributes) -> None:
        """Nothing."""
