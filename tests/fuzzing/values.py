"""Values for any field of any kind: mostly what belongs there, sometimes what nobody should send.

The schemas are those of the server's own OpenAPI v3 documents. Pure: all choices come from the `Random` that is given, so a
seed repeats them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

Tree = dict[str, Any]
_REFERENCE = "#/components/schemas/"
_DEPTH = 9

NAMES = ("a", "b", "web", "x-1", "a.b", "default", "kube-system", "p", "0", "very-long" * 20)
ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\n",
    "é",
    "日本語",
    "\U0001f600",
    "A_B",
    "-a",
    "a/b",
    "a/b/c",
    "..",
    "../../etc",
    "/",
    "%00",
    "$(A)",
    "{{.x}}",
    "null",
    "true",
    "-1",
    "1e999",
    "NaN",
    "0x10",
    "9" * 40,
    "x" * 300,
    "٣",
    "²",
    "1" * 5000,
    "=",
    ",",
    "a=b,c in (d",
    "[[",
    "(?P<",
    "\ud7ff",
    "\ufeff",
    "1970-01-01T00:00:00Z",
    "0000-00-00T00:00:00Z",
)
ODD_NUMBERS = (
    0,
    1,
    -1,
    2,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64,
)
ODD_FRACTIONS = (0.5, -0.5, 1.0, 1e18, 1e19, 1e100, -1e308, 5e-324)
ODD_SHAPES: tuple[Any, ...] = (
    None,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"a": {"b": []}},
    True,
    False,
    [1, "a"],
    {"$patch": "delete"},
)
QUANTITIES = (
    "1",
    "100m",
    "1Gi",
    "1.5",
    "0",
    "-1",
    "1e3",
    "1E",
    "1Ki",
    "1n",
    ".5",
    "1e-9",
    "9999999999999999999999",
    "1e400",
    "1e-400",
    "1Eii",
    "",
    "1e999999999",
    "1e-999999999",
    "0." + "0" * 400 + "1",
    "+1",
    "1_0",
)
TIMES = (
    "2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00.123456Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-01",
    "10000-01-01T00:00:00Z",
    "2026-01-01T00:00:00+14:00",
    "2016-12-31T23:59:60Z",
)
ADDRESSES = (
    "10.0.0.1",
    "10.43.0.99",
    "::1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "256.1.1.1",
    "01.2.3.4",
    "fe80::1%eth0",
    "::ffff:1.2.3.4",
    "1.2.3",
    "10.0.0.1/33",
)
_BY_NAME: dict[str, tuple[Any, ...]] = {
    "name": NAMES,
    "namespace": ("fuzz", "default", "none", "kube-system"),
    "image": ("img", "img:v1", "a/b@sha256:" + "0" * 64, "", ":", "IMG"),
    "operator": ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Equal"),
    "effect": ("NoSchedule", "NoExecute", "PreferNoSchedule"),
    "protocol": ("TCP", "UDP", "SCTP", "tcp"),
    "schedule": (
        "* * * * *",
        "@daily",
        "@every 1h",
        "60 * * * *",
        "*/0 * * * *",
        "1-0 * * * *",
        "TZ=UTC * * * * *",
        "0 0 31 2 *",
    ),
    "timeZone": ("UTC", "Europe/Berlin", "Local", "../etc/passwd", "/etc/localtime"),
    "fieldPath": (
        "metadata.name",
        "metadata.labels['a']",
        "status.podIP",
        "spec.x",
        "metadata.annotations['",
        "metadata.labels",
    ),
    "expression": ("true", "object.spec", "1/0", "((((", "self", "'a'.matches('(')", "x" * 2000),
    "type": (
        "Opaque",
        "ClusterIP",
        "NodePort",
        "LoadBalancer",
        "ExternalName",
        "RollingUpdate",
        "Recreate",
        "kubernetes.io/tls",
        "Utilization",
    ),
    "restartPolicy": ("Always", "Never", "OnFailure"),
    "kind": ("Pod", "Deployment", "Node", "X", "ServiceAccount", "User", "Group", "Role", "ClusterRole"),
    "apiVersion": ("v1", "apps/v1", "a/b/c", "rbac.authorization.k8s.io/v1"),
    "path": ("/", "/a", "/a/../b", "a", "*", "/healthz*"),
    "port": (80, 0, 65536, "http", "80"),
    "clusterIP": ("None", "", "10.43.0.77", "10.43.0.1", "1.1.1.1", "x"),
    "topologyKey": ("kubernetes.io/hostname", "zone", ""),
    "minAvailable": (1, "50%", "101%", "-1%", "%", "1e3%"),
    "maxUnavailable": (1, "50%", "101%", "x%", 0),
    "pattern": ("^a$", "(", "(?<=a)b", "a{99999}", "\\p{L}"),
    "divisor": ("0", "1", "1m", "1Mi", "2"),
}


class Values:
    """Values from one source of chance over the given schemas."""

    def __init__(self, random: Random, schemas: Tree) -> None:
        self.random = random
        self._schemas = schemas

    def odd(self) -> Any:
        """What nobody expects."""
        choice = self.random.choice
        return copy.deepcopy(
            choice((choice(ODD_TEXTS), choice(ODD_NUMBERS), choice(ODD_FRACTIONS), choice(ODD_SHAPES)))
        )

    def value(self, schema: Tree, name: str = "", depth: int = 0) -> Any:
        """A value for a field called `name`."""
        schema = self.resolved(schema)
        if self.random.random() < 0.02:
            return self.odd()
        if "default" in schema and self.random.random() < 0.2:
            return copy.deepcopy(schema["default"])
        if "oneOf" in schema:
            schema = self.random.choice(schema["oneOf"])
        kind = schema.get("type", "")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = 0 if depth > _DEPTH else self.random.choice((0, 1, 1, 1, 2, 2, 3))
            return [self.value(schema.get("items", {}), name, depth + 1) for _ in range(count)]
        return self._scalar(schema, kind, name)

    def resolved(self, schema: Tree) -> Tree:
        """The schema behind references and `allOf` of one."""
        while True:
            if "$ref" in schema:
                schema = self._schemas.get(schema["$ref"].removeprefix(_REFERENCE), {})
            elif len(schema.get("allOf", ())) == 1:
                schema = {**schema["allOf"][0], **{k: v for k, v in schema.items() if k not in ("allOf", "default")}}
            else:
                return schema

    def _object(self, schema: Tree, depth: int) -> Tree:
        random = self.random
        properties = schema.get("properties", {})
        if not properties:
            inner = schema.get("additionalProperties")
            if depth > _DEPTH:
                return {}
            keys = random.sample(
                ("a", "b", "app", "cpu", "memory", "x.y/z", "", "A_", "pods", "é"), random.choice((0, 1, 1, 2))
            )
            return {k: self.value(inner, k, depth + 1) if isinstance(inner, dict) else self.odd() for k in keys}
        needed = set(schema.get("required", ()))
        share = 0.5 if depth < 2 else 0.25 if depth < 5 else 0.08
        out: Tree = {}
        for name, one in properties.items():
            if name in needed or (depth <= _DEPTH and random.random() < share):
                out[name] = self.value(one, name, depth + 1)
        if random.random() < 0.01:
            out[random.choice(ODD_TEXTS)] = self.odd()
        return out

    def _scalar(self, schema: Tree, kind: str, name: str) -> Any:
        random, form = self.random, schema.get("format", "")
        if "enum" in schema and random.random() < 0.9:
            return random.choice(schema["enum"])
        if name in _BY_NAME and random.random() < 0.8:
            return random.choice(_BY_NAME[name])
        if kind == "boolean":
            return random.random() < 0.5
        if kind == "integer":
            return random.choice(ODD_NUMBERS) if random.random() < 0.2 else random.randint(0, 100)
        if kind == "number":
            return random.choice(ODD_FRACTIONS) if random.random() < 0.3 else random.choice(QUANTITIES)
        if form == "date-time":
            return random.choice(TIMES)
        if form == "byte":
            return random.choice(("", "YQ==", "YQ", "!!", "YWJj"))
        if name in ("cpu", "memory", "storage", "pods") or form == "quantity":
            return random.choice(QUANTITIES)
        if name.lower().endswith(("ip", "ips", "cidr", "cidrs", "addresses", "externalips")):
            return random.choice(ADDRESSES)
        if name.lower().endswith("time"):
            return random.choice(TIMES)
        return random.choice(ODD_TEXTS) if random.random() < 0.15 else random.choice(NAMES)


def change(values: Values, tree: Any) -> Any:
    """The tree with one place of it changed, removed, doubled, or added to."""
    random = values.random
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            spots.append((node, key))
            if isinstance(inner, (dict, list)):
                walk(inner)

    if not isinstance(tree, (dict, list)) or not tree:
        return values.odd()
    walk(tree)
    node, key = random.choice(spots)
    what = random.random()
    if what < 0.35:
        node[key] = values.odd()
    elif what < 0.5:
        del node[key]
    elif what < 0.75:
        old = node[key]
        node[key] = values.value(_like(old), key if isinstance(key, str) else "")
    elif isinstance(node, list):
        node.append(copy.deepcopy(node[key]) if random.random() < 0.7 else values.odd())
    else:
        node[random.choice((*ODD_TEXTS, *NAMES))] = values.odd()
    return tree


def _like(old: Any) -> Tree:
    if isinstance(old, bool):
        return {"type": "boolean"}
    if isinstance(old, int):
        return {"type": "integer"}
    if isinstance(old, dict):
        return {"type": "object"}
    return {"type": "array", "items": {"type": "string"}} if isinstance(old, list) else {"type": "string"}
