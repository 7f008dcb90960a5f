"""Bodies to Structs: type errors in Go's words, unknown and duplicate fields named or warned of, nulls as Go means them.

Pure. The fast path decodes with msgspec and looks once over the tree with set operations; only a body in which something
is unusual is walked slowly, in document order.

Source: apimachinery `runtime/serializer/json`, apiserver `handlers/create.go` and `rest.go` (transformDecodeError).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from carob.api import codec, go_json, quantity, schema, timestamps
from carob.api.go_json import Number, Pairs
from carob.api.status import ApiError, bad_request
from carob.api.types import meta_v1

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"
MAX_STRICT_ERRORS = 100

_SCHEMES = {"apiextensions.k8s.io": "pkg/apiserver/apiserver.go:55"}
_LEGACY_SCHEME = "pkg/api/legacyscheme/scheme.go:30"
_HEADER_TYPE = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'


class WrongType(ValueError):
    """A value that does not fit its field; the message is Go's."""


def decode_body(
    resource: Resource, body: bytes, content_type: str, field_validation: str = WARN
) -> tuple[Any, list[str]]:
    """The object that a request's body holds, and the warnings for the client.

    Shape: a fresh Struct of `resource` without defaults; for a custom resource the tree.
    `content_type` comes without parameters.
    Raises: ApiError 400 in upstream's words.
    """
    if resource.custom:
        if content_type == CBOR:
            body, content_type = _json_of_cbor(None, body), JSON
        return _decode_tree(resource, body, content_type, field_validation)
    return decode_as(resource.struct, resource.group, body, content_type, field_validation)


def decode_as(
    struct: type[Any], group: str, body: bytes, content_type: str, field_validation: str = WARN
) -> tuple[Any, list[str]]:
    """As `decode_body`, for any Struct with kind and apiVersion, such as a subresource's or DeleteOptions."""
    if content_type == PROTOBUF:
        from carob.api import protobuf

        try:
            return codec.from_tree(struct, protobuf.decode(body, struct)), []
        except (protobuf.ProtobufError, msgspec.ValidationError) as error:
            raise _unrecognized(struct, str(error), body) from None
    if content_type == YAML:
        return _decode_yaml(struct, group, body, field_validation)
    if content_type == CBOR:
        body = _json_of_cbor(struct, body)
    shape = schema.shape_of(struct)
    try:
        obj = codec.decode(struct, body)
        tree = orjson.loads(body)
    except (msgspec.DecodeError, orjson.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(shape, group, body, field_validation)
    if b'"managedFields"' in body and not _usual_owners(obj, body):
        return _decode_slowly(shape, group, body, field_validation)
    if _is_usual(tree, shape) and (field_validation == IGNORE or not has_duplicates(body, tree)):
        _check_kind(obj, struct, group)
        return obj, []
    return _decode_slowly(shape, group, body, field_validation)


def _json_of_cbor(struct: type[Any] | None, body: bytes) -> bytes:
    """What a body in CBOR says, as JSON. Raises: ApiError 400."""
    from carob.api import cbor

    try:
        return orjson.dumps(cbor.decode(body))
    except (cbor.CborError, orjson.JSONEncodeError) as error:
        if struct is None:
            raise bad_request(f"error unmarshaling CBOR: {error}") from None
        raise _unrecognized(struct, str(error), body) from None


def _usual_owners(obj: Any, body: bytes) -> bool:
    """Whether managedFields, which decoding does not look into, are a list of entries and stand nowhere but on top."""
    owners = getattr(getattr(obj, "metadata", None), "managed_fields", None)
    if owners is None or body.count(b'"managedFields"') != 1:
        return False
    try:
        msgspec.json.decode(owners, type=list[meta_v1.ManagedFieldsEntry])
    except msgspec.DecodeError:
        return False
    return True


def _is_usual(tree: Any, shape: Any) -> bool:
    """True if nothing is unknown, every text with a form of its own is in canonical form, and no null matters."""
    # plain loops and class checks: this runs for every value of every body
    if shape.__class__ is schema.StructShape:
        if tree.__class__ is not dict:
            return False  # a wrong type inside of what decoding does not look into
        special = shape.looks.get(tuple(tree))
        if special is None:
            special = shape.look(tuple(tree))
            if special is None:
                return False
        for key, below in special:
            value = tree[key]
            if value is not None and not _is_usual(value, below):
                return False
        return True
    if shape.__class__ is schema.ListShape:
        item = shape.item
        if tree.__class__ is not list:
            return False
        for value in tree:  # noqa: SIM110 - a generator costs as much as what it asks
            if value is None or not _is_usual(value, item):
                return False
        return True
    if shape.__class__ is schema.MapShape:
        return all(value is not None and _is_usual(value, shape.value) for value in tree.values())
    check = _CANONICAL_FORMS.get(shape.kind)
    return check is None or (tree.__class__ is str and check(tree) is not None)


# days that surely exist; the 29th of February is left to the slow path
_DAY = r"2\d{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_CANONICAL_FORMS: dict[str, Callable[[str], object]] = {
    schema.TIME: re.compile(_DAY + r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII).fullmatch,
    schema.MICRO_TIME: re.compile(_DAY + r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII).fullmatch,
    schema.BYTES: re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII).fullmatch,
}


