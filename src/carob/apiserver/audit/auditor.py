"""The audit log's part in a request: around the handler, it writes what the policy wants at each stage.

A request is seen as soon as its sender is known, before anybody may refuse it; one whose sender is refused is written, too.
Where there is no log, this module is not imported.

Source: apiserver `pkg/endpoints/filters/{audit,authn_audit,impersonation}.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.apiserver.audit import objects
from carob.apiserver.audit.events import Event, status_of, without_owners
from carob.apiserver.audit.log_file import AuditLog
from carob.apiserver.audit.policy import COMPLETE, METADATA, NONE, RECEIVED, REQUEST_RESPONSE, STARTED
from carob.apiserver.authn.keys_wanted import KeysWanted
from carob.apiserver.types import AuditTrail
from carob.base.ids import new_uid
from carob.base.log import get_logger
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from carob.api.user import UserInfo
    from carob.apiserver.audit.policy import AuditOptions
    from carob.apiserver.metrics import Metrics
    from carob.apiserver.types import RequestInfo
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.transport.http import Connection, Request, Sink

    Answer = Callable[[Request, RequestInfo], Response | Awaitable[Response]]

_log = get_logger("audit")

_HEADER = "audit-id"
MAX_ID = 64
_LONG_VERBS = frozenset(("watch", "proxy"))
_LONG_SUBRESOURCES = frozenset(("attach", "exec", "proxy", "log", "portforward"))


class Auditor:
    """One server's."""

    def __init__(
        self,
        options: AuditOptions,
        authenticate: Callable[[Request], UserInfo],
        answer: Answer,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._policy = options.policy
        self._log = AuditLog(
            options.path,
            clock,
            max_days=options.max_days,
            max_backups=options.max_backups,
            max_megabytes=options.max_megabytes,
        )
        self._authenticate = authenticate
        self._answer = answer
        self._clock = clock
        self._randomness = randomness
        self.written = 0
        """Events that were handed to the log."""
        self.failed = 0
        """Events that could not be made: a mistake of ours costs an event, never its request."""

    def show(self, metrics: Metrics) -> None:
        """Count events on the metrics' page."""
        metrics.counters(
            "apiserver_audit_event_total",
            "[ALPHA] Counter of audit events generated and sent to the audit backend.",
            lambda: [("", self.written)],
        )
        metrics.counters(
            "apiserver_audit_error_total",
            "[ALPHA] Counter of audit events that failed to be audited properly. "
            "Plugin identifies the plugin affected by the error.",
            lambda: [('plugin="log"', self.failed + self._log.lost)],
        )

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def handle(self, request: Request, info: RequestInfo) -> Response | Awaitable[Response]:
        """The answer, written down."""
        user: UserInfo | None = None
        try:
            user = self._authenticate(request)
        except KeysWanted:
            return self._answer(request, info)  # which asks again when the keys are here
        except ApiError:
            pass
        audit_id = request.headers.get(_HEADER, "")[:MAX_ID] or new_uid(self._randomness)
        try:
            one = self._begun(request, info, user, audit_id)
        except Exception:  # noqa: BLE001 - whatever is wrong with the log, the request goes on
            self.lose()
            one = None
        if one is None:
            return self._passed(request, info, audit_id)
        answer = self._answer(request, info)
        return one.answered(answer) if isinstance(answer, Response) else one.waited(answer)

    def _begun(self, request: Request, info: RequestInfo, user: UserInfo | None, audit_id: str) -> _Written | None:
        """The request as far as it has come, if it is to be written down."""
        decision = self._policy.decide(user, info)
        if decision.level == NONE:
            return None
        now = self._clock.now()
        event = Event(audit_id, request, info, user, decision, now)
        trail = AuditTrail()
        if user is None:
            event.response_status = status_of(401, None) | {"message": objects.attempted(request)}
        else:
            self._write(event, RECEIVED, trail, now)
        info.trail = trail
        return _Written(self, event, request, info, trail, refused=user is None)

    def lose(self) -> None:
        """Say which exception cost an event; to be called where it was caught."""
        self.failed += 1
        _log.exception("an event could not be written")

    def _passed(self, request: Request, info: RequestInfo, audit_id: str) -> Response | Awaitable[Response]:
        answer = self._answer(request, info)
        if isinstance(answer, Response):
            return _named(answer, audit_id)

        async def later() -> Response:
            return _named(await answer, audit_id)

        return later()

    def _write(self, event: Event, stage: str, trail: AuditTrail, now: float) -> None:
        if stage not in event.decision.omit_stages:
            self._log.write(event.line(stage, trail, now))
            self.written += 1

    def told(self, event: Event, stage: str, trail: AuditTrail) -> None:
        """Write a stage that is reached now."""
        try:
            self._write(event, stage, trail, self._clock.now())
        except Exception:  # noqa: BLE001 - as above
            self.lose()


def _named(response: Response, audit_id: str) -> Response:
    response.headers = [*response.headers, ("Audit-Id", audit_id)]
    return response


class _Written:
    """One request that is written down, from its answer on."""

    def __init__(
        self,
        auditor: Auditor,
        event: Event,
        request: Request,
        info: RequestInfo,
        trail: AuditTrail,
        *,
        refused: bool,
    ) -> None:
        self._auditor = auditor
        self._event = event
        self._request = request
        self._info = info
        self._refused = refused
        self._trail = trail
        self._done = False

    async def waited(self, answer: Awaitable[Response]) -> Response:
        return self.answered(await answer)

    def answered(self, response: Response) -> Response:
        """The answer, its stages written or to be written when they come."""
        _named(response, self._event.audit_id)
        try:
            return self._taken(response)
        except Exception:  # noqa: BLE001 - as above
            self._auditor.lose()
            return response

    def _taken(self, response: Response) -> Response:
        event, info = self._event, self._info
        if self._refused:
            event.response_status = (event.response_status or {}) | {"code": response.status}
            self._tell(STARTED)
            return response
        if self._trail.allowed:
            self._take_request()
        long = info.verb in _LONG_VERBS or info.subresource in _LONG_SUBRESOURCES
        if response.stream is None and response.upgrade is None:
            self._take_response(response, long=long)
            if long:
                self._tell(STARTED)
            self._complete()
            return response
        event.response_status = status_of(response.status, None)
        if long:
            self._tell(STARTED)
        if response.stream is not None:
            response.stream = self._streamed(response.stream)
        elif response.upgrade is not None:
            response.upgrade = self._upgraded(response.upgrade)
        return response

    def _tell(self, stage: str) -> None:
        self._auditor.told(self._event, stage, self._trail)

    def _complete(self) -> None:
        if not self._done:
            self._done = True
            self._tell(COMPLETE)

    def _streamed(self, begin: Callable[[Sink], None]) -> Callable[[Sink], None]:
        def begun(sink: Sink) -> None:
            sink.on_close(self._complete)
            begin(sink)

        return begun

    def _upgraded(self, upgrade: Callable[[Connection], Awaitable[None]]) -> Callable[[Connection], Awaitable[None]]:
        async def run(connection: Connection) -> None:
            try:
                await upgrade(connection)
            finally:
                self._complete()

        return run

    def _take_request(self) -> None:
        event, info = self._event, self._info
        if not self._request.body or info.resource is None or info.subresource == "proxy":
            return
        tree = objects.of_request(self._request, info)
        if info.verb != "patch":
            event.name_object(tree)
        if event.decision.level != METADATA:
            event.request_object = self._lean(tree)

    def _take_response(self, response: Response, *, long: bool) -> None:
        event = self._event
        tree = None
        whole = event.decision.level == REQUEST_RESPONSE and self._info.resource is not None and not long
        if whole or objects.may_be_status(response):
            tree = objects.of_response(response)
        event.response_status = status_of(response.status, tree)
        if whole and isinstance(tree, dict) and "kind" in tree:
            event.response_object = self._lean(tree)

    def _lean(self, tree: Any) -> Any:
        return without_owners(tree) if self._event.decision.omit_managed_fields else tree
