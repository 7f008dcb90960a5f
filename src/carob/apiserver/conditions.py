"""Conditions that the API server itself writes: whether a FlowSchema's priority level is there, and whether whoever
serves an APIService can be reached.

Level-triggered: woken by any change of what they tell of, it judges all of them anew and writes what differs. What the
judges say is pure.

Source: apiserver `util/flowcontrol/apf_controller.go` (`syncFlowSchemaStatus`), kube-aggregator
`controllers/status/remote/remote_available_controller.go` and `status/local`.
Differs: group versions that somebody else serves are not passed on yet, which their condition says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from carob.api.status import ApiError
from carob.api.types import apiregistration_v1, flowcontrol_v1
from carob.apiserver.authn.service_accounts import row
from carob.base.clock import rfc3339
from carob.base.log import get_logger
from carob.base.tasks import Signal

if TYPE_CHECKING:
    from carob.api.types import discovery_v1
    from carob.apiserver.engine import Engine
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock

_log = get_logger("apiserver.conditions")

FLOW_SCHEMAS = row("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
PRIORITY_LEVELS = row("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
API_SERVICES = row("apiregistration.k8s.io", "v1", "apiservices")
SERVICES = row("", "v1", "services")
SLICES = row("discovery.k8s.io", "v1", "endpointslices")

FLOW_MANAGER = "api-priority-and-fairness-config-consumer-v1"
DANGLING, AVAILABLE = "Dangling", "Available"
_SERVICE_OF_SLICE = "kubernetes.io/service-name"


class Said(NamedTuple):
    """A condition without its type and time."""

    status: str
    reason: str
    message: str


def dangling(schema: flowcontrol_v1.FlowSchema, reader: Reader) -> Said:
    """Whether the priority level that a schema names is missing."""
    name = schema.spec.priority_level_configuration.name
    words = f'This FlowSchema references the PriorityLevelConfiguration object named "{name}"'
    if reader.get(PRIORITY_LEVELS, "", name) is not None:
        return Said("False", "Found", f"{words} and it exists")
    return Said("True", "NotFound", f"{words} but there is no such object")


def available(service: apiregistration_v1.APIService, reader: Reader) -> Said:
    """Whether whoever serves a group version can be reached."""
    reference = service.spec.service
    if reference is None:
        return Said("True", "Local", "Local APIServices are always available")
    namespace, name, port = reference.namespace, reference.name, reference.port
    found = reader.get(SERVICES, namespace, name)
    if found is None:
        return Said("False", "ServiceNotFound", f'service/{name} in "{namespace}" is not present')
    if found.spec.type == "ClusterIP":
        ports = [one for one in found.spec.ports if one.port == port]
        if not ports:
            words = f'service/{name} in "{namespace}" is not listening on port {port}'
            return Said("False", "ServicePortError", words)
        missing = _without_endpoints(reader.list(SLICES, namespace), namespace, name, ports[0].name)
        if missing is not None:
            return missing
    return Said("False", "FailedDiscoveryCheck", "requests for this group version are not passed on to its service")


def _without_endpoints(slices: list[discovery_v1.EndpointSlice], namespace: str, name: str, port: str) -> Said | None:
    own = [one for one in slices if one.metadata.labels.get(_SERVICE_OF_SLICE) == name]
    if not own:
        words = f'cannot find endpointslices for service/{name} in "{namespace}"'
        return Said("False", "EndpointsNotFound", words)
    for one in own:
        if any(there.name == port for there in one.ports or ()) and any(
            end.conditions.ready is not False for end in one.endpoints or ()
        ):
            return None
    words = f'endpoints for service/{name} in "{namespace}" have no addresses with port name "{port}"'
    return Said("False", "MissingEndpoints", words)


class ServerConditions:
    """The part that writes them."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._reader: Reader = engine.reader
        self._clock = clock
        self._changed = Signal()
        self._watched: set[str] = set()
        """Namespaces with Services that group versions rely on."""
        for resource in (FLOW_SCHEMAS, PRIORITY_LEVELS, API_SERVICES):
            self._reader.on_change(resource, lambda namespace, name: self._changed.set())
        for resource in (SERVICES, SLICES):
            self._reader.on_change(resource, self._backend_changed)

    def _backend_changed(self, namespace: str, name: str) -> None:
        if namespace in self._watched:
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.sync()
            await self._changed.wait()

    async def sync(self) -> None:
        """Write every condition that is not as it should be; a conflict wakes us again."""
        for schema in self._reader.list(FLOW_SCHEMAS):
            said = dangling(schema, self._reader)
            before = _condition(schema.status.conditions, DANGLING)
            if before is None or said != (before.status, before.reason, before.message):
                await self._try(self._write_dangling(schema, before, said))
        services = self._reader.list(API_SERVICES)
        self._watched = {one.spec.service.namespace for one in services if one.spec.service is not None}
        for service in services:
            said = available(service, self._reader)
            before = _condition(service.status.conditions, AVAILABLE)
            if before is None or said != (before.status, before.reason, before.message):
                await self._try(self._write_available(service, before, said))

    @staticmethod
    async def _try(write: Any) -> None:
        try:
            await write
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            _log.debug("changed meanwhile: %s", error.message)

    def _time(self, before: Any, said: Said) -> str:
        """Since when it is so."""
        if before is not None and before.status == said.status and before.last_transition_time:
            return str(before.last_transition_time)
        return rfc3339(self._clock.now())

    async def _write_dangling(self, schema: flowcontrol_v1.FlowSchema, before: Any, said: Said) -> None:
        condition = {
            "type": DANGLING,
            "status": said.status,
            "lastTransitionTime": self._time(before, said),
            "reason": said.reason,
            "message": said.message,
        }
        metadata = {"name": schema.metadata.name, "uid": schema.metadata.uid}
        status = {"conditions": [condition]}
        await self._engine.apply_object(FLOW_SCHEMAS, {"metadata": metadata, "status": status}, FLOW_MANAGER, "status")

    async def _write_available(self, service: apiregistration_v1.APIService, before: Any, said: Said) -> None:
        condition = apiregistration_v1.APIServiceCondition(
            type=AVAILABLE,
            status=said.status,
            last_transition_time=self._time(before, said),
            reason=said.reason,
            message=said.message,
        )
        others = [one for one in service.status.conditions if one.type != AVAILABLE]
        status = apiregistration_v1.APIServiceStatus(conditions=[*others, condition])
        await self._engine.update_object(API_SERVICES, replace(service, status=status))


def _condition(conditions: list[Any], kind: str) -> Any | None:
    return next((one for one in conditions if one.type == kind), None)
