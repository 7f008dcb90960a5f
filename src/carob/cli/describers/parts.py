"""What several kinds show alike: labels, annotations, tolerations, events, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from carob.api.human import human_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.cli.describers.writer import Writer

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ANNOTATION_LENGTH = 140

Tree = dict[str, Any]


def parse_time(text: str) -> datetime:
    """An RFC 3339 time of an object."""
    return datetime.fromisoformat(text)


def rfc1123(text: str) -> str:
    """`Mon, 23 Nov 2026 05:53:00 +0000`, in the machine's own time zone."""
    return parse_time(text).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def rfc1123_or_zero(text: str | None) -> str:
    """As `rfc1123`; Go's zero time where there is none."""
    return rfc1123(text) if text else "Mon, 01 Jan 0001 00:00:00 +0000"


def since(text: str | None) -> str:
    """How long ago, for people; `<unknown>` where there is no time."""
    if not text:
        return "<unknown>"
    return human_duration((datetime.now(UTC) - parse_time(text)).total_seconds())


def labels(writer: Writer, title: str, values: Mapping[str, str] | None) -> None:
    """`Labels:` and one `key=value` a line."""
    writer.write(0, f"{title}:\t")
    if not values:
        writer.line(0, "<none>")
        return
    for index, key in enumerate(sorted(values)):
        writer.line(0, ("\t" if index else "") + f"{key}={values[key]}")


def annotation_lines(writer: Writer, title: str, values: Mapping[str, str] | None) -> None:
    """`Annotations:` and one `key: value` a line, long values below their key; last-applied is left out."""
    writer.write(0, f"{title}:\t")
    shown = {k: v for k, v in (values or {}).items() if k != LAST_APPLIED}
    if not shown:
        writer.line(0, "<none>")
        return
    for index, key in enumerate(sorted(shown)):
        if index:
            writer.write(0, "\t")
        value = shown[key].removesuffix("\n")
        if len(value) + len(key) + 2 > MAX_ANNOTATION_LENGTH or "\n" in value:
            writer.line(0, f"{key}:")
            for line in value.split("\n"):
                writer.line(0, "\t  " + _shorten(line, MAX_ANNOTATION_LENGTH - 2))
        else:
            writer.line(0, f"{key}: {value}")


def marks(writer: Writer, metadata: Tree) -> None:
    """Labels and annotations, as most kinds show them."""
    labels(writer, "Labels", metadata.get("labels"))
    annotation_lines(writer, "Annotations", metadata.get("annotations"))


def head(writer: Writer, metadata: Tree, *, namespaced: bool = True) -> None:
    """Name and namespace, labels and annotations."""
    writer.line(0, f"Name:\t{metadata.get('name')}")
    if namespaced:
        writer.line(0, f"Namespace:\t{metadata.get('namespace')}")
    marks(writer, metadata)


def _shorten(text: str, length: int) -> str:
    return text[:length] + "..." if len(text) > length else text


def tolerations(writer: Writer, title: str, values: Sequence[Tree] | None) -> None:
    """`key=value:Effect op=Exists for 300s`, one a line."""
    writer.write(0, f"{title}:\t")
    if not values:
        writer.line(0, "<none>")
        return
    for index, toleration in enumerate(sorted(values, key=lambda t: t.get("key", ""))):
        if index:
            writer.write(0, "\t")
        text = toleration.get("key", "")
        if toleration.get("value"):
            text += f"={toleration['value']}"
        if toleration.get("effect"):
            text += f":{toleration['effect']}"
        operator = toleration.get("operator", "")
        if operator == "Exists" and not toleration.get("value"):
            text += " op=Exists" if text else "op=Exists"
        if toleration.get("tolerationSeconds") is not None:
            text += f" for {toleration['tolerationSeconds']}s"
        writer.line(0, text)


