"""Pods that are created a moment before their namespace's default service account: wait for it, as upstream does.

Admission may not wait; so the edge does: it hears of the missing account from the refusal, waits until the account is
there (upstream tries ten times, about 150 ms apart), and asks again. Only the account `default` is waited for.
"""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING

from carob.apiserver.admission.service_accounts import DEFAULT, ServiceAccountMissing
from carob.apiserver.authn.service_accounts import SERVICE_ACCOUNTS
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from carob.api.user import UserInfo
    from carob.apiserver.dispatch import Answer, Answerer
    from carob.apiserver.types import Reader, RequestInfo
    from carob.base.clock import Clock
    from carob.transport.http import Request

WAIT_SECONDS = 1.5
# waiting requests; more are refused at once
LIMIT = 1024


class Patience:
    """Stands before the answerer of Pods."""

    def __init__(self, answerer: Answerer, reader: Reader, clock: Clock) -> None:
        self._answerer = answerer
        self._clock = clock
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0
        reader.on_change(SERVICE_ACCOUNTS, self._changed)

    def _changed(self, namespace: str, name: str) -> None:
        if name == DEFAULT:
            for future in self._waiting.pop(namespace, ()):
                if not future.done():
                    future.set_result(None)

    def answer(self, info: RequestInfo, request: Request, user: UserInfo) -> Answer:
        """The answer; for creations it may come a little later."""
        try:
            answer = self._answerer(info, request, user)
        except ServiceAccountMissing as missing:
            return self._again(missing, info, request, user)
        if info.verb == "create" and isinstance(answer, CoroutineType):
            return self._patiently(answer, info, request, user)
        return answer  # what has been begun has met admission

    async def _patiently(
        self, answer: Awaitable[Response], info: RequestInfo, request: Request, user: UserInfo
    ) -> Response:
        try:
            return await answer
        except ServiceAccountMissing as missing:
            return await self._again(missing, info, request, user)

    async def _again(
        self, missing: ServiceAccountMissing, info: RequestInfo, request: Request, user: UserInfo
    ) -> Response:
        if missing.account != DEFAULT or self._count >= LIMIT:
            raise missing
        await self._wait(missing.namespace)
        again = self._answerer(info, request, user)
        return again if isinstance(again, Response) else await again

    async def _wait(self, namespace: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, []).append(future)
        self._count += 1
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(WAIT_SECONDS))
        try:
            await asyncio.wait((future, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            self._count -= 1
            waiting = self._waiting.get(namespace)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiting[namespace]
