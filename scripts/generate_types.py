#!/usr/bin/env python3
"""Generate `carob/api/types/*.py`: the Structs of every kind that carob serves, a module per API group and version.

Sources, both facts and not code: the OpenAPI definitions of Kubernetes that the package `kubernetes-validate` carries
(field names, types, which fields are always written, list and merge keys) and carob's wire table
`carob/api/protobuf_table.json` (which fields are pointers, so that an explicit zero differs from absence).

The Structs keep Go's rules, because clients can see them:

- a field that is no pointer has its zero value when absent, and a zero value is not written;
- a field that Go writes always (no `omitempty`) is written always;
- a pointer is `T | None`; its explicit zero is kept.

Run it as `scripts/generate_types.py` in the development environment; the result is committed.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src/carob/api/types"
VERSION = "v1.36.0-local"

# group of the Go package -> API group
GROUPS = {
    "core": "",
    "apps": "apps",
    "batch": "batch",
    "autoscaling": "autoscaling",
    "policy": "policy",
    "networking": "networking.k8s.io",
    "rbac": "rbac.authorization.k8s.io",
    "storage": "storage.k8s.io",
    "scheduling": "scheduling.k8s.io",
    "coordination": "coordination.k8s.io",
    "discovery": "discovery.k8s.io",
    "events": "events.k8s.io",
    "node": "node.k8s.io",
    "admissionregistration": "admissionregistration.k8s.io",
    "apiextensions": "apiextensions.k8s.io",
    "apiregistration": "apiregistration.k8s.io",
    "authentication": "authentication.k8s.io",
    "authorization": "authorization.k8s.io",
    "certificates": "certificates.k8s.io",
    "flowcontrol": "flowcontrol.apiserver.k8s.io",
    "resource": "resource.k8s.io",
    "meta": "meta.k8s.io",
}
MODULES = [f"{g}/v1" for g in GROUPS] + ["autoscaling/v2", "certificates/v1beta1"]

SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int | str",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "MicroTime",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Any",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "Any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "Any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "Any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "Any",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "Any",
}
# the apiregistration types have no protobuf definition of their own in the wire table: pointers named by hand
POINTERS = {
    ("apiregistration/v1.APIServiceSpec", "service"),
    ("apiregistration/v1.ServiceReference", "port"),
    ("storage/v1.VolumeAttachmentSource", "inlineVolumeSpec"),
}
SCALARS = ("FieldsV1", "Int32", "Int64", "ManagedFields", "MicroTime", "NOTHING", "Quantity", "Time")
# what Go writes although OpenAPI calls it optional (seen in upstream's answers)
ALWAYS = {
    "core/v1.PodCondition": ("lastProbeTime", "lastTransitionTime"),
    "core/v1.ContainerStateRunning": ("startedAt",),
    "core/v1.ContainerStateTerminated": ("startedAt", "finishedAt"),
    "batch/v1.JobCondition": ("lastProbeTime", "lastTransitionTime"),
    "core/v1.NodeCondition": ("lastHeartbeatTime", "lastTransitionTime"),
    "core/v1.Event": (
        "firstTimestamp",
        "lastTimestamp",
        "eventTime",
        "reportingComponent",
        "reportingInstance",
        "source",
    ),
    "events/v1.Event": ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"),
    "policy/v1.PodDisruptionBudgetStatus": ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"),
    "apps/v1.StatefulSetStatus": ("availableReplicas",),
    "apps/v1.StatefulSetSpec": ("serviceName",),
    "authentication/v1.TokenRequestSpec": ("boundObjectRef",),
    "core/v1.TypedLocalObjectReference": ("apiGroup",),
}
# who owns which field is large and rarely looked at: it stays the bytes that it came as
RAW = {
    ("meta/v1.ObjectMeta", "managedFields"): "ManagedFields",
    ("meta/v1.ManagedFieldsEntry", "fieldsV1"): "FieldsV1",
}
# lists that Go writes as null when they were never set
NULL_LISTS = {
    ("rbac/v1.Role", "rules"),
    ("rbac/v1.ClusterRole", "rules"),
    ("discovery/v1.EndpointSlice", "endpoints"),
    ("discovery/v1.EndpointSlice", "ports"),
    ("autoscaling/v2.HorizontalPodAutoscalerStatus", "currentMetrics"),
    ("storage/v1.CSINodeSpec", "drivers"),
    ("apiextensions/v1.CustomResourceDefinitionStatus", "conditions"),
    ("resource/v1.DeviceClaim", "requests"),
}
# the field that comes first in the JSON of every object, so that its head can be cut off in constant time
FIRST = ["kind", "apiVersion", "metadata"]


def short_name(full: str) -> str:
    """`io.k8s.api.core.v1.Pod` -> `core/v1.Pod`: the key of the wire table."""
    parts = full.split(".")
    name, version = parts[-1], parts[-2]
    return f"{parts[-3]}/{version}.{name}"


def snake(name: str) -> str:
    """`podCIDRs` -> `pod_cidrs`, `clusterIPs` -> `cluster_ips`, `fieldsV1` -> `fields_v1`."""
    name = re.sub(r"^\$", "", name).replace("-", "_")
    name = re.sub(r"([A-Z]{2,})s(?=[A-Z]|$)", lambda m: m.group(1).capitalize() + "s", name)
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()
    return name + "_" if keyword.iskeyword(name) or name in ("int", "bool", "str", "float", "list", "dict") else name


class Generator:
    """Walks the definitions once per module and writes its source."""

    def __init__(self, definitions: dict, wire: dict) -> None:
        self.definitions = definitions
        self.wire: dict[str, dict[str, list]] = {}
        for name, fields in wire.items():
            flat: dict[str, list] = {}
            for field in fields.values():
                if field[2] & 2:  # inlined into its parent: its fields stand in the parent's JSON
                    flat.update({inner[0]: inner for inner in wire[field[1][1]].values()})
                else:
                    flat[field[0]] = field
            self.wire[name] = flat
        self.modules: dict[str, list[str]] = {}
        for full in definitions:
            if full in SPECIAL or "properties" not in definitions[full]:
                continue
            module = short_name(full).rsplit(".", 1)[0]
            if module in MODULES:
                self.modules.setdefault(module, []).append(full)
        self.merge_keys: dict[str, dict[str, list[str]]] = {}

    def type_of(self, schema: dict, module: str, uses: set[str]) -> tuple[str, str]:
        """The Python type of a schema, and its form: scalar, list, map, struct, any."""
        ref = schema.get("$ref")
        if ref:
            full = ref.rsplit("/", 1)[1]
            if full in SPECIAL:
                special = SPECIAL[full]
                if special in ("Quantity", "Time", "MicroTime"):
                    uses.add(special)
                return special, {"Any": "any", "dict[str, Any]": "any", "int | str": "union"}.get(special, special)
            if "properties" not in self.definitions[full]:
                return self.type_of(self.definitions[full], module, uses)
            other, name = short_name(full).rsplit(".", 1)
            if other == module:
                return name, "struct"
            if other not in self.modules:
                raise SystemExit(f"{module} refers to {full}, whose module is not generated")
            uses.add("module:" + other)
            return f"{other.replace('/', '_')}.{name}", "struct"
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "string":
            if schema.get("format") == "date-time":
                uses.add("Time")
                return "Time", "Time"
            return "str", "str"
        if kind == "integer":
            # Go's sizes are checked where they are narrower than JSON's
            if schema.get("format") == "int32":
                uses.add("Int32")
                return "Int32", "int"
            uses.add("Int64")
            return "Int64", "int"
        if kind == "number":
            return "float", "float"
        if kind == "boolean":
            return "bool", "bool"
        if kind == "array":
            inner, _ = self.type_of(schema["items"], module, uses)
            return f"list[{inner}]", "list"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            inner, _ = self.type_of(schema["additionalProperties"], module, uses)
            return f"dict[str, {inner}]", "map"
        uses.add("Any")
        return "Any", "any"

    def struct(self, full: str, module: str, uses: set[str]) -> str:
        schema = self.definitions[full]
        key = short_name(full)
        name = key.rsplit(".", 1)[1]
        wire = self.wire.get(key, {})
        gvk = schema.get("x-kubernetes-group-version-kind") or []
        properties = schema["properties"]
        always = set(schema.get("required", ())) | set(ALWAYS.get(key, ()))
        order = [f for f in FIRST if f in properties]
        known = list(wire) if wire else []
        order += [f for f in known if f in properties and f not in order]
        order += [f for f in properties if f not in order]
        lines = [f"class {name}(Struct, kw_only=True, omit_defaults=True, gc=False):"]
        for json_name in order:
            prop = properties[json_name]
            py = snake(json_name)
            typ, form = self.type_of(prop, module, uses)
            pointer = bool(wire.get(json_name, [0, 0, 0])[2] & 1) or (key, json_name) in POINTERS
            if not wire:  # apiextensions and apiregistration are not in the wire table: absent means absent
                pointer = json_name not in always and json_name not in (*FIRST, "spec", "status", "items")
            args = [] if py == json_name else [f'name="{json_name}"']
            if (key, json_name) in RAW:
                typ, default = RAW[key, json_name], "default=NOTHING"
                uses |= {typ, "NOTHING"}
            elif len(gvk) >= 1 and json_name in ("kind", "apiVersion") and name not in ("DeleteOptions", "WatchEvent"):
                group, version = gvk[0]["group"], gvk[0]["version"]
                value = gvk[0]["kind"] if json_name == "kind" else f"{group}/{version}" if group else version
                typ, default = "str", f"default_factory=lambda: {json.dumps(value)}"
            elif (key, json_name) in NULL_LISTS:
                typ, default = f"{typ} | None", "default_factory=lambda: None"
            elif json_name == "items" and name.endswith("List"):
                default = "default_factory=lambda: []"
            elif pointer and json_name in ALWAYS.get(key, ()):
                typ, default = f"{typ} | None", "default_factory=lambda: None"
            elif pointer:
                typ, default = f"{typ} | None", "default=None"
            elif form in ("Time", "MicroTime"):
                typ, default = f"{form} | None", "default=None"
                if json_name in always:
                    default = "default_factory=lambda: None"
            elif form == "any":
                typ, default = ("Any" if typ == "Any" else f"{typ} | None"), "default=None"
                uses.add("Any")
            elif form == "struct":
                default = f"default_factory=lambda: {typ}()"
            elif form == "union":
                # Go's zero IntOrString is the integer 0, and it is written
                default = "default_factory=int"
            elif form == "Quantity":
                default = 'default_factory=lambda: Quantity("0")'
            elif json_name in always:
                zero = {"str": "str", "int": "int", "float": "float", "bool": "bool"}
                if form in ("list", "map"):
                    default = f"default_factory={form if form == 'list' else 'dict'}"
                else:
                    default = f"default_factory={zero[form]}"
            else:
                default = (
                    "default="
                    + {"str": '""', "int": "0", "float": "0.0", "bool": "False", "list": "[]", "map": "{}"}[form]
                )
                if form in ("list", "map"):
                    default = "default_factory=" + ("list" if form == "list" else "dict")
            lines.append(f"    {py}: {typ} = field({', '.join([default, *args])})")
            self.note_merge_key(key, json_name, prop)
        if schema.get("x-kubernetes-map-type") == "atomic":
            self.merge_keys.setdefault(key, {})[""] = {"map": "atomic"}
        if len(lines) == 1:
            lines.append("    pass")
        return "\n".join(lines)

    def note_merge_key(self, key: str, json_name: str, prop: dict) -> None:
        """Keep what strategic merge patch and server-side apply need: `[element, list type, keys, patch strategy, patch key]`."""
        kind = prop.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        ref = None
        target = prop
        if kind == "array":
            target = prop["items"]
        elif kind == "object" and isinstance(prop.get("additionalProperties"), dict):
            target = prop["additionalProperties"]
        if "$ref" in target:
            full = target["$ref"].rsplit("/", 1)[1]
            if full not in SPECIAL and "properties" in self.definitions[full]:
                ref = short_name(full)
        entry = {
            "ref": ref,
            "form": {"array": "list", "object": "map"}.get(kind or "") if ref or kind in ("array", "object") else None,
            "list": prop.get("x-kubernetes-list-type"),
            "keys": prop.get("x-kubernetes-list-map-keys"),
            "map": prop.get("x-kubernetes-map-type"),
            "strategy": prop.get("x-kubernetes-patch-strategy"),
            "mergeKey": prop.get("x-kubernetes-patch-merge-key"),
        }
        entry = {k: v for k, v in entry.items() if v is not None}
        if entry:
            self.merge_keys.setdefault(key, {})[json_name] = entry

    def module(self, module: str) -> str:
        uses: set[str] = set()
        body = [self.struct(full, module, uses) for full in sorted(self.modules[module])]
        others = sorted(u[7:].replace("/", "_") for u in uses if u.startswith("module:"))
        scalars = sorted(u for u in uses if u in SCALARS)
        text = [
            f'"""Structs of `{module}`. Generated by scripts/generate_types.py from {VERSION[:-6]}; do not edit."""',
            "",
            "from __future__ import annotations",
            "",
        ]
        if "Any" in uses or "Any" in "".join(body):
            text += ["from typing import Any", ""]
        text += ["from msgspec import Struct, field", ""]
        if scalars:
            text.append(f"from carob.api.scalars import {', '.join(scalars)}")
        text += [f"from carob.api.types import {o}" for o in others]
        return "\n".join(text).rstrip() + "\n\n\n" + "\n\n\n".join(body) + "\n"


def main() -> int:
    """Write every module; return a process exit code."""
    import kubernetes_validate

    base = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / VERSION
    definitions = json.loads((base / "_definitions.json").read_text())
    definitions = definitions.get("$defs") or definitions["definitions"]
    wire = json.loads((ROOT / "src/carob/api/protobuf_table.json").read_text())
    generator = Generator(definitions, wire)
    OUT.mkdir(exist_ok=True)
    for module in generator.modules:
        (OUT / (module.replace("/", "_") + ".py")).write_text(generator.module(module))
    (OUT / "__init__.py").write_text(
        '"""The Structs of every built-in kind, a module per API group and version; generated by scripts/generate_types.py."""\n'
    )
    (ROOT / "src/carob/api/merge_keys.json").write_text(
        json.dumps(generator.merge_keys, separators=(",", ":"), sort_keys=True) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
