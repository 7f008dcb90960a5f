"""ResourceQuota: what would exceed a namespace's quota is refused, and what is admitted is charged at once.

The truth is the quota's status, as upstream has it, and what the ledger has charged since.

Source: kubernetes `staging/…/apiserver/pkg/admission/plugin/resourcequota/controller.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api import quantity
from carob.apiserver.admission import quota_usage
from carob.apiserver.admission.namespaced_cache import NamespacedCache
from carob.apiserver.admission.quota_ledger import QUOTAS
from carob.apiserver.admission.refusals import refused
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.api.types.core_v1 import ResourceQuota
    from carob.apiserver.admission.quota_ledger import QuotaLedger
    from carob.apiserver.admission.quota_usage import Usage
    from carob.apiserver.types import Attributes, Reader

_GROWS = frozenset(("services", "persistentvolumeclaims"))


class QuotaAdmission:
    """See the module."""

    name = "ResourceQuota"
    phases = ("validate",)

    def __init__(self, reader: Reader, ledger: QuotaLedger) -> None:
        self._reader = reader
        self._ledger = ledger
        self._quotas: NamespacedCache[ResourceQuota] = NamespacedCache(reader, QUOTAS)

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
                self._ledger.charge(quota, resource, name, usage)

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
        used = self._ledger.used(quota)
        over = [what for what in asked if quantity.compare(quantity.add(used[what], asked[what]), hard[what]) > 0]
        if over:
            requested, taken, limited = (
                quota_usage.shown({what: amounts[what] for what in over}) for amounts in (asked, used, hard)
            )
            why = f"exceeded quota: {name}, requested: {requested}, used: {taken}, limited: {limited}"
            raise refused(attributes, why)
        return asked