def has_duplicates(body: bytes, tree: Any) -> bool:
    """True if a key may have come twice: then the text is longer than what was read from it."""
    return len(msgspec.json.format(body, indent=-1)) != len(orjson.dumps(tree))


def _decode_slowly(shape: schema.StructShape, group: str, body: bytes, field_validation: str) -> tuple[Any, list[str]]:
    try:
        value = go_json.parse(body)
    except go_json.JsonError as error:
        raise _unrecognized(shape.struct, f"couldn't get version/kind; json parse error: {error}", body) from None
    return _from_value(shape, group, value, body, field_validation, [])


def _decode_yaml(struct: type[Any], group: str, body: bytes, field_validation: str) -> tuple[Any, list[str]]:
    from carob.api import yaml_tree

    try:
        value, duplicates = yaml_tree.parse(body)
    except yaml_tree.YamlError as error:
        raise _unrecognized(struct, str(error), body) from None
    return _from_value(schema.shape_of(struct), group, value, body, field_validation, duplicates)


def _from_value(
    shape: schema.StructShape, group: str, value: Any, body: bytes, field_validation: str, complaints: list[str]
) -> tuple[Any, list[str]]:
    if not isinstance(value, Pairs):
        kind = _json_kind(value)
        if kind != "null":
            words = f"json: cannot unmarshal {kind} into Go value of type {_HEADER_TYPE}"
            raise _unrecognized(shape.struct, f"couldn't get version/kind; json parse error: {words}", body)
        value = Pairs()
    api_version, kind = _header(shape.struct, value, body)
    obj_kind = _Header(kind, api_version)
    _check_kind(obj_kind, shape.struct, group)
    walker = _Walker()
    walker.complaints += complaints
    try:
        tree = walker.walk(value, shape, "", "", shape.name)
        if walker.wrong_type is not None:
            raise walker.wrong_type
        obj = codec.from_tree(shape.struct, tree)
    except (WrongType, msgspec.ValidationError) as error:
        raise _cannot_handle(shape.struct, obj_kind, str(error)) from None
    found = walker.complaints[:MAX_STRICT_ERRORS] if field_validation != IGNORE else []
    if found and field_validation == STRICT:
        raise _cannot_handle(shape.struct, obj_kind, "strict decoding error: " + ", ".join(found))
    return obj, found


class _Header:
    """Kind and apiVersion alone."""

    def __init__(self, kind: str, api_version: str) -> None:
        self.kind, self.api_version = kind, api_version


def _header(struct: type[Any], value: Pairs, body: bytes) -> tuple[str, str]:
    fields = {k: v for k, v in value if k in ("kind", "apiVersion")}
    for name in ("kind", "apiVersion"):
        given = fields.get(name)
        if given is not None and (not isinstance(given, str) or isinstance(given, Number)):
            words = f"json: cannot unmarshal {_json_kind(given)} into Go struct field .{name} of type string"
            raise _unrecognized(struct, f"couldn't get version/kind; json parse error: {words}", body)
    own_kind, own_version = _own_header(struct)
    return fields.get("apiVersion") or own_version, fields.get("kind") or own_kind


_own_headers: dict[type[Any], tuple[str, str]] = {}


def _own_header(struct: type[Any]) -> tuple[str, str]:
    """Kind and apiVersion that objects of the Struct have; empty for Structs without."""
    found = _own_headers.get(struct)
    if found is None:
        fresh = struct()
        found = _own_headers[struct] = (getattr(fresh, "kind", ""), getattr(fresh, "api_version", ""))
    return found


def _check_kind(obj: Any, struct: type[Any], group: str) -> None:
    """Refuse an object of another kind. Raises: ApiError."""
    own_kind, own_version = _own_header(struct)
    if (obj.kind == own_kind and obj.api_version == own_version) or not own_kind:
        return  # options and the like have no kind of their own: they come as any version's
    if not obj.kind or not obj.api_version:
        obj.kind, obj.api_version = obj.kind or own_kind, obj.api_version or own_version
        _check_kind(obj, struct, group)
        return
    scheme = _SCHEMES.get(group, _LEGACY_SCHEME)
    words = f'no kind "{obj.kind}" is registered for version "{obj.api_version}" in scheme "{scheme}"'
    if _is_built_in(obj.api_version, obj.kind):
        version = obj.api_version.rpartition("/")[2]
        words = f"converting ({version}.{obj.kind}) to ({_internal(group)}.{own_kind}): unknown conversion"
    raise _cannot_handle(struct, obj, words)