def taints(writer: Writer, values: Sequence[Tree] | None) -> None:
    """`key=value:Effect`, one a line."""
    writer.write(0, "Taints:\t")
    if not values:
        writer.line(0, "<none>")
        return
    for index, taint in enumerate(sorted(values, key=lambda t: (t.get("effect", ""), t.get("key", "")))):
        value = f"={taint['value']}" if taint.get("value") else ""
        writer.line(0, ("\t" if index else "") + f"{taint.get('key', '')}{value}:{taint.get('effect', '')}")


def resource_list(writer: Writer, title: str, values: Mapping[str, str] | None, level: int) -> None:
    """`Limits:` and one resource a line; nothing where there are none."""
    if not values:
        return
    writer.line(level, f"{title}:")
    for name in sorted(values):
        writer.line(level + 1, f"{name}:\t{values[name]}")


def controlled_by(tree: Tree) -> str:
    """`ReplicaSet/web-abc` for an object with a controller, else empty."""
    for owner in (tree.get("metadata") or {}).get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner.get('kind')}/{owner.get('name')}"
    return ""


def events(writer: Writer, items: Sequence[Tree]) -> None:
    """The events' table, oldest first."""
    if not items:
        writer.line(0, "Events:\t<none>")
        return
    writer.flush()
    writer.line(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage")
    writer.line(1, "----\t------\t----\t----\t-------")
    for event in sorted(items, key=last_seen):
        source = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
        message = (event.get("message") or "").strip()
        where = (event.get("involvedObject") or {}).get("fieldPath")
        if where:
            message = f"{where}: {message}"
        writer.line(1, f"{event.get('type', '')}\t{event.get('reason', '')}\t{event_age(event)}\t{source}\t{message}")


def last_seen(event: Tree) -> str:
    return str(
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or ""
    )


def event_age(event: Tree) -> str:
    first = since(event.get("eventTime") or event.get("firstTimestamp"))
    series = event.get("series")
    if series:
        return f"{since(series.get('lastObservedTime'))} (x{series.get('count')} over {first})"
    if (event.get("count") or 0) > 1:
        return f"{since(event.get('lastTimestamp'))} (x{event['count']} over {first})"
    return first


def plain_conditions(writer: Writer, conditions: Sequence[Tree]) -> None:
    """Type, status and reason, one a line; nothing where there are none."""
    if not conditions:
        return
    writer.line(0, "Conditions:\n  Type\tStatus\tReason")
    writer.line(1, "----\t------\t------")
    for c in conditions:
        writer.line(1, f"{c.get('type')} \t{c.get('status')}\t{c.get('reason', '')}")


def phase_or_leaving(tree: Tree) -> str:
    """The phase of a claim or a volume, or for how long it has been going."""
    leaving = tree["metadata"].get("deletionTimestamp")
    return f"Terminating (lasts {since(leaving)})" if leaving else str((tree.get("status") or {}).get("phase", ""))


def names(writer: Writer, title: str, values: Sequence[str]) -> None:
    """`Used By:` and one name a line."""
    writer.line(0, f"{title}:\t" + ("\n\t".join(values) or "<none>"))


def storage_class(claim: Tree) -> str:
    """Of a claim or a volume; the annotation of old wins."""
    old = ((claim.get("metadata") or {}).get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    return str(old if old is not None else (claim.get("spec") or {}).get("storageClassName") or "")


def spread_constraints(writer: Writer, title: str, constraints: Sequence[Tree]) -> None:
    """One a line; nothing where there are none."""
    if not constraints:
        return
    writer.write(0, f"{title}:\t")
    for index, constraint in enumerate(sorted(constraints, key=lambda c: c.get("topologyKey", ""))):
        if index:
            writer.write(0, "\t")
        text = f"{constraint.get('topologyKey')}:{constraint.get('whenUnsatisfiable')} when max skew {constraint.get('maxSkew')}"
        text += " is exceeded"
        labels = (constraint.get("labelSelector") or {}).get("matchLabels") or {}
        if labels:
            text += " for selector " + ",".join(f"{k}={labels[k]}" for k in sorted(labels))
        writer.line(0, text)
