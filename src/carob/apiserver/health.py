"""`/healthz`, `/livez`, `/readyz`: are we up, in the words and by the check names that probes and people know.

Most of upstream's checks are start-up hooks of parts that carob does not have one by one; they pass once our own
start-up is over. `etcd` asks the store, `shutdown` fails while we are going down.

Source: apiserver `pkg/server/healthz`; the recorded answers of a v1.36 server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TEXT = "text/plain; charset=utf-8"
_NO_SNIFF = ("X-Content-Type-Options", "nosniff")
_HOOKS = tuple(
    "poststarthook/" + name
    for name in (
        "start-apiserver-admission-initializer",
        "generic-apiserver-start-informers",
        "priority-and-fairness-config-consumer",
        "priority-and-fairness-filter",
        "storage-object-count-tracker-hook",
        "start-apiextensions-informers",
        "start-apiextensions-controllers",
        "crd-informer-synced",
        "start-system-namespaces-controller",
        "peer-endpoint-reconciler-controller",
        "start-cluster-authentication-info-controller",
        "start-kube-apiserver-identity-lease-controller",
        "start-kube-apiserver-identity-lease-garbage-collector",
        "storage-readiness",
        "start-legacy-token-tracking-controller",
        "start-service-ip-repair-controllers",
        "rbac/bootstrap-roles",
        "scheduling/bootstrap-system-priority-classes",
        "priority-and-fairness-config-producer",
        "bootstrap-controller",
        "start-kubernetes-service-cidr-controller",
        "aggregator-reload-proxy-client-cert",
        "start-kube-aggregator-informers",
        "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller",
        "apiservice-registration-controller",
        "apiservice-wait-for-first-sync",
        "apiservice-discovery-controller",
        "kube-apiserver-autoregistration",
    )
)
_TAIL = ("autoregister-completion", "poststarthook/apiservice-openapi-controller")
_OPENAPI = "poststarthook/apiservice-openapiv3-controller"
_LIVE = ("ping", "log", "loopback-serving-certificate", "etcd", *_HOOKS, *_TAIL, _OPENAPI)
CHECKS: dict[str, tuple[str, ...]] = {
    "healthz": _LIVE,
    "livez": _LIVE,
    "readyz": ("ping", "log", "informer-sync", *_HOOKS, *_TAIL, _OPENAPI, "shutdown"),
}


def not_found() -> Response:
    """What a path that nobody knows gets."""
    return Response(404, b"404 page not found\n", TEXT, [_NO_SNIFF])


class Health:
    """Answers the three health paths. `failing(check)` tells why a check fails; None if it passes."""

    def __init__(self, failing: Callable[[str], str | None]) -> None:
        self._failing = failing

    def answer(self, path: str, query: Mapping[str, Sequence[str]]) -> Response | None:
        """The answer to `/readyz` or `/readyz/some-check`; None if the path is none of ours."""
        kind, _, single = path.strip("/").partition("/")
        checks = CHECKS.get(kind)
        if checks is None:
            return None
        if single:
            if single not in checks:
                return not_found()
            checks = (single,)
        else:
            excluded = set(query.get("exclude", ()))
            return self._report(kind, checks, excluded, verbose="verbose" in query)
        why = self._failing(single)
        return Response(body=b"ok", content_type=TEXT) if why is None else _failed(f"internal server error: {why}\n")

    def _report(self, kind: str, checks: tuple[str, ...], excluded: set[str], *, verbose: bool) -> Response:
        lines, failed = [], []
        for check in checks:
            if check in excluded:
                lines.append(f"[+]{check} excluded: ok")
                continue
            why = self._failing(check)
            if why is not None:
                failed.append(check)
            lines.append(f"[-]{check} failed: reason withheld" if why is not None else f"[+]{check} ok")
        unknown = excluded.difference(checks)
        if unknown:
            quoted = ", ".join(f'"{name}"' for name in sorted(unknown))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        report = "\n".join(lines)
        if failed:
            return _failed(f"{report}\n{kind} check failed\n")
        body = f"{report}\n{kind} check passed\n" if verbose else "ok"
        return Response(body=body.encode(), content_type=TEXT, headers=[_NO_SNIFF])


def _failed(text: str) -> Response:
    return Response(500, text.encode(), TEXT, [_NO_SNIFF])
