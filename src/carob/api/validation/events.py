"""Rules of Events in both groups. Pure. Source: `pkg/apis/core/validation/events.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import events_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.types import core_v1
    from carob.api.validation.field import Cause

MAX_NAME_CHARACTERS, MAX_NOTE_BYTES = 128, 1024
_OTHER_NAMESPACE = "does not match event.namespace"


def core_event(out: list[Cause], event: core_v1.Event) -> None:
    """An Event of the core group, in the old or in the new manner (with `eventTime`)."""
    path, regarding = "involvedObject.namespace", event.involved_object.namespace
    own = event.metadata.namespace
    if not event.event_time:
        if (regarding and regarding != own) or (not regarding and own not in ("", "default")):
            out.append(field.invalid(path, regarding, _OTHER_NAMESPACE))
    else:
        if not regarding and own not in ("default", "kube-system"):
            out.append(field.invalid(path, regarding, _OTHER_NAMESPACE))
        _reporter(out, "reportingComponent", event.reporting_component, event.reporting_instance)
        _words(out, event.action, event.reason, event.message, "message")
    meta.wrong_name(out, "namespace", own, names.dns_subdomain(own))


def _reporter(out: list[Cause], name: str, controller: str, instance: str) -> None:
    if not controller:
        out.append(field.required(name))
    meta.wrong_name(out, name, controller, names.qualified_name(controller))
    if not instance:
        out.append(field.required("reportingInstance"))
    if len(instance) > MAX_NAME_CHARACTERS:
        out.append(field.invalid("reportingInstance", "", f"can have at most {MAX_NAME_CHARACTERS} characters"))


def _words(out: list[Cause], action: str, reason: str, note: str, note_name: str) -> None:
    for name, value in (("action", action), ("reason", reason)):
        if not value:
            out.append(field.required(name))
        if len(value) > MAX_NAME_CHARACTERS:
            out.append(field.invalid(name, "", f"can have at most {MAX_NAME_CHARACTERS} characters"))
    if len(note) > MAX_NOTE_BYTES:
        out.append(field.invalid(note_name, "", f"can have at most {MAX_NOTE_BYTES} characters"))


def core_event_update(out: list[Cause], new: core_v1.Event, old: core_v1.Event) -> None:
    """A changed Event of the core group."""
    core_event(out, new)


def _regards(out: list[Cause], obj: events_v1.Event) -> None:
    """What holds for an Event of either group that has an `eventTime`, or should have."""
    regarding, own = obj.regarding.namespace, obj.metadata.namespace
    if obj.event_time:
        if not regarding and own not in ("default", "kube-system"):
            out.append(field.invalid("involvedObject.namespace", regarding, _OTHER_NAMESPACE))
        _reporter(out, "reportingController", obj.reporting_controller, obj.reporting_instance)
        _words(out, obj.action, obj.reason, obj.note, "message")
    elif (regarding and regarding != own) or (not regarding and own not in ("", "default")):
        out.append(field.invalid("involvedObject.namespace", regarding, _OTHER_NAMESPACE))
    meta.wrong_name(out, "namespace", own, names.dns_subdomain(own))


def _series(out: list[Cause], series: events_v1.EventSeries | None) -> None:
    if series is None:
        return
    if series.count < 2:
        out.append(field.invalid("series.count", "", "should be at least 2"))
    if not series.last_observed_time:
        out.append(field.required("series.lastObservedTime"))


def event(out: list[Cause], obj: events_v1.Event) -> None:
    """An Event of the events group."""
    _regards(out, obj)
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _series(out, obj.series)
    if not obj.event_time:
        out.append(field.required("eventTime"))
    if obj.type not in ("Normal", "Warning"):
        out.append(field.invalid("type", "", "has invalid value: " + obj.type))
    source = obj.deprecated_source
    for name, given in (
        ("firstTimestamp", obj.deprecated_first_timestamp),
        ("lastTimestamp", obj.deprecated_last_timestamp),
        ("count", obj.deprecated_count),
        ("source", source.component or source.host),
    ):
        if given:
            out.append(field.invalid(name, "", "needs to be unset"))


def event_update(out: list[Cause], new: events_v1.Event, old: events_v1.Event) -> None:
    """Only the series of an Event grows."""
    _regards(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    if new.series != old.series:
        _series(out, new.series)
    for name, attribute in (
        ("involvedObject", "regarding"),
        ("reason", "reason"),
        ("message", "note"),
        ("source", "deprecated_source"),
        ("firstTimestamp", "deprecated_first_timestamp"),
        ("lastTimestamp", "deprecated_last_timestamp"),
        ("count", "deprecated_count"),
        ("reason", "reason"),
        ("type", "type"),
        ("eventTime", "event_time"),
        ("action", "action"),
        ("related", "related"),
        ("reportingController", "reporting_controller"),
        ("reportingInstance", "reporting_instance"),
    ):
        meta.immutable(out, name, getattr(new, attribute), getattr(old, attribute))


CREATE: dict[type[Any], Any] = {events_v1.Event: event}
UPDATE: dict[tuple[type[Any], str], Any] = {(events_v1.Event, ""): event_update}
