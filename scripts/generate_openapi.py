#!/usr/bin/env python3
"""Generate `carob/apiserver/openapi/definitions.json.gz`: the schemas of every type that the API server serves.

Sources, both facts and not code: the OpenAPI definitions of Kubernetes that the package `kubernetes-validate` carries,
carob's wire table `carob/api/protobuf_table.json` (which fields are pointers, hence have no default), and
`scripts/openapi_facts.json` (enums, and defaults that differ from Go's zero value), which the package lacks.

`--descriptions` writes `descriptions.json.gz` instead: the prose that `kubectl explain` shows. It belongs into the built
wheel and into nobody's repository; the build step (setup.py) calls it.

Run it as `scripts/generate_openapi.py` in the development environment; the definitions are committed.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src/carob/apiserver/openapi"
FACTS = Path(__file__).with_name("openapi_facts.json")
VERSION = "v1.36.0-local"
REFERENCE = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# kinds that every group has in its own name: the document adds its group
EVERYWHERE = (META + "DeleteOptions", META + "WatchEvent")
ZERO = {"string": "", "integer": 0, "number": 0, "boolean": False}

Tree = dict[str, Any]


def load() -> Tree:
    """The definitions of the package, by full name."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("the package kubernetes-validate is not installed")
    path = Path(spec.origin).parent / "kubernetes-json-schema" / VERSION / "_definitions.json"
    definitions: Tree = json.loads(path.read_text())["$defs"]
    return definitions


def short(name: str) -> str:
    """`io.k8s.api.core.v1.Pod` -> `core/v1.Pod`: as the wire table names it."""
    *_, group, version, kind = name.split(".")
    return f"{group}/{version}.{kind}"


def pointers(wire: Tree, name: str) -> dict[str, bool]:
    """Field -> whether it is a pointer, embedded Structs included."""
    found: dict[str, bool] = {}
    for field, kind, flag in wire.get(name, {}).values():
        if field:
            found[field] = flag == 1
        else:
            found |= pointers(wire, kind[1])
    return found


def plain(schema: Tree) -> Tree:
    """A schema in OpenAPI 3's words: no `null`, no prose, references into the document."""
    out: Tree = {}
    kind = schema.get("type")
    if kind is not None:
        out["type"] = next(k for k in kind if k != "null") if isinstance(kind, list) else kind
    if "$ref" in schema:
        out["$ref"] = REFERENCE + schema["$ref"].rpartition("/")[2]
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: plain(one) for name, one in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            out[key] = plain(value)
        elif key in ("format", "required") or key.startswith("x-kubernetes-"):
            out[key] = value
    return out


def default_of(field: Tree, required: bool, pointer: bool, definitions: Tree) -> Any:
    """Go's zero value where Go writes it always; None for no default."""
    reference = field.get("$ref", "").rpartition("/")[2]
    if reference:
        is_struct = "properties" in definitions[reference]
        return {} if is_struct and not pointer else None
    if required and not pointer and not (field.get("type") == "string" and "format" in field):
        return ZERO.get(field.get("type", ""))
    return None


def schema_of(name: str, definitions: Tree, wire: Tree, facts: Tree) -> Tree:
    """The schema of one type as the API server publishes it."""
    schema = plain(definitions[name])
    table = pointers(wire, short(name)) if name.count(".") > 3 else {}
    defaults, enums = facts["defaults"].get(short(name), {}), facts["enums"].get(short(name), {})
    for field, one in schema.get("properties", {}).items():
        value = default_of(one, field in schema.get("required", ()), table.get(field, False), definitions)
        if field in defaults:
            value = defaults[field]
        described = definitions[name]["properties"][field].get("description")
        if "$ref" in one and (described or value is not None):
            # beside `$ref` nothing else counts
            one["allOf"] = [{"$ref": one.pop("$ref")}]
        if value is not None:
            one["default"] = value
        if field in enums:
            inner = one.get("items") or one.get("additionalProperties") or one
            inner["enum"] = enums[field]
    schema.update(facts["whole"].get(short(name), {}))
    if name in EVERYWHERE:
        kind = name.removeprefix(META)
        schema["x-kubernetes-group-version-kind"] = [{"group": "", "kind": kind, "version": "v1"}]
    return schema


def descriptions_of(definitions: Tree, names: list[str]) -> Tree:
    """Type -> [prose of the type, {field: prose}]."""
    out: Tree = {}
    for name in names:
        fields = definitions[name].get("properties", {})
        prose = {field: one["description"] for field, one in fields.items() if one.get("description")}
        out[name] = [definitions[name].get("description", ""), prose]
    return out


def closure(roots: list[str], definitions: Tree) -> list[str]:
    """Every type that the roots refer to, and the roots, sorted."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        text = json.dumps(definitions[name])
        waiting += [part.partition('"')[0] for part in text.split('"#/$defs/')[1:]]
    return sorted(found)


def write(path: Path, tree: Any) -> None:
    """Write packed JSON, the same bytes for the same tree."""
    packed = gzip.compress(json.dumps(tree, separators=(",", ":"), sort_keys=True).encode(), 9, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    print(f"{path}: {len(packed)} bytes")


def main(arguments: list[str]) -> None:
    """Write the definitions, or with `--descriptions [FOLDER]` the prose."""
    definitions = load()
    facts = json.loads(FACTS.read_text())
    names = closure(facts["roots"], definitions)
    if arguments[:1] == ["--descriptions"]:
        folder = Path(arguments[1]) if len(arguments) > 1 else OUT
        write(folder / "descriptions.json.gz", descriptions_of(definitions, names))
        return
    wire = json.loads((ROOT / "src/carob/api/protobuf_table.json").read_text())
    write(OUT / "definitions.json.gz", {name: schema_of(name, definitions, wire, facts) for name in names})


if __name__ == "__main__":
    main(sys.argv[1:])
