"""Certificate signing requests: who asked is the server's word; approval is a subresource of its own.

Source: upstream `pkg/registry/certificates/certificates/strategy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from carob.api.types import certificates_v1
    from carob.apiserver.registry.strategy import WriteContext

_APPROVAL = ("Approved", "Denied")


class CertificateSigningRequestStrategy(Strategy):
    """See the module's docstring."""

    def prepare_create(self, obj: certificates_v1.CertificateSigningRequest, context: WriteContext) -> None:
        """The requester is the user of the request, whatever the body says."""
        user = context.user
        obj.spec.username, obj.spec.uid = user.name, user.uid
        obj.spec.groups = list(user.groups)
        obj.spec.extra = {key: list(values) for key, values in user.extra.items()}
        obj.status = type(obj.status)()

    def prepare_update(self, new: Any, old: Any, context: WriteContext) -> None:
        """The spec is fixed."""
        new.spec, new.status = old.spec, old.status

    def prepare_status(self, new: Any, old: Any, context: WriteContext) -> None:
        """Everything but the approval."""
        new.spec = old.spec
        others = [one for one in new.status.conditions if one.type not in _APPROVAL]
        kept = [one for one in old.status.conditions if one.type in _APPROVAL]
        if [one for one in new.status.conditions if one.type in _APPROVAL] != kept:
            new.status.conditions = [*kept, *others]
        _stamped(new, old, context)


def prepare_approval(new: Any, old: Any, context: WriteContext) -> None:
    """Only conditions change here, not the certificate."""
    new.spec = old.spec
    new.status.certificate = old.status.certificate
    _stamped(new, old, context)


def _stamped(new: Any, old: Any, context: WriteContext) -> None:
    """Times that the client left out."""
    before = {(one.type, one.status): one for one in old.status.conditions}
    for condition in new.status.conditions:
        condition.last_update_time = condition.last_update_time or context.now
        if condition.last_transition_time is None:
            known = before.get((condition.type, condition.status))
            condition.last_transition_time = known.last_transition_time if known is not None else context.now