def _is_built_in(api_version: str, kind: str) -> bool:
    from carob.api.resources import TABLE

    return TABLE.by_kind(api_version, kind) is not None


def _internal(group: str) -> str:
    return group.split(".")[0] or "core"


def _cannot_handle(struct: type[Any], obj: Any, words: str) -> ApiError:
    version = obj.api_version.rpartition("/")[2]
    return bad_request(f'{obj.kind} in version "{version}" cannot be handled as a {struct.__name__}: {words}')


def _unrecognized(struct: type[Any], words: str, body: bytes) -> ApiError:
    shown = _summary(body)
    return bad_request(f"the object provided is unrecognized (must be of type {struct.__name__}): {words} ({shown})")


def _summary(body: bytes, limit: int = 30) -> str:
    if not body:
        return "<empty>"
    text = body[:limit].decode("utf-8", "replace") if body[:1] == b"{" else body[:limit].hex()
    return f"{text} ..." if len(body) > limit else text


def _json_kind(value: Any) -> str:
    if isinstance(value, Pairs | dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, bool):
        return "bool"
    if value is None:
        return "null"
    return "number" if isinstance(value, Number | int | float) else "string"


class _Walker:
    """One walk over a value in document order.

    `complaints` names unknown and duplicate fields; `wrong_type` is the first value of a wrong type, which, as in Go,
    gives way to a scalar that refuses itself later in the text.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.wrong_type: WrongType | None = None

    def _complain(self, words: str) -> None:
        # no more are told, and a body may hold a million: looking for each among all others would take minutes
        if len(self.complaints) < MAX_STRICT_ERRORS and words not in self.complaints:
            self.complaints.append(words)

    def walk(self, value: Any, shape: schema.Shape, path: str, field: str, owner: str) -> Any:
        """The plain tree of `value` without nulls.

        `path` names the place with indices, `field` without; `owner` is the Struct whose field it is.
        Raises: WrongType from a scalar with a form of its own.
        """
        if isinstance(shape, schema.StructShape):
            return self._struct(value, shape, path, field, owner)
        if isinstance(shape, schema.ListShape):
            if not isinstance(value, list) or isinstance(value, Pairs):
                return self._mismatch(value, shape, field, owner)
            return [
                schema.nothing(shape.item) if v is None else self.walk(v, shape.item, f"{path}[{i}]", field, owner)
                for i, v in enumerate(value)
            ]
        if isinstance(shape, schema.MapShape):
            return self._map(value, shape, path, field, owner)
        if shape.kind == schema.ANY:
            return self._any(value, path)
        return self._scalar(value, shape, field, owner)

    def _struct(self, value: Any, shape: schema.StructShape, path: str, field: str, owner: str) -> Any:
        if not isinstance(value, Pairs | dict):
            return self._mismatch(value, shape, field, owner)
        out: dict[str, Any] = {}
        prefix, short = (path + "." if path else ""), (field + "." if field else "")
        seen: set[str] = set()
        for key, item in value if isinstance(value, Pairs) else value.items():
            if key not in shape.known:
                self._complain(f'unknown field "{prefix}{key}"')
                continue
            if key in seen:
                self._complain(f'duplicate field "{prefix}{key}"')
            seen.add(key)
            if item is not None:
                out[key] = self.walk(item, shape.fields[key], prefix + key, short + key, shape.name)
        return out

    def _map(self, value: Any, shape: schema.MapShape, path: str, field: str, owner: str) -> Any:
        if not isinstance(value, Pairs | dict):
            return self._mismatch(value, shape, field, owner)
        out: dict[str, Any] = {}
        for key, item in value if isinstance(value, Pairs) else value.items():
            if key in out:
                self._complain(f'duplicate field "{path}.{key}"')
            out[key] = (
                schema.nothing(shape.value)
                if item is None
                else self.walk(item, shape.value, f"{path}.{key}", field, owner)
            )
        return out

    def _any(self, value: Any, path: str) -> Any:
        if isinstance(value, Pairs):
            out: dict[str, Any] = {}
            for key, item in value:
                if key in out:
                    self._complain(f'duplicate field "{path}.{key}"')
                out[key] = self._any(item, f"{path}.{key}")
            return out
        if isinstance(value, list):
            return [self._any(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return go_json.plain(value)

    def _mismatch(self, value: Any, shape: schema.Shape, field: str, owner: str, literal: str = "") -> Any:
        if self.wrong_type is None:
            kind = _json_kind(value) + literal
            where = f"struct field {owner}.{field}" if field else "value"
            self.wrong_type = WrongType(
                f"json: cannot unmarshal {kind} into Go {where} of type {schema.go_type(shape)}"
            )
        return schema.nothing(shape)

    def _scalar(self, value: Any, shape: schema.Scalar, field: str, owner: str) -> Any:
        kind, given = shape.kind, _json_kind(value)
        if kind == schema.QUANTITY:
            if given not in ("string", "number"):
                raise WrongType(quantity.ERROR_FORMAT)
            return self._own_form(quantity.canonical, str(value))
        if kind == schema.INT_OR_STRING and given == "string":
            return value
        if kind in (schema.INT32, schema.INT64, schema.INT_OR_STRING):
            return self._integer(value, shape, field, owner)
        if kind == schema.FLOAT and given == "number":
            return float(value)
        if kind == schema.BOOL and given == "bool":
            return value
        if given != "string" or kind in (schema.BOOL, schema.FLOAT):
            return self._mismatch(value, shape, field, owner)
        if kind in (schema.TIME, schema.MICRO_TIME):
            return self._own_form(lambda text: timestamps.canonical(text, micro=kind == schema.MICRO_TIME), value)
        return self._own_form(_base64, value) if kind == schema.BYTES else value

    @staticmethod
    def _own_form(read: Callable[[str], Any], text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise WrongType(str(error)) from None

    def _integer(self, value: Any, shape: schema.Scalar, field: str, owner: str) -> Any:
        if _json_kind(value) != "number":
            return self._mismatch(value, shape, field, owner)
        text = str(value)
        bits = 64 if shape.kind == schema.INT64 else 32
        digits = text.lstrip("-")
        if (
            digits.isdigit()
            and digits.isascii()
            and len(digits) < 21
            and -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1)
        ):
            return int(text)
        return self._mismatch(value, shape, field, owner, f" {text}")


def _base64(text: str) -> str:
    """The text in canonical base64. Raises: ValueError in Go's words."""
    clean = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64encode(base64.b64decode(clean.encode("utf-8", "replace"), validate=True)).decode()
    except (binascii.Error, ValueError):
        match = re.match(r"(?:[A-Za-z0-9+/\r\n]*)", text)
        end = match.end() if match else 0
        # Go names the first byte that does not belong; a text that only stops too early, the start of its last group
        raise ValueError(
            f"illegal base64 data at input byte {end if end < len(text) else len(clean) // 4 * 4}"
        ) from None


