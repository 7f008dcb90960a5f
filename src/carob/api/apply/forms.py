"""How the values of a type merge: a `Form` per field, derived once from the shapes and from `merge_keys.json`.

A leaf is owned as a whole: a scalar, an atomic list, an atomic map. Everything else is owned item by item.

Source: structured-merge-diff's schema of the OpenAPI extensions x-kubernetes-list-type, -list-map-keys and -map-type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import codec, schema
from carob.api.patch.strategic import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAF, MAP, KEYED_LIST, SET, ANY = range(5)

# Key fields that a client may leave out are empty then (`""`, 0), but for these, which have no default, or another.
# Source: the defaults of the properties in upstream's OpenAPI.
_OPTIONAL_KEYS = {
    ("AllocatedDeviceStatus", "shareID"),
    ("FlowSchemaCondition", "type"),
    ("ObjectReference", "name"),
    ("PriorityLevelConfigurationCondition", "type"),
}
_KEY_DEFAULTS = {("ContainerPort", "protocol"): "TCP", ("ServicePort", "protocol"): "TCP"}


class Form:
    """How one value merges.

    Shape: `fields` are those of a struct (None for a map with free keys); `item` is the form of a map's values and of a
    list's items; `keys` identify an item of a keyed list; `wants` is the JSON type that a leaf must have, if any.
    """

    __slots__ = ("defaults", "fields", "item", "keys", "kind", "list_like", "wants")

    def __init__(self, kind: int, *, wants: str = "", list_like: bool = False) -> None:
        self.kind = kind
        self.fields: Mapping[str, Form] | None = None
        self.item: Form | None = None
        self.keys: tuple[str, ...] = ()
        self.defaults: Mapping[str, str | int] = {}
        self.wants = wants
        self.list_like = list_like

    def below(self, element: str) -> Form:
        """The form of what a path element of a field set (`f:name`, `k:{…}`, `v:…`) leads to."""
        if element.startswith("f:"):
            found = self.fields.get(element[2:]) if self.fields is not None else None
            return found or self.item or DEDUCED
        return self.item or DEDUCED

    def names(self, element: str) -> bool:
        """Whether a path element is a field that the type has, and not a free key."""
        return self.fields is not None and element.startswith("f:") and element[2:] in self.fields

    def of(self, value: Any) -> Form:
        """The form itself, or, where the type says nothing, the one that fits a value."""
        if self.kind != ANY:
            return self
        return _FREE_MAP if isinstance(value, dict) else _LEAF


_LEAF = Form(LEAF)
_ANYTHING = Form(LEAF, wants="anything")
DEDUCED = Form(ANY)
_FREE_MAP = Form(MAP)
_FREE_MAP.item = DEDUCED

_WANTS = {
    schema.STRING: "string",
    schema.BYTES: "string",
    schema.INT32: "number",
    schema.INT64: "number",
    schema.FLOAT: "number",
    schema.BOOL: "boolean",
}
_SCALARS = {kind: Form(LEAF, wants=wants) for kind, wants in _WANTS.items()}


def form_of(struct: type[Any]) -> Form:
    """The form of a kind."""
    found = _forms.get(struct)
    if found is None:
        found = _forms[struct] = _struct(schema.shape_of(struct), "")
    return found


_forms: dict[type[Any], Form] = {}
_structs: dict[tuple[type[Any], bool], Form] = {}


def _struct(shape: schema.StructShape, override: str) -> Form:
    name = schema.wire_name(shape.struct)
    atomic = (override or facts_of(name, "").get("map", "")) == "atomic"
    known = _structs.get((shape.struct, atomic))
    if known is not None:
        return known
    form = _structs[shape.struct, atomic] = Form(LEAF if atomic else MAP, wants="map")
    # an atomic struct keeps its fields: an applied value is still checked against them
    form.fields = {field: _form(inner, facts_of(name, field)) for field, inner in shape.fields.items()}
    return form


def _form(shape: schema.Shape, facts: Mapping[str, Any]) -> Form:
    if isinstance(shape, schema.StructShape):
        return _struct(shape, facts.get("map", ""))
    if isinstance(shape, schema.Scalar):
        return _ANYTHING if shape.kind == schema.ANY else _SCALARS.get(shape.kind, _LEAF)
    if isinstance(shape, schema.MapShape):
        form = Form(LEAF if facts.get("map") == "atomic" else MAP, wants="map")
        form.item = _form(shape.value, {})
        return form
    kind = {"map": KEYED_LIST, "set": SET}.get(facts.get("list", ""), LEAF)
    form = Form(kind, wants="list", list_like=True)
    form.item = _form(shape.item, {})
    if kind == KEYED_LIST:
        form.keys = tuple(sorted(facts["keys"]))
        form.defaults = _defaults(facts.get("ref", "").rpartition(".")[2], form)
    return form


def _defaults(type_name: str, form: Form) -> dict[str, str | int]:
    fields = (form.item.fields if form.item is not None else None) or {}
    out: dict[str, str | int] = {}
    for key in form.keys:
        if (type_name, key) not in _OPTIONAL_KEYS:
            empty = 0 if key in fields and fields[key].wants == "number" else ""
            out[key] = _KEY_DEFAULTS.get((type_name, key), empty)
    return out


# Keyed lists that a Go struct writes as null before anybody fills them: who fills them does not own the whole list.
# Only fields that every object of the kind has can be among them.
_ALWAYS = {("core/v1.PodSpec", "containers")}
_empty: dict[type[Any], dict[str, Any]] = {}


def empty_of(struct: type[Any]) -> dict[str, Any]:
    """What a kind's object holds before anybody writes to it: its structs, and what is written even if null.

    Source: a new object of the Go type, as `handlers/create.go` compares with it.
    """
    tree = _empty.get(struct)
    if tree is None:
        tree = _empty[struct] = codec.to_tree(struct())
        _fill(tree, schema.shape_of(struct))
    return tree


def _fill(tree: dict[str, Any], shape: schema.StructShape) -> None:
    type_name = schema.wire_name(shape.struct)
    for field, inner in shape.fields.items():
        if (type_name, field) in _ALWAYS:
            tree.setdefault(field, None)
        value = tree.get(field)
        if isinstance(inner, schema.StructShape) and isinstance(value, dict):
            _fill(value, inner)
