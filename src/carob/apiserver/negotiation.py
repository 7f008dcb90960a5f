"""Which form of an answer a client wants, from its `Accept` header, and which form its body has.

Pure. Forms: JSON, YAML, protobuf and CBOR of the object itself, of a Table, of PartialObjectMetadata. There are no watches
in YAML and no Tables in protobuf; what has no protobuf form (custom resources) is JSON for who would take both.

Source: apiserver `pkg/endpoints/handlers/negotiation`; the words of refusals are upstream's.
Differs: CBOR is served without a feature gate.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from carob.api.status import ApiError

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"
CBOR_SEQUENCE = "application/cbor-seq"

TABLE = "Table"
PARTIAL = "PartialObjectMetadata"
PARTIAL_LIST = "PartialObjectMetadataList"

_KNOWN = frozenset((JSON, YAML, PROTOBUF, CBOR, CBOR_SEQUENCE, "*/*", "application/*"))
_OBJECTS = f"{JSON}, {YAML}, {PROTOBUF}"
_STREAMS = f"{JSON};stream=watch, {PROTOBUF};stream=watch"


class Form(Struct, frozen=True):
    """How an answer is written. `kind` is empty for the object itself, else a kind of meta.k8s.io in `version`."""

    media: str = JSON
    kind: str = ""
    version: str = "v1"
    pretty: bool = False

    @property
    def api_version(self) -> str:
        """The apiVersion of a transformed answer."""
        return f"meta.k8s.io/{self.version}"

    @property
    def stream_media(self) -> str:
        """The Content-Type of a watch."""
        return _STREAM_MEDIA[self.media]


_STREAM_MEDIA = {JSON: JSON, PROTOBUF: f"{PROTOBUF};stream=watch", CBOR: CBOR_SEQUENCE}
PLAIN = Form()
_PRETTY = Form(pretty=True)


class Clause(Struct, frozen=True):
    """A part of an Accept header."""

    media: str
    parameters: tuple[tuple[str, str], ...]
    quality: float

    def get(self, name: str) -> str:
        """The value of a parameter; empty where there is none."""
        return next((value for key, value in self.parameters if key == name), "")


# of Accept headers: who writes longer ones every time must not fill the memory
LONGEST_REMEMBERED = 1024


def form_of(
    accept: str, *, watch: bool = False, pretty: bool = False, protobuf: bool = False, tables: bool = True
) -> Form:
    """The first form that the client accepts and that we have; `protobuf` and `tables` say whether there is one.

    Raises: ApiError 406.
    """
    if accept in ("", JSON, "*/*"):
        return _PRETTY if pretty else PLAIN
    if len(accept) > LONGEST_REMEMBERED:
        return _parsed(accept, watch, pretty, protobuf, tables)
    return _negotiated(accept, watch, pretty, protobuf, tables)


def _parsed(accept: str, watch: bool, pretty: bool, protobuf: bool, tables: bool) -> Form:
    clauses = parse(accept)
    if not any(clause.media in _KNOWN for clause in clauses):
        message = f"406: Not Acceptable\n\nAvailable representations: {_OBJECTS}, {_STREAMS}"
        raise ApiError(406, "NotAcceptable", message, {})
    for clause in clauses:
        form = _form(clause, watch, pretty, protobuf)
        if form is not None and (tables or form.kind != TABLE):
            return form
    raise not_acceptable(_STREAMS if watch else _OBJECTS)


_negotiated = lru_cache(maxsize=512)(_parsed)


def not_acceptable(known: str = _OBJECTS) -> ApiError:
    """406: the client accepts nothing that this endpoint can write."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {known}")


def unsupported_media_type(known: str = _OBJECTS) -> ApiError:
    """415: the body's Content-Type is none that this endpoint reads."""
    message = f"the body of the request was in an unknown format - accepted media types include: {known}"
    return ApiError(415, "UnsupportedMediaType", message)


def _form(clause: Clause, watch: bool, pretty: bool, protobuf: bool) -> Form | None:
    media = JSON if clause.media in ("*/*", "application/*") else clause.media
    if watch and media == CBOR_SEQUENCE:
        media = CBOR
    if media not in (JSON, YAML, PROTOBUF, CBOR) or (watch and media == YAML):
        return None
    kind = clause.get("as")
    if media == PROTOBUF and (kind == TABLE or not (protobuf or kind)):
        return None
    pretty = media == JSON and (pretty or clause.get("pretty") in ("1", "true"))
    if not kind:
        return Form(media, pretty=pretty)
    version = clause.get("v")
    if clause.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    if kind not in (TABLE, PARTIAL, PARTIAL_LIST):
        return None
    return Form(media, kind, version, pretty)


def parse(accept: str) -> list[Clause]:
    """The clauses of an Accept header, best first; equal ones keep their order."""
    clauses = []
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if not media:
            continue
        pairs = tuple((key.strip(), value.strip()) for key, _, value in (p.partition("=") for p in parameters))
        quality = 1.0
        for key, value in pairs:
            if key == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 1.0
        clauses.append(Clause(media.lower(), pairs, quality))
    clauses.sort(key=lambda clause: (-clause.quality, clause.media == "*/*", clause.media.endswith("/*")))
    return clauses


def wants_pretty(query_value: str, user_agent: str) -> bool:
    """Whether a person is likely to read the JSON: asked for, or a browser's or curl's habit.

    Source: apiserver `negotiation.isPrettyPrint`.
    """
    if query_value:
        return query_value in ("1", "true", "True", "TRUE", "t", "T")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def media_type(content_type: str) -> str:
    """The media type of a Content-Type header without its parameters, lower case; JSON when there is none."""
    return content_type.partition(";")[0].strip().lower() if content_type else JSON
