"""POST of a Binding: the scheduler's word, said once.

Source: upstream `pkg/registry/core/pod/storage/storage.go` (`BindingREST`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from carob.api.resources import Resource
from carob.api.status import ApiError, bad_request, conflict, not_found
from carob.api.types import core_v1
from carob.apiserver import bodies
from carob.apiserver.handlers import writes
from carob.apiserver.handlers.get import warning_headers
from carob.apiserver.types import Operation
from carob.base.clock import rfc3339
from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.handlers.backend import Backend
    from carob.apiserver.types import RequestInfo
    from carob.transport.http import Request

_PODS_BINDING = Resource("", "v1", "Pod", "pods/binding")

CREATED = orjson.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}) + b"\n"


async def bind(backend: Backend, info: RequestInfo, request: Request, user: UserInfo) -> Response:
    """Give a Pod to a node. Raises: ApiError 400, 404, 409."""
    row = info.resource
    assert row is not None
    dry_run = writes.check_options(info, "CreateOptions")
    binding, warnings = bodies.decode_as(core_v1.Binding, "", info, request)
    _check(binding, info)
    context = writes.context_of(backend, row, info.namespace, user, dry_run, "binding")
    context.warnings += warnings
    attributes = writes.attributes_of(Operation.CREATE, info, user, context, binding)
    backend.admission.admit(attributes)
    backend.admission.validate(attributes)
    objects = backend.objects
    while True:
        entry = objects.cache(row).get(info.namespace, info.name)
        if entry is None:
            raise not_found(row, info.name)
        pod = objects.fresh(row, entry)
        _bound(pod, binding, rfc3339(backend.clock.now()))
        if dry_run:
            break
        try:
            await objects.update(row, entry, objects.value_of(row, pod))
        except ApiError as error:
            if error.reason != "Conflict" or objects.cache(row).get(info.namespace, info.name) is entry:
                raise
            continue
        break
    return Response(201, CREATED, headers=warning_headers(context.warnings))


def _check(binding: core_v1.Binding, info: RequestInfo) -> None:
    # upstream answers 500 to the first two; a client's mistake is a 400
    if binding.target.kind not in ("", "Node"):
        raise bad_request(
            f'target.kind: Unsupported value: "{binding.target.kind}": supported values: "Node", "<empty>"'
        )
    if not binding.target.name:
        raise bad_request("target.name: Required value")
    if binding.metadata.name and binding.metadata.name != info.name:
        raise bad_request("name in URL does not match name in Binding object")
    if binding.metadata.namespace and binding.metadata.namespace != info.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _bound(pod: core_v1.Pod, binding: core_v1.Binding, now: str) -> None:
    """Write the node into a Pod that may be bound. Raises: ApiError 409."""
    metadata, name = pod.metadata, pod.metadata.name
    if binding.metadata.uid and binding.metadata.uid != metadata.uid:
        raise conflict(
            _PODS_BINDING, name, f"Precondition failed: UID in precondition: {binding.metadata.uid}, "
            f"UID in object meta: {metadata.uid}"
        )  # fmt: skip
    version = binding.metadata.resource_version
    if version and version != metadata.resource_version:
        raise conflict(
            _PODS_BINDING, name, f"Precondition failed: ResourceVersion in precondition: {version}, "
            f"ResourceVersion in object meta: {metadata.resource_version}"
        )  # fmt: skip
    if metadata.deletion_timestamp is not None:
        raise conflict(_PODS_BINDING, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.node_name:
        raise conflict(_PODS_BINDING, name, f'pod {name} is already assigned to node "{pod.spec.node_name}"')
    if pod.spec.scheduling_gates:
        raise conflict(_PODS_BINDING, name, f"pod {name} has non-empty .spec.schedulingGates")
    pod.spec.node_name = binding.target.name
    # the promise is kept. Source: ClearingNominatedNodeNameAfterBinding
    pod.status.nominated_node_name = ""
    metadata.annotations.update(binding.metadata.annotations)
    metadata.labels.update(binding.metadata.labels)
    scheduled = core_v1.PodCondition(type="PodScheduled", status="True", last_transition_time=now)
    conditions = pod.status.conditions
    for position, condition in enumerate(conditions):
        if condition.type == "PodScheduled":
            if condition.status == "True":
                scheduled.last_transition_time = condition.last_transition_time
            conditions[position] = scheduled
            return
    conditions.append(scheduled)
