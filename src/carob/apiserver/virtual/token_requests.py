"""`serviceaccounts/token`: a new token for a service account, bound to a Pod, a Node, a Secret, or to nothing.

Source: kubernetes `pkg/registry/core/serviceaccount/storage/token.go`, `pkg/apis/authentication/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError, bad_request, conflict, not_found
from carob.api.types import authentication_v1 as v1
from carob.apiserver.authn.service_accounts import (
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    WARN_ONLY_EXPIRATION_SECONDS,
    Binding,
)
from carob.apiserver.handlers.get import warning_headers
from carob.apiserver.types import Attributes, Operation
from carob.apiserver.virtual.bodies import created, read
from carob.base.clock import rfc3339
from carob.base.jws import unverified_claims

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.authn.service_accounts import ServiceAccountTokens
    from carob.apiserver.types import Admission, Reader, RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request, Response

_ISSUED = "authentication.kubernetes.io/issued-credential-id"
_SHORTEST_SECONDS = 10 * 60
_LONGEST_SECONDS = 1 << 32


class TokenRequests:
    """Issues tokens."""

    def __init__(self, tokens: ServiceAccountTokens, reader: Reader, admission: Admission, clock: Clock) -> None:
        self._tokens = tokens
        self._reader = reader
        self._admission = admission
        self._clock = clock

    def create(self, info: RequestInfo, request: Request, user: UserInfo) -> Response:
        """POST …/serviceaccounts/x/token."""
        asked = read(v1.TokenRequest, info, request, self._clock)
        account = self._reader.get(SERVICE_ACCOUNTS, info.namespace, info.name)
        if account is None:
            raise not_found(SERVICE_ACCOUNTS, info.name)
        self._check_names(asked, info)
        asked.metadata.name, asked.metadata.namespace = info.name, info.namespace
        assert info.resource is not None
        attributes = Attributes(
            Operation.CREATE,
            info.resource,
            info.namespace,
            info.name,
            user,
            asked,
            subresource="token",
            annotations=info.trail.annotations if info.trail is not None else None,
            query=info.query,
        )
        self._admission.admit(attributes)
        if not asked.spec.audiences:
            asked.spec.audiences = [self._tokens.issuer]
        _validate(asked)
        self._admission.validate(attributes)
        now = self._clock.now()
        seconds = asked.spec.expiration_seconds or 0
        bound, pod_bound = self._bound(asked.spec.bound_object_ref, info)
        extend = (
            pod_bound and seconds == WARN_ONLY_EXPIRATION_SECONDS and set(asked.spec.audiences) == {self._tokens.issuer}
        )
        asked.status.token = self._tokens.issue(
            info.namespace, info.name, account.metadata.uid, asked.spec.audiences, seconds, bound, extend=extend
        )
        if info.trail is not None:
            token_id = unverified_claims(asked.status.token)["jti"]
            info.trail.annotations[_ISSUED] = f"JTI={token_id}"
        asked.status.expiration_timestamp = rfc3339(now + seconds)
        asked.metadata.uid = account.metadata.uid
        asked.metadata.creation_timestamp = rfc3339(now)
        answer = created(asked)
        answer.headers.extend(warning_headers(attributes.warnings))
        return answer

    @staticmethod
    def _check_names(asked: v1.TokenRequest, info: RequestInfo) -> None:
        if asked.metadata.name and asked.metadata.name != info.name:
            raise bad_request(
                f"the name in the object ({asked.metadata.name}) does not match the name on the URL ({info.name})"
            )
        if asked.metadata.namespace and asked.metadata.namespace != info.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _bound(self, reference: v1.BoundObjectReference | None, info: RequestInfo) -> tuple[list[Binding], bool]:
        if reference is None:
            return [], False
        rows = {"Pod": PODS, "Node": NODES, "Secret": SECRETS}
        resource = rows.get(reference.kind)
        if resource is None or reference.api_version not in ("", "v1"):
            kind = f"{reference.api_version}, Kind={reference.kind}"
            raise bad_request(f"cannot bind token for serviceaccount {info.name!r} to object of type {kind}")
        found: Any = self._reader.get(resource, info.namespace if resource.namespaced else "", reference.name)
        if found is None:
            raise not_found(resource, reference.name)
        if reference.uid and reference.uid != found.metadata.uid:
            why = (
                f"the UID in the bound object reference ({reference.uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise conflict(resource, reference.name, why)
        bound = [Binding(reference.kind.lower(), found.metadata.name, found.metadata.uid)]
        if resource is PODS:
            if found.spec.service_account_name != info.name:
                why = "cannot bind token for serviceaccount {} to pod running with different serviceaccount name."
                raise bad_request(why.format(f'"{info.name}"'))
            if found.spec.node_name:
                node = self._reader.get(NODES, "", found.spec.node_name)
                uid = node.metadata.uid if node is not None else ""
                bound.append(Binding("node", found.spec.node_name, uid))
        return bound, resource is PODS


def _validate(asked: v1.TokenRequest) -> None:
    seconds = asked.spec.expiration_seconds or 0
    if seconds < _SHORTEST_SECONDS:
        why = "may not specify a duration less than 10 minutes"
    elif seconds > _LONGEST_SECONDS:
        why = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    message = f"Invalid value: {seconds}: {why}"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "spec.expirationSeconds"}
    details = {"group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [cause]}
    text = f'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: {message}'
    raise ApiError(422, "Invalid", text, details)