def check_tree(shape: schema.StructShape, tree: Any) -> tuple[Any, list[str]]:
    """The Struct of a plain tree (dicts), and the unknown fields; for objects that a patch made.

    Raises: WrongType in Go's words.
    """
    try:
        # most patched objects are as usual as most bodies; the walk costs fifty times as much
        obj = codec.from_tree(shape.struct, tree)
        if _is_usual(tree, shape):
            return obj, []
    except msgspec.ValidationError:
        pass
    walker = _Walker()
    plain = walker.walk(tree, shape, "", "", shape.name)
    if walker.wrong_type is not None:
        raise walker.wrong_type
    try:
        return codec.from_tree(shape.struct, plain), walker.complaints[:MAX_STRICT_ERRORS]
    except msgspec.ValidationError as error:
        raise WrongType(str(error)) from None


def duplicates_in(value: Any) -> list[str]:
    """What is said of keys that come twice anywhere in a parsed value."""
    walker = _Walker()
    if isinstance(value, Pairs):
        seen: set[str] = set()
        for key, item in value:
            if key in seen:
                walker._complain(f'duplicate field "{key}"')
            seen.add(key)
            walker._any(item, key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            walker._any(item, f"[{i}]")
    return walker.complaints


def _decode_tree(
    resource: Resource, body: bytes, content_type: str, field_validation: str
) -> tuple[dict[str, Any], list[str]]:
    """A custom resource: the tree, duplicates named; its fields are judged by the definition's schema."""
    try:
        if content_type == YAML:
            from carob.api import yaml_tree

            value, complaints = yaml_tree.parse(body)
        else:
            value, complaints = go_json.parse(body), []
    except ValueError as error:
        raise bad_request(f"error unmarshaling JSON: {error}") from None
    if not isinstance(value, Pairs):
        raise bad_request(
            f"error unmarshaling JSON: json: cannot unmarshal {_json_kind(value)} into Go value of type map[string]interface {{}}"
        )
    complaints = complaints + duplicates_in(value)
    tree: dict[str, Any] = go_json.plain(value)
    tree.setdefault("kind", resource.kind)
    tree.setdefault("apiVersion", resource.api_version)
    if complaints and field_validation == STRICT:
        words = "strict decoding error: " + ", ".join(complaints)
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {words}'
        )
    return tree, complaints if field_validation != IGNORE else []
