"""ResourceQuota: what would exceed a namespace's quota is refused, and what is admitted is charged at once.

The truth is the quota's status, as upstream has it. Charges that are not yet written there are kept beside it, and a
background task writes them; so two writes at once never both take the last place.

Source: kubernetes `staging/…/apiserver/pkg/admission/plugin/resourcequota/controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from carob.api import quantity
from carob.api.status import ApiError
from carob.apiserver.admission import quota_usage
from carob.apiserver.admission.namespaced_cache import NamespacedCache
from carob.apiserver.admission.refusals import refused
from carob.apiserver.authn.service_accounts import row
from carob.apiserver.types import Operation
from carob.base.log import get_logger
from carob.base.tasks import Signal

if TYPE_CHECKING:
    from carob.api.resources import Resource
    from carob.api.types.core_v1 import ResourceQuota
    from carob.apiserver.admission.quota_usage import Usage
    from carob.apiserver.types import Attributes, Reader

QUOTAS = row("", "v1", "resourcequotas")
_GROWS = frozenset(("services", "persistentvolumeclaims"))
_TRIES = 5
_log = get_logger("apiserver.quota")


class StatusWriter(Protocol):
    """As much of the engine as charging needs."""

    async def update_object(self, resource: Resource, obj: Any, namespace: str = "") -> Any: ...


class QuotaAdmission:
    """See the module. `run` is the background part."""

    name = "ResourceQuota"
    phases = ("validate",)

    def __init__(self, reader: Reader, writer: StatusWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._quotas: NamespacedCache[ResourceQuota] = NamespacedCache(reader, QUOTAS)
        self._charges: dict[tuple[str, str], Usage] = {}
        # what `run` is writing just now: the charge, and `used` as it will then read
        self._writing: dict[tuple[str, str], tuple[Usage, Usage]] = {}
        self._charged = Signal()

    def admit(self, attributes: Attributes) -> None:
        """Nothing: quotas judge the final object."""

    def validate(self, attributes: Attributes) -> None:
        """Refuse or charge."""
        quotas = self._quotas.of(attributes.namespace)
        if not quotas or attributes.obj is None or attributes.subresource:
            return
        resource = attributes.resource
        if resource.plural == QUOTAS.plural or attributes.operation is Operation.DELETE or not resource.stored:
            return
        if attributes.operation is Operation.UPDATE and (resource.plural not in _GROWS or resource.group):
            return
        name = attributes.name or attributes.obj.metadata.name
        if attributes.operation is Operation.CREATE and self._reader.get(resource, attributes.namespace, name):
            return  # it will be refused: it exists
        before = quota_usage.usage_of(resource, attributes.old) if attributes.old is not None else {}
        wanted = quota_usage.growth(quota_usage.usage_of(resource, attributes.obj), before)
        charges = [(quota, self._check(attributes, quota, wanted)) for quota in quotas]
        if attributes.dry_run:
            return
        for quota, usage in charges:
            if usage:
                self._charge(quota, usage)

    def _check(self, attributes: Attributes, quota: ResourceQuota, wanted: Usage) -> Usage:
        """What this quota is to be charged with. Raises: ApiError 403."""
        hard = quota.status.hard
        if not quota_usage.counts(quota, attributes.resource, attributes.obj):
            return {}
        asked = {name: amount for name, amount in wanted.items() if name in hard}
        name = quota.metadata.name
        if attributes.operation is Operation.CREATE:
            lacking = quota_usage.missing(attributes.resource, attributes.obj, hard)
            if lacking:
                raise refused(attributes, f"failed quota: {name}: must specify {'; '.join(lacking)}")
        used = self._used(quota)
        over = [what for what in asked if quantity.compare(quantity.add(used[what], asked[what]), hard[what]) > 0]
        if over:
            requested, taken, limited = (
                quota_usage.shown({what: amounts[what] for what in over}) for amounts in (asked, used, hard)
            )
            why = f"exceeded quota: {name}, requested: {requested}, used: {taken}, limited: {limited}"
            raise refused(attributes, why)
        return asked

    def _used(self, quota: ResourceQuota) -> Usage:
        """What is taken: as the status says, and what is charged but not yet there."""
        key = (quota.metadata.namespace, quota.metadata.name)
        used = {name: quota.status.used.get(name, quota_usage.ZERO) for name in quota.status.hard}
        writing, result = self._writing.get(key, ({}, {}))
        pending = [self._charges.get(key, {})]
        # a write is seen before whoever wrote it goes on
        if quota.status.used != result:
            pending.append(writing)
        for charge in pending:
            for name, amount in charge.items():
                used[name] = quantity.add(used.get(name, quota_usage.ZERO), amount)
        return used

    def _charge(self, quota: ResourceQuota, usage: Usage) -> None:
        self._put_back((quota.metadata.namespace, quota.metadata.name), usage)
        self._charged.set()

    async def run(self) -> None:
        """Write charges into the quotas' status, until cancelled."""
        while True:
            await self._charged.wait()
            for key in list(self._charges):
                await self._write(*key)

    async def _write(self, namespace: str, name: str) -> None:
        key = (namespace, name)
        charge = self._charges.pop(key, {})
        try:
            for _ in range(_TRIES):
                quota = self._reader.get(QUOTAS, namespace, name)
                if quota is None or await self._add(quota, charge):
                    charge = {}
                    return
            _log.warning("quota %s/%s changes too often: its charges wait", namespace, name)
        finally:
            self._writing.pop(key, None)
            if charge:
                self._put_back(key, charge)

    async def _add(self, quota: ResourceQuota, charge: Usage) -> bool:
        """Whether the charge is in the quota's status now; it is not when somebody else was faster."""
        namespace, name = quota.metadata.namespace, quota.metadata.name
        used = quota.status.used | {
            what: quantity.add(quota.status.used.get(what, quota_usage.ZERO), amount) for what, amount in charge.items()
        }
        self._writing[namespace, name] = charge, used
        status = msgspec.structs.replace(quota.status, used=used)
        try:
            await self._writer.update_object(QUOTAS, msgspec.structs.replace(quota, status=status), namespace)
        except ApiError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            return False
        return True

    def _put_back(self, key: tuple[str, str], charge: Usage) -> None:
        pending = self._charges.setdefault(key, {})
        for what, amount in charge.items():
            pending[what] = quantity.add(pending.get(what, quota_usage.ZERO), amount)
