"""Priority: a Pod's number comes from its PriorityClass, never from the Pod itself.

Source: kubernetes `plugin/pkg/admission/priority`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.admission.refusals import PODS, refused, writes
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader

PRIORITY_CLASSES = row("scheduling.k8s.io", "v1", "priorityclasses")
_SYSTEM_CLASSES = frozenset(("system-node-critical", "system-cluster-critical"))
_DEFAULT_POLICY = "PreemptLowerPriority"


class PriorityAdmission:
    """See the module."""

    name = "Priority"
    handles = frozenset((("", "pods"), ("scheduling.k8s.io", "priorityclasses")))

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._classes: list[Any] | None = None
        self._defaults: list[Any] = []
        reader.on_change(PRIORITY_CLASSES, lambda namespace, name: self._forget())

    def _forget(self) -> None:
        self._classes = None

    def _all(self) -> list[Any]:
        if self._classes is None:
            self._classes = self._reader.list(PRIORITY_CLASSES)
            # of several defaults (possible by races alone) the lowest counts
            self._defaults = sorted((c for c in self._classes if c.global_default), key=lambda c: c.value)
        return self._classes

    def admit(self, attributes: Attributes) -> None:
        """Fill in a Pod's priority and its preemption policy; keep the system's own classes."""
        if attributes.resource.plural == PRIORITY_CLASSES.plural and attributes.operation is Operation.DELETE:
            if attributes.name in _SYSTEM_CLASSES:
                raise refused(attributes, "this is a system priority class and cannot be deleted")
            return
        if not writes(attributes, PODS):
            return
        spec = attributes.obj.spec
        if attributes.operation is Operation.UPDATE:
            old = attributes.old.spec if attributes.old is not None else spec
            if spec.priority is None:
                spec.priority = old.priority
            if not spec.preemption_policy:
                spec.preemption_policy = old.preemption_policy
            return
        priority, policy = 0, _DEFAULT_POLICY
        if spec.priority_class_name:
            found = next((c for c in self._all() if c.metadata.name == spec.priority_class_name), None)
            if found is None:
                raise refused(attributes, f"no PriorityClass with name {spec.priority_class_name} was found")
            priority, policy = found.value, found.preemption_policy or _DEFAULT_POLICY
        else:
            self._all()
            defaults = self._defaults
            if defaults:
                spec.priority_class_name = defaults[0].metadata.name
                priority, policy = defaults[0].value, defaults[0].preemption_policy or _DEFAULT_POLICY
        if spec.priority is not None and spec.priority != priority:
            why = (
                f"the integer value of priority ({spec.priority}) must not be provided in pod spec; "
                f"priority admission controller computed {priority} from the given PriorityClass name"
            )
            raise refused(attributes, why)
        if spec.preemption_policy and spec.preemption_policy != policy:
            why = (
                f"the string value of PreemptionPolicy ({spec.preemption_policy}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise refused(attributes, why)
        spec.priority, spec.preemption_policy = priority, policy

    def validate(self, attributes: Attributes) -> None:
        """Only one class may be the default."""
        if not writes(attributes, PRIORITY_CLASSES) or not attributes.obj.global_default:
            return
        for one in self._all():
            if one.global_default and one.metadata.name != attributes.name:
                why = f"PriorityClass {one.metadata.name} is already marked as default. Only one default can exist"
                raise refused(attributes, why)
