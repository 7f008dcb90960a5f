"""Workloads: what upstream writes into Jobs and DaemonSets when they are made, and takes out of every template of Pods.

Source: upstream `pkg/registry/batch/job/strategy.go`, `pkg/registry/apps/daemonset/strategy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import meta_v1
from carob.apiserver.registry.pods import drop_gated
from carob.apiserver.registry.strategy import ORPHAN, Strategy

if TYPE_CHECKING:
    from carob.api.types import apps_v1, batch_v1, core_v1
    from carob.apiserver.registry.strategy import WriteContext

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

_JOB_PREFIX = "batch.kubernetes.io/"
_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
    "or set propagationPolicy=Orphan to suppress this warning"
)


def _template(obj: Any) -> core_v1.PodTemplateSpec | None:
    """The template of a workload's Pods; a ReplicationController may have none."""
    spec = getattr(obj, "spec", obj)
    job = getattr(spec, "job_template", None)
    found: core_v1.PodTemplateSpec | None = (job.spec if job is not None else spec).template
    return found


class TemplateStrategy(Strategy):
    """What holds a template of Pods: fields of it whose feature gate is closed fall away."""

    def prepare_create(self, obj: Any, context: WriteContext) -> None:
        """Before anything is counted or compared."""
        self._drop(obj, context)
        super().prepare_create(obj, context)

    def prepare_update(self, new: Any, old: Any, context: WriteContext) -> None:
        """Where the template is another: what was kept when its gate was open stays."""
        if _template(new) != _template(old):
            self._drop(new, context)
        super().prepare_update(new, old, context)

    @staticmethod
    def _drop(obj: Any, context: WriteContext) -> None:
        template = _template(obj)
        if template is not None:
            drop_gated(template.spec, context.gates)


class JobStrategy(TemplateStrategy):
    """A Job selects its Pods by its own uid unless it is told to do otherwise."""

    def prepare_create(self, obj: batch_v1.Job, context: WriteContext) -> None:
        """Labels of the template and the selector that goes with them."""
        super().prepare_create(obj, context)
        obj.metadata.generation = 1
        obj.status = type(obj.status)()
        if obj.spec.manual_selector:
            return
        template = obj.spec.template.metadata
        # upstream's default shares the template's map with the Job, so that the Job gets these labels, too
        shared = obj.metadata.labels == template.labels and bool(template.labels)
        uid, name = obj.metadata.uid, obj.metadata.name
        own = {"controller-uid": uid, "job-name": name}
        own |= {_JOB_PREFIX + key: value for key, value in own.items()}
        for key, value in own.items():
            template.labels.setdefault(key, value)
        if shared:
            obj.metadata.labels = dict(template.labels)
        if obj.spec.selector is None:
            obj.spec.selector = meta_v1.LabelSelector()
        obj.spec.selector.match_labels.setdefault(_JOB_PREFIX + "controller-uid", uid)

    def delete_warnings(self, options: meta_v1.DeleteOptions) -> list[str]:
        """Who deletes a Job without a policy keeps its Pods, which surprises many."""
        if options.propagation_policy is None and options.orphan_dependents is None and self.propagation == ORPHAN:
            return [_JOB_WARNING]
        return []


class DaemonSetStrategy(TemplateStrategy):
    """A DaemonSet counts changes of its template in an annotation, for the sake of old clients."""

    def prepare_create(self, obj: apps_v1.DaemonSet, context: WriteContext) -> None:
        """The first template."""
        super().prepare_create(obj, context)
        obj.metadata.annotations[TEMPLATE_GENERATION] = "1"

    def prepare_update(self, new: apps_v1.DaemonSet, old: apps_v1.DaemonSet, context: WriteContext) -> None:
        """The count belongs to the server."""
        super().prepare_update(new, old, context)
        count = old.metadata.annotations.get(TEMPLATE_GENERATION, "1")
        if new.spec.template != old.spec.template and count.isdigit():
            count = str(int(count) + 1)
        new.metadata.annotations[TEMPLATE_GENERATION] = count
