"""Service account tokens for Pods: asked for by TokenRequest, kept, renewed before they end. Touches the API only.

Source: kubelet `token/token_manager.go`: a token is renewed at 80 % of its life or after 24 hours, whichever is first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.types import authentication_v1, core_v1
from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client

RENEW_AT = 0.8
LONGEST_USE_SECONDS = 24 * 3600.0
DEFAULT_EXPIRATION_SECONDS = 3600


class Token(Struct, frozen=True):
    """A token and when (wall clock) it should be replaced."""

    text: str
    renew_at: float


class Tokens:
    """One token per Pod, service account, audience and lifetime."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[tuple[str, str, int], Token] = {}

    async def get(self, pod: core_v1.Pod, audience: str, expiration_seconds: int | None) -> Token:
        """A token that is fresh enough. Raises: ApiError, ConnectionError (an old one that still holds is used)."""
        seconds = expiration_seconds or DEFAULT_EXPIRATION_SECONDS
        key = (pod.metadata.uid, audience, seconds)
        kept = self._kept.get(key)
        if kept is not None and self._clock.now() < kept.renew_at:
            return kept
        token = self._kept[key] = await self._request(pod, audience, seconds)
        return token

    def forget(self, uid: str) -> None:
        """The Pod has gone."""
        for key in [key for key in self._kept if key[0] == uid]:
            del self._kept[key]

    async def _request(self, pod: core_v1.Pod, audience: str, seconds: int) -> Token:
        request = authentication_v1.TokenRequest(
            spec=authentication_v1.TokenRequestSpec(
                audiences=[audience] if audience else [],
                expiration_seconds=seconds,
                bound_object_ref=authentication_v1.BoundObjectReference(
                    kind="Pod", api_version="v1", name=pod.metadata.name, uid=pod.metadata.uid
                ),
            )
        )
        asked_at = self._clock.now()
        answer = await self._client.post(
            core_v1.ServiceAccount,
            pod.spec.service_account_name or "default",
            pod.metadata.namespace,
            "token",
            request,
            authentication_v1.TokenRequest,
        )
        ends = answer.status.expiration_timestamp
        life = (parse_rfc3339(ends) if ends else asked_at + seconds) - asked_at
        return Token(answer.status.token, asked_at + min(RENEW_AT * life, LONGEST_USE_SECONDS))
