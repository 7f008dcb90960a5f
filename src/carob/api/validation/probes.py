"""Rules of probes and lifecycle hooks. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

ONE_HANDLER = "may not specify more than 1 handler type"


def port(out: list[Cause], path: str, value: int | str) -> None:
    """A port by number or by name."""
    if isinstance(value, int):
        for why in names.port_number(value):
            out.append(field.invalid(path, value, why))
    else:
        meta.wrong_name(out, path, value, names.port_name(value))


def _http_get(out: list[Cause], path: str, action: core_v1.HTTPGetAction) -> None:
    if not action.path:
        out.append(field.required(f"{path}.path"))
    port(out, f"{path}.port", action.port)
    if action.scheme not in ("HTTP", "HTTPS"):
        out.append(field.not_supported(f"{path}.scheme", action.scheme, ("HTTP", "HTTPS")))
    for header in action.http_headers:
        meta.wrong_name(out, f"{path}.httpHeaders", header.name, names.header_name(header.name))


def _handler(
    out: list[Cause], path: str, handler: core_v1.Probe | core_v1.LifecycleHandler, grace_seconds: int | None
) -> None:
    count = 0
    grpc = handler.grpc if isinstance(handler, core_v1.Probe) else None
    sleep = None if isinstance(handler, core_v1.Probe) else handler.sleep
    if handler.exec is not None:
        count += 1
        if not handler.exec.command:
            out.append(field.required(f"{path}.exec.command"))
    for name, action in (
        ("httpGet", handler.http_get),
        ("tcpSocket", handler.tcp_socket),
        ("grpc", grpc),
        ("sleep", sleep),
    ):
        if action is None:
            continue
        here = f"{path}.{name}"
        if count:
            out.append(field.forbidden(here, ONE_HANDLER))
        elif isinstance(action, core_v1.HTTPGetAction):
            _http_get(out, here, action)
        elif isinstance(action, core_v1.SleepAction):
            if grace_seconds is not None and not 0 <= action.seconds <= grace_seconds:
                words = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
                out.append(field.invalid(here, action.seconds, words))
        else:
            port(out, f"{here}.port", action.port)
        count += 1
    if not count:
        out.append(field.required(path, "must specify a handler type"))


def lifecycle(out: list[Cause], path: str, hooks: core_v1.Lifecycle, grace_seconds: int | None) -> None:
    """What runs after the start and before the stop."""
    if hooks.post_start is not None:
        _handler(out, f"{path}.postStart", hooks.post_start, grace_seconds)
    if hooks.pre_stop is not None:
        _handler(out, f"{path}.preStop", hooks.pre_stop, grace_seconds)


def _probe(out: list[Cause], path: str, probe: core_v1.Probe, grace_seconds: int | None) -> None:
    _handler(out, path, probe, grace_seconds)
    for name, value in (
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ):
        if value < 0:
            meta.non_negative(out, f"{path}.{name}", value)
    seconds = probe.termination_grace_period_seconds
    if seconds is not None and seconds <= 0:
        out.append(field.invalid(f"{path}.terminationGracePeriodSeconds", seconds, "must be greater than 0"))


def _once_is_enough(out: list[Cause], path: str, probe: core_v1.Probe) -> None:
    if probe.success_threshold != 1:
        out.append(field.invalid(f"{path}.successThreshold", probe.success_threshold, "must be 1"))


def liveness(out: list[Cause], path: str, probe: core_v1.Probe, grace_seconds: int | None) -> None:
    """Whether a container lives."""
    _probe(out, path, probe, grace_seconds)
    _once_is_enough(out, path, probe)


def readiness(out: list[Cause], path: str, probe: core_v1.Probe, grace_seconds: int | None) -> None:
    """Whether a container can serve; never stops it, so that it has no grace period."""
    _probe(out, path, probe, grace_seconds)
    seconds = probe.termination_grace_period_seconds
    if seconds is not None:
        words = "must not be set for readinessProbes"
        out.append(field.invalid(f"{path}.terminationGracePeriodSeconds", seconds, words))


def startup(out: list[Cause], path: str, probe: core_v1.Probe, grace_seconds: int | None) -> None:
    """Whether a container has started."""
    _probe(out, path, probe, grace_seconds)
    _once_is_enough(out, path, probe)
