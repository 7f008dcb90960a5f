"""Service account tokens: kept while they are fresh, one per audience, gone with their Pod."""

from __future__ import annotations

import asyncio
from typing import Any

from carob.api.types import authentication_v1
from carob.base.clock import VirtualClock, rfc3339
from carob.kubelet.tokens import Tokens
from tests.unit.kubelet.pods import pod


class Issuer:
    """Answers TokenRequests with numbered tokens."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.asked: list[Any] = []

    async def post(self, kind: Any, name: str, namespace: str, subresource: str, body: Any, answer: Any) -> Any:
        self.asked.append((name, namespace, subresource, body.spec))
        ends = rfc3339(self._clock.now() + body.spec.expiration_seconds)
        status = authentication_v1.TokenRequestStatus(token=f"t{len(self.asked)}", expiration_timestamp=ends)
        return authentication_v1.TokenRequest(status=status)


def test_tokens() -> None:
    async def main() -> None:
        clock = VirtualClock()
        issuer = Issuer(clock)
        tokens = Tokens(issuer, clock)  # type: ignore[arg-type]
        given = pod(serviceAccountName="sa")
        first = await tokens.get(given, "", 1000)
        assert first.text == "t1"
        assert first.renew_at == clock.now() + 800
        name, namespace, subresource, spec = issuer.asked[0]
        assert (name, namespace, subresource) == ("sa", "default", "token")
        assert (spec.bound_object_ref.kind, spec.bound_object_ref.uid) == ("Pod", "u-1")
        assert (await tokens.get(given, "", 1000)).text == "t1"
        assert (await tokens.get(given, "other", 1000)).text == "t2"
        await clock.advance(801)
        assert (await tokens.get(given, "", 1000)).text == "t3"
        tokens.forget("u-1")
        assert (await tokens.get(given, "", 1000)).text == "t4"
        # however long it would hold, it is replaced every day
        assert (await tokens.get(given, "", 1_000_000)).renew_at == clock.now() + 24 * 3600

    asyncio.run(main())
