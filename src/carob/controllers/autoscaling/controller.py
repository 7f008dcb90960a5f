"""Runs the autoscalers: every fifteen seconds each one is looked at, as long as there are any.

Source: kube-controller-manager `podautoscaler/horizontal.go`.
Differs: a new or changed autoscaler is looked at at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.types import autoscaling_v1, core_v1
from carob.api.types import autoscaling_v2 as v2
from carob.base.log import get_logger, pairs
from carob.client.informer import key_of
from carob.client.rest import error_of
from carob.client.workqueue import WorkQueue
from carob.controllers.autoscaling import reconcile as steps
from carob.controllers.autoscaling.limits import Memory
from carob.controllers.autoscaling.metrics import Situation
from carob.controllers.autoscaling.reader import MetricsReader
from carob.controllers.autoscaling.reconcile import needs_metrics, no_scale, no_selector, not_scaled, reconcile, scaled
from carob.controllers.objects import status_patch
from carob.controllers.workload_views import BY_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.base.clock import Clock
    from carob.client.events import EventRecorder
    from carob.client.informer import Informer
    from carob.client.rest import Client
    from carob.controllers.autoscaling.readings import Reading

_log = get_logger("controllers.autoscaling")
Autoscaler = v2.HorizontalPodAutoscaler

WORKERS = 5
PERIOD_SECONDS = 15.0
_JSON = {"content-type": "application/json"}


class AutoscalingController:
    """Keys are keys of autoscalers."""

    def __init__(
        self, client: Client, autoscalers: Informer[Autoscaler], recorder: EventRecorder, clock: Clock
    ) -> None:
        self._client = client
        self._autoscalers = autoscalers
        self._recorder = recorder
        self._clock = clock
        self._reader = MetricsReader(client)
        self._queue = WorkQueue(clock)
        self._memories: dict[str, tuple[str, Memory]] = {}
        self._selectors: dict[str, str] = {}
        """The selector of each autoscaler's target, to find those that share Pods."""

    async def run(self) -> None:
        """Until cancelled."""
        await self._autoscalers.wait_synced()
        self._autoscalers.subscribe(self._changed)
        await self._queue.work(self._sync, WORKERS, "autoscalers")

    def _changed(self, key: str, old: Autoscaler | None, new: Autoscaler | None) -> None:
        if new is None:
            self._memories.pop(key, None)
            self._selectors.pop(key, None)
        elif old is None or old.spec != new.spec:
            self._queue.add(key)

    async def _sync(self, key: str) -> None:
        hpa = self._autoscalers.get(key)
        if hpa is None or hpa.metadata.deletion_timestamp:
            return
        self._queue.add_after(key, PERIOD_SECONDS)
        uid, memory = self._memories.get(key, ("", Memory()))
        if uid != hpa.metadata.uid:
            memory = Memory()
        plan = await self._look(key, hpa, memory)
        self._memories[key] = (hpa.metadata.uid, plan.memory)
        for event in plan.events:
            self._recorder.event(hpa, *event)
        if plan.error:
            _log.info("%s", pairs(autoscaler=key, error=plan.error))
        await self._tell(hpa, plan)

    async def _look(self, key: str, hpa: Autoscaler, memory: Memory) -> steps.Plan:
        now, namespace = self._clock.now(), hpa.metadata.namespace
        try:
            path, scale = await self._scale(hpa)
        except (ApiError, LookupError) as error:
            why = error.message if isinstance(error, ApiError) else str(error.args[0])
            return no_scale(hpa, memory, why, now)
        current, text = scale.spec.replicas, scale.status.selector
        self._selectors[key] = text
        pods: Sequence[core_v1.Pod] = ()
        readings: list[Reading] = []
        if needs_metrics(hpa.spec, current):
            if not text:
                words = "the HPA target's scale is missing a selector"
                event = ("Warning", "SelectorRequired", "selector is required")
                return no_selector(hpa, memory, current, event, ("InvalidSelector", words), now)
            shared = self._sharing(key, namespace, text)
            if len(shared) > 1:
                words = f"pods by selector {text} are controlled by multiple HPAs: [{' '.join(shared)}]"
                event = ("Warning", "AmbiguousSelector", words)
                return no_selector(hpa, memory, current, event, ("AmbiguousSelector", words), now)
            pods = (await self._client.list(core_v1.Pod, namespace, label_selector=text)).items
            readings = list(
                await asyncio.gather(*(self._reader.read(metric, namespace, text) for metric in hpa.spec.metrics))
            )
        # metrics take a moment to come
        now = self._clock.now()
        situation = Situation(current, scale.status.replicas, pods, now)
        plan = reconcile(hpa, situation, readings, memory)
        if plan.size is not None:
            try:
                await self._resize(path, scale, plan.size)
                scaled(hpa, plan, current, now)
            except ApiError as error:
                not_scaled(plan, current, error.message, now)
        return plan

    async def _scale(self, hpa: Autoscaler) -> tuple[str, autoscaling_v1.Scale]:
        """Raises: ApiError, LookupError for a kind that nobody serves."""
        target = hpa.spec.scale_target_ref
        row = TABLE.by_kind(target.api_version or "v1", target.kind)
        if row is None or row.subresource("scale") is None:
            group = target.api_version.rpartition("/")[0]
            if row is None:
                raise LookupError(f'no matches for kind "{target.kind}" in group "{group}"')
            raise LookupError(f"{row.group_resource} have no scale subresource")
        path = row.path(hpa.metadata.namespace, target.name, "scale")
        answer = await self._client.raw("GET", path)
        if answer.status >= 300:
            raise error_of(answer)
        return path, codec.decode(autoscaling_v1.Scale, answer.body)

    async def _resize(self, path: str, scale: autoscaling_v1.Scale, size: int) -> None:
        scale.spec.replicas = size
        answer = await self._client.raw("PUT", path, body=codec.encode(scale), headers=_JSON)
        if answer.status >= 300:
            raise error_of(answer)

    def _sharing(self, key: str, namespace: str, text: str) -> list[str]:
        """Keys of the autoscalers whose targets select the same Pods, this one included.

        Differs: compared by their selectors' text and targets, not by the Pods that happen to exist.
        """
        mine = self._autoscalers.get(key)
        found = [key]
        for other in self._autoscalers.by_index(BY_NAMESPACE, namespace):
            name = key_of(other)
            if name != key and mine is not None and self._selectors.get(name) == text:
                found.append(name)
        return sorted(found)

    async def _tell(self, hpa: Autoscaler, plan: steps.Plan) -> None:
        patch = status_patch(hpa.status, plan.status, hpa.metadata.resource_version)
        if patch is None:
            return
        try:
            await self._client.patch(
                Autoscaler, hpa.metadata.name, hpa.metadata.namespace, patch=patch, subresource="status"
            )
        except ApiError as error:
            # the next look tells again
            if error.reason not in ("Conflict", "NotFound"):
                raise
