"""The API server: filters around a dispatcher, all plain functions of one request.

request info -> authentication -> impersonation -> authorization -> limits -> dispatch. What can be answered from memory is
answered in the call itself: no task and no await. An ApiError becomes its Status; any other exception is a bug: it is
logged and becomes a 500.

May touch: the store (through the engine). It opens no socket: `handle` is the transport's Handler.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from carob.api.body_limits import MAX_VALUES
from carob.api.resources import BUILT_IN, ResourceTable
from carob.api.status import ApiError, internal
from carob.api.user import ANONYMOUS
from carob.apiserver import bodies, paths, request_info, resetting
from carob.apiserver.admission.chain import AdmissionChain
from carob.apiserver.admission.plugins import default_plugins
from carob.apiserver.admission.policies.type_checking import TypeChecking
from carob.apiserver.admission.policies.validating import ValidatingPolicies
from carob.apiserver.admission.quota_ledger import QuotaLedger
from carob.apiserver.admission.resource_quotas import QuotaAdmission
from carob.apiserver.authn import impersonation
from carob.apiserver.authn.authenticator import Authenticator
from carob.apiserver.authn.keys_wanted import KeysWanted
from carob.apiserver.authn.service_accounts import ServiceAccountTokens
from carob.apiserver.authz.aggregation import RoleAggregation
from carob.apiserver.authz.authorizer import Authorizer
from carob.apiserver.authz.creation import authorize_creation
from carob.apiserver.authz.node import NodeAuthorizer
from carob.apiserver.authz.questions import question_of
from carob.apiserver.authz.rbac import RbacAuthorizer
from carob.apiserver.bootstrap import policy
from carob.apiserver.bootstrap.identity_lease import IdentityLease
from carob.apiserver.bootstrap.run import Bootstrap
from carob.apiserver.compression import packed, worth_it
from carob.apiserver.conditions import ServerConditions
from carob.apiserver.discovery import Discovery
from carob.apiserver.dispatch import Dispatcher
from carob.apiserver.encodings import recoded
from carob.apiserver.engine import WRITES, Engine
from carob.apiserver.failures import answer_of
from carob.apiserver.handlers import disruption
from carob.apiserver.health import CHECKS
from carob.apiserver.in_flight import InFlight
from carob.apiserver.metrics import Metrics
from carob.apiserver.negotiation import JSON
from carob.apiserver.nodes.connections import NodeConnections, SocketDialer
from carob.apiserver.nodes.pod_streams import PodStreams
from carob.apiserver.nodes.web_proxies import WebProxies
from carob.apiserver.options import ApiServerOptions
from carob.apiserver.resource_metrics.answers import ResourceMetrics
from carob.apiserver.resource_metrics.rows import ROWS as METRICS_ROWS
from carob.apiserver.resource_metrics.sampler import Sampler
from carob.apiserver.virtual.access_reviews import AccessReviews
from carob.apiserver.virtual.components import component_statuses
from carob.apiserver.virtual.identity_reviews import IdentityReviews
from carob.apiserver.virtual.patience import Patience
from carob.apiserver.virtual.token_requests import TokenRequests
from carob.base.jws import SigningKey
from carob.base.log import get_logger
from carob.base.tasks import supervise
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from carob.api.user import UserInfo
    from carob.apiserver.audit.auditor import Auditor
    from carob.apiserver.authn.jwt_issuers import AuthenticationRules
    from carob.apiserver.authn.oidc import OidcTokens
    from carob.apiserver.bootstrap.server_endpoints import ServerEndpoints
    from carob.apiserver.dispatch import Answer, Answerer
    from carob.apiserver.types import AuditTrail, Reader, RequestInfo
    from carob.base.clock import Clock
    from carob.base.ids import Randomness
    from carob.store.types import Store
    from carob.transport.http import Request, Sink

_log = get_logger("apiserver")


class ApiServer:
    """One server over one store."""

    def __init__(self, store: Store, options: ApiServerOptions, clock: Clock, randomness: Randomness) -> None:
        self.options = options
        self.table = ResourceTable((*BUILT_IN, *options.features.rows(), *METRICS_ROWS))
        self.metrics = Metrics()
        self.discovery = Discovery(self.table, f"{options.advertise_address}:{options.port}")
        self._clock = clock
        self._randomness = randomness
        self._admission = AdmissionChain()
        self.engine = Engine(store, self.table, self._admission, clock, randomness, options.features.gates)
        self._store = store
        self._servers: ServerEndpoints | None = None
        self._stage = "starting"
        self._in_flight = InFlight()
        self._watches = InFlight(options.watches_limit)
        self.metrics.gauges(
            "apiserver_current_inflight_requests",
            "[STABLE] Requests that wait for the disk.",
            lambda: [('request_kind="mutating"', self._in_flight.count)],
        )
        self.metrics.gauges(
            "apiserver_longrunning_requests",
            "[STABLE] Watches that are open.",
            lambda: [('component="apiserver",verb="WATCH"', self._watches.count)],
        )
        for name in ("apiserver_storage_objects", "apiserver_resource_objects"):
            self.metrics.gauges(name, "[STABLE] Objects that are stored, by their kind.", partial(self._stored, name))
        self.metrics.gauges(
            "apiserver_requested_deprecated_apis",
            "[STABLE] Deprecated APIs that have been requested.",
            self._deprecated,
        )
        self.metrics.gauges("kubernetes_healthcheck", "[STABLE] The result of each health check.", self._checks)
        self._connections: NodeConnections | None = None
        self._dialer: SocketDialer | None = None
        self._oidc: OidcTokens | None = None
        self._auditor: Auditor | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Load the store, make what must be there, and be ready to answer. Raises: StoreError."""
        await self.engine.start()
        options, reader = self.options, self.engine.reader
        key = SigningKey(options.service_account_key_pem) if options.service_account_key_pem else None
        self._tokens = ServiceAccountTokens(key, options.issuer, reader, self._clock, self._randomness) if key else None
        self._authenticator = self._make_authenticator(reader)
        if options.audit is not None:
            from carob.apiserver.audit.auditor import Auditor

            self._auditor = Auditor(
                options.audit, self._authenticator.authenticate, self._answer, self._clock, self._randomness
            )
            self._auditor.show(self.metrics)
        self.authorizer = Authorizer(
            NodeAuthorizer(reader, policy.node_rules(options.features.gates)), RbacAuthorizer(reader)
        )
        ledger = QuotaLedger(reader, self.engine, BUILT_IN, self._clock)
        quota = QuotaAdmission(reader, ledger)
        self._policies = ValidatingPolicies(reader, self.authorizer, self.table)
        plugins = default_plugins(reader, self.authorizer, self._randomness, self._policies, quota, options, self.table)
        self._admission.use(plugins)
        self._paths = paths.Paths(self.table, self.discovery, self.metrics, options, key, self._why_failing)
        self._dispatcher = Dispatcher(self.engine.handle, self._answer_path, self.discovery.groups)
        self._register_virtual()
        aggregation = RoleAggregation(self.engine)
        await self._bootstrap(options)
        await aggregation.sync()
        self._spawn(supervise("role aggregation", aggregation.run, self._clock), "role aggregation")
        conditions = ServerConditions(self.engine, self._clock)
        self._spawn(supervise("conditions", conditions.run, self._clock), "conditions")
        checking = TypeChecking(self.engine, self.table)
        self._spawn(supervise("type checking of policies", checking.run, self._clock), "type checking of policies")
        lease = IdentityLease(self.engine, options, self._clock, self._randomness)
        self._spawn(supervise("identity lease", lease.run, self._clock), "identity lease")
        self._spawn(supervise("quotas", ledger.run, self._clock), "quotas")
        if key is not None:
            # the first Pod's token need not wait for this, and neither need we
            warm = asyncio.get_running_loop().run_in_executor(None, key.warm_up)
            warm.add_done_callback(_log_broken_key)
        self._stage = "ready"

    def _make_authenticator(self, reader: Reader) -> Authenticator:
        options, rules = self.options, self.options.authentication
        self._oidc = self._make_oidc(rules)
        return Authenticator(reader, self._clock, self._tokens, options.static_tokens, rules, self._oidc)

    def _make_oidc(self, rules: AuthenticationRules) -> OidcTokens | None:
        if not rules.issuers:
            return None
        from carob.apiserver.authn.fetching import SocketFetcher
        from carob.apiserver.authn.oidc import OidcTokens

        return OidcTokens(rules.issuers, (self.options.issuer,), SocketFetcher(), self._clock)

    def use_authentication(self, rules: AuthenticationRules) -> None:
        """Believe others from now on than the options say."""
        old, self._oidc = self._oidc, self._make_oidc(rules)
        self._authenticator.use(rules, self._oidc)
        if old is not None:
            self._spawn(old.close(), "issuers of before")

    async def _bootstrap(self, options: ApiServerOptions) -> None:
        shared = self._store.shared
        await Bootstrap(self.engine, self.table, options, self._clock, self._randomness, shared=shared).run()
        if shared:
            from carob.apiserver.bootstrap.server_endpoints import ServerEndpoints

            self._servers = ServerEndpoints(self._store, self.engine, self.table, options, self._clock)
            await self._servers.renew()
            self._spawn(supervise("servers", self._servers.run, self._clock), "servers")

    def offer(self, group: str, plural: str, subresource: str, answerer: Answerer) -> None:
        """Let another part answer GETs of a subresource of ours alone. Call it after `start`."""
        self._dispatcher.offer(group, plural, subresource, answerer)

    def table_changed(self) -> None:
        """Custom resources came or went: what is made of the table is made anew."""
        self.discovery.refresh()
        self._paths.openapi.refresh()

    def _answer_path(self, info: RequestInfo, request: Request, user: UserInfo) -> Answer:
        if info.path == resetting.PATH:
            return self.engine.resetting.answer(info, request)
        return self._paths.answer(info, request, user)

    def _register_virtual(self) -> None:
        register = self._dispatcher.register
        access = AccessReviews(self.authorizer, self._clock)
        group = "authorization.k8s.io"
        register(group, "subjectaccessreviews", "", access.subject)
        register(group, "localsubjectaccessreviews", "", access.local_subject)
        register(group, "selfsubjectaccessreviews", "", access.self_subject)
        register(group, "selfsubjectrulesreviews", "", access.self_rules)
        identity = IdentityReviews(self._authenticator, self._clock)
        register("authentication.k8s.io", "selfsubjectreviews", "", identity.self_subject)
        register("authentication.k8s.io", "tokenreviews", "", identity.token)
        register("", "componentstatuses", "", component_statuses)
        register("", "pods", "", Patience(self.engine.handle, self.engine.reader, self._clock).answer)
        self._register_nodes(register)
        if self._tokens is not None:
            tokens = TokenRequests(self._tokens, self.engine.reader, self._admission, self._clock)
            register("", "serviceaccounts", "token", tokens.create)

    def _register_nodes(self, register: Callable[[str, str, str, Answerer], None]) -> None:
        reader = self.engine.reader
        dialer = self._dialer = SocketDialer(self.options)
        self._connections = NodeConnections(reader, dialer, self.options.kubelet_preferred_address_types)
        streams = PodStreams(reader, self._connections, self._spawn)
        register("", "pods", "log", streams.log)
        judged = self._policies.judged
        register("", "pods", "exec", judged(streams.exec))
        register("", "pods", "attach", judged(streams.attach))
        register("", "pods", "portforward", judged(streams.port_forward))
        metrics = ResourceMetrics(reader, Sampler(self._connections, self._clock), self._clock)
        register("metrics.k8s.io", "nodes", "", metrics.nodes)
        register("metrics.k8s.io", "pods", "", metrics.pods)
        tunnels = None
        if self.options.pods_through_nodes:
            from carob.apiserver.nodes.tunnels import Tunnels

            tunnels = Tunnels(self._connections, self._spawn, self._randomness)
        web = WebProxies(reader, self._connections, dialer, self._spawn, tunnels)
        register("", "nodes", "proxy", judged(web.node))
        register("", "pods", "proxy", judged(web.pod))
        register("", "services", "proxy", judged(web.service))

    def _spawn(self, run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task that ends with the server."""
        task = asyncio.get_running_loop().create_task(run, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def use_kubelet_client(self, certificate_pem: bytes, key_pem: bytes) -> None:
        """Show this certificate to kubelets from now on: the one in the options is about to end."""
        if self._dialer is not None and self._connections is not None:
            self._dialer.use(certificate_pem, key_pem)
            self._connections.forget()

    async def close(self) -> None:
        """Stop the background parts and let go of the store's watch; idempotent."""
        self._stage = "shutting down"
        tasks = tuple(self._background)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._servers is not None:
            servers, self._servers = self._servers, None
            await servers.leave()
        if self._connections is not None:
            await self._connections.close()
        if self._oidc is not None:
            await self._oidc.close()
        await self.engine.close()
        if self._auditor is not None:
            self._auditor.close()

    def _why_failing(self, check: str) -> str | None:
        if self._stage == "ready":
            return None
        if check == "shutdown" or self._stage == "starting":
            return f"the server is {self._stage}"
        return None

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request; the transport's Handler."""
        info = request_info.parse(request.method, request.path, request.query, self.table)
        return self._answer(request, info) if self._auditor is None else self._auditor.handle(request, info)

    def _answer(self, request: Request, info: RequestInfo) -> Response | Awaitable[Response]:
        started = self._clock.monotonic()
        user = ANONYMOUS
        try:
            user = self._authenticator.authenticate(request)
            wanted = impersonation.requested(request.headers) if _impersonates(request) else None
            if wanted is not None:
                user = impersonation.impersonate(user, info, wanted, self.authorizer)
            if info.trail is not None:
                self._tell(info.trail, info, user, impersonated=wanted is not None)
            self.authorizer.authorize(user, info)
            if info.verb in ("update", "patch"):
                authorize_creation(self.authorizer, self.engine.reader, user, info, request)
            elif info.query and info.verb == "delete":
                disruption.authorize(self.authorizer, user, info)
            if len(request.body) > MAX_VALUES:
                bodies.check_size(info, request)
            if info.verb in WRITES:
                self._in_flight.check(user)
            answer = self._dispatcher.answer(info, request, user)
        except KeysWanted as missing:
            return self._when_keys_are_here(request, info, missing)
        except Exception as error:  # noqa: BLE001 - the one place that turns failures into answers
            answer = self._failed(request, info, error)
        if isinstance(answer, Response):
            if answer.stream is not None:
                answer = self._counted(info, request, user, answer)
            _finish_form(info, request, answer)
            _warn_of_deprecation(info, answer)
            self.metrics.observe(info, answer.status, self._clock.monotonic() - started)
            return packed(answer) if request.from_afar and worth_it(info, request, answer) else answer
        try:
            if info.verb not in WRITES:
                self._in_flight.check(user)
        except ApiError as error:
            getattr(answer, "close", _nothing)()
            response = answer_of(error, request)
            _finish_form(info, request, response)
            self.metrics.observe(info, response.status, self._clock.monotonic() - started)
            return response
        return self._finish(request, info, user, answer, started)

    def _tell(self, trail: AuditTrail, info: RequestInfo, user: UserInfo, *, impersonated: bool) -> None:
        """Tell the audit log whether the user may, and why."""
        decision = self.authorizer.explain(user, question_of(info))
        trail.allowed = decision.allowed
        trail.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
        trail.annotations["authorization.k8s.io/reason"] = decision.reason
        trail.impersonated = user if impersonated else None

    async def _when_keys_are_here(self, request: Request, info: RequestInfo, wanted: KeysWanted) -> Response:
        """Answer a request anew whose token's issuer must be asked for its keys first. Each wait is one that is worth it."""
        await wanted.keys.refreshed()
        # what the audit log knows of already goes on
        answer = self.handle(request) if info.trail is None else self._answer(request, info)
        return answer if isinstance(answer, Response) else await answer

    def _stored(self, name: str) -> list[tuple[str, float]]:
        """How many objects there are of each kind, under the labels of the older metric or of the newer one."""
        counts = self.engine.reader.counts()
        if name == "apiserver_storage_objects":
            return [(f'resource="{f"{plural}.{group}" if group else plural}"', n) for group, plural, n in counts]
        return [(f'group="{group}",resource="{plural}"', n) for group, plural, n in counts]

    def _deprecated(self) -> list[tuple[str, float]]:
        return [
            (f'group="",removed_release="",resource="{plural}",subresource="{subresource}",version="{version}"', 1)
            for group, version, plural, subresource in sorted(self.metrics.asked())
            if not group and plural in _DEPRECATED
        ]

    def _checks(self) -> list[tuple[str, float]]:
        return [
            (f'name="{check}",type="{kind}"', self._why_failing(check) is None)
            for kind, checks in CHECKS.items()
            for check in checks
        ]

    def _counted(self, info: RequestInfo, request: Request, user: UserInfo, answer: Response) -> Response:
        """The watch with its place taken until its reader leaves, or the refusal where there is no room for one more."""
        if info.verb != "watch":
            return answer
        watches, begin = self._watches, answer.stream
        assert begin is not None
        try:
            watches.check(user)
        except ApiError as error:
            return answer_of(error, request)

        def counted(sink: Sink) -> None:
            watches.enter(user)
            sink.on_close(lambda: watches.leave(user))
            begin(sink)

        answer.stream = counted
        return answer

    async def _finish(
        self, request: Request, info: RequestInfo, user: UserInfo, answer: Awaitable[Response], started: float
    ) -> Response:
        self._in_flight.enter(user)
        try:
            response = await answer
        except Exception as error:  # noqa: BLE001 - as above, for what had to wait
            response = self._failed(request, info, error)
        finally:
            self._in_flight.leave(user)
        if response.stream is not None:
            response = self._counted(info, request, user, response)
        _finish_form(info, request, response)
        _warn_of_deprecation(info, response)
        self.metrics.observe(info, response.status, self._clock.monotonic() - started)
        return await packed(response) if request.from_afar and worth_it(info, request, response) else response

    @staticmethod
    def _failed(request: Request, info: RequestInfo, error: Exception) -> Response:
        if not isinstance(error, ApiError):
            _log.error("%s %s failed", request.method, request.path, exc_info=error)
            error = internal(f"{type(error).__name__}: {error}")
        return answer_of(error, request)


def _log_broken_key(warm: asyncio.Future[None]) -> None:
    if not warm.cancelled() and warm.exception() is not None:
        _log.error("the key of service-account tokens cannot be used: %s", warm.exception())


_JSON_ALONE = frozenset(("", JSON, "*/*", f"{JSON}, */*"))


def _finish_form(info: RequestInfo, request: Request, response: Response) -> None:
    if response.content_type == JSON and request.headers.get("accept", "") not in _JSON_ALONE:
        recoded(info, request, response)


_DEPRECATED = {
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
}


def _warn_of_deprecation(info: RequestInfo, response: Response) -> None:
    row = info.resource
    if row is not None and row.plural in _DEPRECATED and not row.group and row.kind:
        response.headers = [*response.headers, ("Warning", f'299 - "{_DEPRECATED[row.plural]}"')]
        if info.trail is not None:
            info.trail.annotations["k8s.io/deprecated"] = "true"


def _nothing() -> None:
    """Stands in for `close` of an awaitable that is no coroutine."""


def _impersonates(request: Request) -> bool:
    # one search in the joined names is cheaper than asking each name
    return "impersonate-" in " ".join(request.headers)
