"""Which container a request means, and the kubelet's path to it. Pure.

Source: kubernetes `pkg/registry/core/pod/strategy.go` (LogLocation, streamLocation, validateContainer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from carob.api.status import ApiError, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.types.core_v1 import Pod

_FALSE = frozenset(("0", "false", "False", "FALSE"))


def container_of(pod: Pod, wanted: str) -> str:
    """The container that is asked for; the only one if none is named. Raises: ApiError 400."""
    spec, name = pod.spec, pod.metadata.name
    if wanted:
        known = {c.name for c in (*spec.init_containers, *spec.containers)}
        known.update(c.name for c in spec.ephemeral_containers)
        if wanted in known:
            return wanted
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    if len(spec.containers) == 1:
        return spec.containers[0].name
    text = f"a container name must be specified for pod {name}"
    if spec.containers:
        text += f", choose one of: [{' '.join(c.name for c in spec.containers)}]"
    if spec.init_containers:
        text += f" or one of the init containers: [{' '.join(c.name for c in spec.init_containers)}]"
    if spec.ephemeral_containers:
        text += f" or one of the ephemeral containers: [{' '.join(c.name for c in spec.ephemeral_containers)}]"
    raise bad_request(text)


def is_set(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """Whether a boolean parameter is there and not false."""
    values = query.get(name)
    return bool(values) and values[0] not in _FALSE  # type: ignore[index]


def stream_query(query: Mapping[str, Sequence[str]], *, command: bool) -> str:
    """The query of `exec` and `attach` in the kubelet's words."""
    pairs = [
        (theirs, "1")
        for ours, theirs in (("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty"))
        if is_set(query, ours)
    ]
    if command:
        pairs += [("command", word) for word in query.get("command", ())]
    return urlencode(pairs)


def port_query(query: Mapping[str, Sequence[str]]) -> str:
    """The query of `portforward`: old clients name the ports here."""
    ports = [port for value in query.get("ports", ()) for port in value.split(",") if port]
    for port in ports:
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise bad_request(f"invalid port {port}")
    return urlencode([("port", ",".join(ports))]) if ports else ""


_LOG_NUMBERS = (
    ("tailLines", 0, "must be greater than or equal to 0"),
    ("sinceSeconds", 1, "must be greater than 0"),
    ("limitBytes", 1, "must be greater than 0"),
)


def log_query(query: Mapping[str, Sequence[str]]) -> str:
    """The query of `log` for the kubelet. Raises: ApiError 400, 422."""
    pairs: list[tuple[str, str]] = []
    causes: list[dict[str, str]] = []
    for flag in ("follow", "previous", "timestamps"):
        if is_set(query, flag):
            pairs.append((flag, "true"))
    for name, least, why in _LOG_NUMBERS:
        text = query.get(name, [""])[0]
        if not text:
            continue
        try:
            number = int(text)
        except ValueError:
            shown = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise bad_request(shown) from None
        if number < least:
            causes.append({"reason": "FieldValueInvalid", "message": f"Invalid value: {number}: {why}", "field": name})
        pairs.append((name, text))
    since = query.get("sinceTime", [""])[0]
    if since:
        if "sinceSeconds" in query:
            message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append({"reason": "FieldValueForbidden", "message": message, "field": ""})
        pairs.append(("sinceTime", since))
    stream = query.get("stream", [""])[0]
    if stream:
        if stream not in ("All", "Stdout", "Stderr"):
            message = f'Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"'
            causes.append({"reason": "FieldValueNotSupported", "message": message, "field": "stream"})
        elif stream != "All" and "tailLines" in query:
            message = "`tailLines` and specific `stream` are mutually exclusive for now"
            causes.append({"reason": "FieldValueForbidden", "message": f"Forbidden: {message}", "field": ""})
        pairs.append(("stream", stream))
    if causes:
        raise _invalid_options(causes)
    return urlencode(pairs)


def _invalid_options(causes: list[dict[str, str]]) -> ApiError:
    texts = [f"{c['field']}: {c['message']}" if c["field"] else c["message"] for c in causes]
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = {"kind": "PodLogOptions", "causes": causes}
    return ApiError(422, "Invalid", f'PodLogOptions "" is invalid: {joined}', details)
