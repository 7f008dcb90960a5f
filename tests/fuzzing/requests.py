"""Requests that a client could send, right, odd and broken: an endless stream of them from one seed.

Every kind, verb and subresource of the resource table is met; manifests begin as recorded ones or are made from the schema,
and most of them are then changed. `Requests.learn` hears of the answers, so that later requests speak of objects that exist.

schemathesis (`openapi.py`) is not enough: of 51,000 requests that it made of our own documents seventeen succeeded, because a
document does not say what makes a manifest a good one.
"""

from __future__ import annotations

import copy
import json
import random as chance
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from carob.api.resources import BUILT_IN, Resource
from tests.fuzzing.values import NAMES, ODD_TEXTS, Tree, Values, change

_RECORDED = Path(__file__).parents[1] / "unit" / "api" / "data" / "defaulting.json"
_SELECTORS = (
    "a=b",
    "a!=b",
    "a in (b,c)",
    "!a",
    "a notin ()",
    "=",
    "a in (",
    "metadata.name=a",
    "status.phase=Running",
    "spec.nodeName=",
    "x.y=z",
    ",",
    "a=b,a=c",
)
_VERSIONS = ("", "0", "1", "-1", "abc", "18446744073709551616", "00", "1.5")
_NUMBERS = ("0", "1", "2", "-1", "abc", "99999999999999999999", "2147483648", "", "1e3")
_QUERY: dict[str, tuple[str, ...]] = {
    "dryRun": ("All", "All", "None", ""),
    "fieldManager": ("me", "me", "other", "", "x" * 200, "\x00"),
    "fieldValidation": ("Strict", "Warn", "Ignore", "x"),
    "force": ("true", "false", "1", "x"),
    "limit": _NUMBERS,
    "continue": (
        "abc",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
        "e30",
        "bnVsbA",
        "W10",
        "é",
        "",
        "eyJ2IjoxfQ",
    ),
    "labelSelector": _SELECTORS,
    "fieldSelector": _SELECTORS,
    "resourceVersion": _VERSIONS,
    "resourceVersionMatch": ("Exact", "NotOlderThan", "x", ""),
    "timeoutSeconds": ("1", "0", "x", "-1"),
    "allowWatchBookmarks": ("true", "x"),
    "sendInitialEvents": ("true", "false", "x"),
    "pretty": ("true", "0", ""),
    "gracePeriodSeconds": ("0", "1", "-1", "x", "9223372036854775807", "9223372036854775808"),
    "propagationPolicy": ("Foreground", "Background", "Orphan", "x"),
    "orphanDependents": ("true", "x"),
    "container": NAMES,
    "tailLines": _NUMBERS,
    "sinceSeconds": _NUMBERS,
    "sinceTime": ("2026-01-01T00:00:00Z", "x"),
    "limitBytes": _NUMBERS,
    "command": ("ls", "", "é"),
    "stdout": ("true",),
    "includeObject": ("None", "Metadata", "Object", "x"),
    "": ("", "x"),
    "\x00": ("\x00",),
}
_ACCEPTS = (
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v9;g=meta.k8s.io",
    "application/yaml",
    "application/vnd.kubernetes.protobuf,application/json",
    "application/cbor",
    "text/plain",
    "*/*",
    "",
    ";;q=",
    "application/json;as=X;v=;g=",
)
_CONTENT = (
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/cbor",
    "text/plain",
    "",
    ";",
    "application/json; charset=x",
)
_PATCHES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
)
_POINTERS = (
    "/metadata/labels/a",
    "/spec",
    "/spec/containers/0",
    "/spec/containers/-",
    "/metadata/name",
    "",
    "/",
    "/a~2b",
    "/spec/replicas",
    "/metadata/managedFields",
    "/metadata/managedFields/0/fieldsV1",
    "/spec/containers/99999999999999999999",
    "/spec/containers/-1",
    "a",
)
_RAW = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"a"',
    b"1",
    b"\x00\xff\xfe",
    b"{}" * 3,
    b"[" * 2000,
    b'{"a":' * 2000,
    b"k8s\x00",
    b"k8s\x00\n\x0c\n\x02v1\x12\x06Secret\x12\x05\n\x03\n\x01a",
    b"a: &a [*a]",
    b"a: &a {<<: *a}",
    b"- a\n- b",
    b"!!python/object:os.system {}",
    b"\xef\xbb\xbf{}",
    b"---\n---\n",
    b"%YAML 9\n---\n{}",
    b'{"a": 1e999}',
    b'{"metadata":{"name":"\\ud800"}}',
    b'{"kind":"Pod","kind":"Pod"}',
    b"a: 0o9\nb: 1_000\nc: .inf\nd: 2026-13-45\n? [a]\n: b",
)
_PATHS = (
    "/",
    "/api",
    "/apis",
    "/api/v1",
    "/apis/apps",
    "/apis/apps/v1",
    "/apis/none/v1/x",
    "/api/v2/pods",
    "/version",
    "/healthz",
    "/livez/ping",
    "/readyz?verbose",
    "/metrics",
    "/openapi/v3",
    "/openapi/v3/api/v1",
    "/openapi/v2",
    "/openid/v1/jwks",
    "/.well-known/openid-configuration",
    "/api/v1/watch/pods?timeoutSeconds=1",
    "/api/v1/watch/namespaces/fuzz/pods/a?timeoutSeconds=1&watch=0",
    "/api/v1/namespaces//pods",
    "/api/v1/namespaces/fuzz/pods/a/b/c/d",
    "//api/v1",
    "/api/v1/nodes/none/proxy/a",
    "/api/v1/namespaces/fuzz/services/http:a:x/proxy/",
    "/api/v1/namespaces/fuzz/pods/a:99999999/proxy/",
    "/apis/metrics.k8s.io/v1beta1",
    "/logs",
    "/debug/pprof",
    "/carob",
)


class Wanted(NamedTuple):
    """One request: method, path with query, headers, body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Requests:
    """An endless stream. `schemas` holds the component schemas of all OpenAPI v3 documents."""

    def __init__(self, seed: int, schemas: Tree) -> None:
        self.random = chance.Random(seed)
        self.values = Values(self.random, schemas)
        self._schema_of: dict[tuple[str, str], Tree] = {}
        for schema in schemas.values():
            for it in schema.get("x-kubernetes-group-version-kind", ()):
                version = f"{it['group']}/{it['version']}" if it["group"] else it["version"]
                self._schema_of.setdefault((version, it["kind"]), schema)
        self._recorded: dict[tuple[str, str], list[Tree]] = {}
        for case in json.loads(_RECORDED.read_text())["cases"]:
            sent = case["sent"]
            self._recorded.setdefault((sent["apiVersion"], sent["kind"]), []).append(sent)
        self._rows = [row for row in BUILT_IN if row.kind]
        self._common = [
            row for row in self._rows if row.plural in ("pods", "services", "deployments", "jobs", "configmaps")
        ]
        self._there: dict[str, list[Tree]] = {}

    def learn(self, wanted: Wanted, status: int, answer: Any) -> None:
        """What became of a request: objects that came are changed by later ones."""
        if status not in (200, 201) or not isinstance(answer, dict) or wanted.method not in ("POST", "PUT", "PATCH"):
            return
        key = f"{answer.get('apiVersion')} {answer.get('kind')}"
        known = self._there.setdefault(key, [])
        known.append(answer)
        if len(known) > 12:
            del known[self.random.randrange(len(known))]

    def next(self) -> Wanted:
        """The next request."""
        random = self.random
        roll = random.random()
        if roll < 0.03:
            return self._path()
        row = random.choice(self._common) if random.random() < 0.3 else random.choice(self._rows)
        if roll < 0.40:
            return self._create(row)
        if roll < 0.55:
            return self._update(row)
        if roll < 0.78:
            return self._patch(row)
        if roll < 0.86:
            return self._subresource(row)
        if roll < 0.90:
            return self._delete(row)
        return self._read(row)

    # --- the parts -----------------------------------------------------------------------------------------------

    def _path(self) -> Wanted:
        method = self.random.choice(("GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"))
        return Wanted(method, self.random.choice(_PATHS), self._headers("application/json"), b"{}")

    def _create(self, row: Resource) -> Wanted:
        tree = self._manifest(row)
        self._named(row, tree)
        return self._send(
            "POST", self._collection(row), self._query("dryRun", "fieldManager", "fieldValidation", "pretty"), tree
        )

    def _update(self, row: Resource) -> Wanted:
        tree = self._existing(row) or self._manifest(row)
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            tree = change(self.values, tree)
        return self._send(
            "PUT", self._object(row, tree), self._query("dryRun", "fieldManager", "fieldValidation"), tree
        )

    def _patch(self, row: Resource) -> Wanted:
        random = self.random
        tree = self._existing(row) or self._manifest(row)
        target = self._object(row, tree)
        media = random.choice(_PATCHES)
        query = self._query("dryRun", "fieldManager", "fieldValidation", "force")
        body: Any
        if media == "application/json-patch+json":
            body = [
                {
                    "op": random.choice(("add", "remove", "replace", "move", "copy", "test", "x")),
                    "path": random.choice(_POINTERS),
                    "from": random.choice(_POINTERS),
                    "value": self.values.odd(),
                }
                for _ in range(random.choice((0, 1, 2, 3)))
            ]
            if random.random() < 0.1:
                body = change(self.values, body)
        elif "apply" in media:
            query.setdefault("fieldManager", random.choice(("me", "other")))
            body = self._bare(tree)
            for _ in range(random.choice((0, 0, 1, 1, 2))):
                body = change(self.values, body)
        else:
            body = self._part(tree)
            if random.random() < 0.7:
                body = change(self.values, body) if body else {"spec": self.values.odd()}
            if random.random() < 0.15:
                self._directive(body)
        return self._send("PATCH", target, query, body, media)

    def _directive(self, body: Any) -> None:
        """Put one of the words of strategic merge patches somewhere into the tree."""
        spots: list[Any] = []

        def walk(node: Any) -> None:
            if isinstance(node, dict):
                spots.append(node)
            for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
                walk(inner)

        walk(body)
        if not spots:
            return
        random = self.random
        word = random.choice(
            (
                "$patch",
                "$retainKeys",
                "$setElementOrder/containers",
                "$setElementOrder/ports",
                "$deleteFromPrimitiveList/finalizers",
                "$deleteFromPrimitiveList/args",
                "$x",
            )
        )
        random.choice(spots)[word] = random.choice(
            ("delete", "replace", "merge", [], ["a"], [{"name": "c"}], [None], {}, None, 1)
        )

    def _subresource(self, row: Resource) -> Wanted:
        random = self.random
        if not row.subresources:
            return self._read(row)
        sub = random.choice(row.subresources)
        tree = self._existing(row) or self._manifest(row)
        target = f"{self._object(row, tree)}/{sub.name}"
        method = random.choice(("GET", "PUT", "PATCH", "POST", "POST", "DELETE"))
        if sub.name in ("exec", "attach", "portforward", "proxy", "log"):
            # of an object that is not there: the others' addresses are made up, and nobody may be called at them
            target = f"{row.path('fuzz' if row.namespaced else None)}/none/{sub.name}"
            return Wanted(
                random.choice(("GET", "POST", "PUT")),
                self._with(
                    target,
                    self._query(
                        "container", "command", "stdout", "tailLines", "sinceSeconds", "sinceTime", "limitBytes"
                    ),
                ),
                self._headers(),
                b"",
            )
        body: Any = tree
        if sub.kind:
            version = (f"{sub.group}/{sub.version}" if sub.group else sub.version or "") or row.api_version
            schema = self._schema_of.get((version, sub.kind))
            body = self.values.value(schema, "", 1) if schema else {"kind": sub.kind}
            if isinstance(body, dict) and random.random() < 0.9:
                body |= {
                    "kind": sub.kind,
                    "apiVersion": version,
                    "metadata": {"name": tree.get("metadata", {}).get("name", "a")}
                    if isinstance(tree.get("metadata"), dict)
                    else None,
                }
        elif random.random() < 0.6 and sub.name in row.__dict__.get("x", (sub.name,)):
            schema = self._schema_of.get((row.api_version, row.kind), {})
            body = {**tree, "status": self.values.value(schema.get("properties", {}).get("status", {}), "status", 1)}
        if random.random() < 0.6:
            body = change(self.values, body)
        if method == "PATCH":
            return self._send(
                method, target, self._query("dryRun", "fieldManager", "force"), body, random.choice(_PATCHES)
            )
        return self._send(method, target, self._query("dryRun", "fieldManager", "fieldValidation"), body)

    def _delete(self, row: Resource) -> Wanted:
        random = self.random
        tree = self._existing(row)
        # without the default ServiceAccount every further Pod would be waited for
        if row.plural in ("namespaces", "nodes", "serviceaccounts"):
            return self._read(row)
        if random.random() < 0.05:
            target = self._collection(row)
            if not row.namespaced:
                return self._read(row)
        else:
            target = self._object(row, tree or {})
        names = (
            "dryRun",
            "gracePeriodSeconds",
            "propagationPolicy",
            "orphanDependents",
            "labelSelector",
            "fieldSelector",
            "limit",
        )
        schema = self.values._schemas.get("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", {})
        body = self.values.value(schema, "", 2) if random.random() < 0.5 else None
        if body is None:
            return Wanted("DELETE", self._with(target, self._query(*names)), self._headers(), b"")
        return self._send("DELETE", target, self._query(*names), body)

    def _read(self, row: Resource) -> Wanted:
        random = self.random
        query = self._query(
            "limit",
            "continue",
            "labelSelector",
            "fieldSelector",
            "resourceVersion",
            "resourceVersionMatch",
            "pretty",
            "includeObject",
            "",
            "\x00",
        )
        if random.random() < 0.03:
            query |= self._query("allowWatchBookmarks", "sendInitialEvents", share=0.5) | {
                "watch": "true",
                "timeoutSeconds": "1",
            }
        target = self._object(row, self._existing(row) or {}) if random.random() < 0.3 else self._collection(row)
        return Wanted(random.choice(("GET",) * 9 + ("HEAD",)), self._with(target, query), self._headers(), b"")

    # --- their pieces ----------------------------------------------------------------------------------------------

    def _manifest(self, row: Resource) -> Tree:
        random = self.random
        recorded = self._recorded.get((row.api_version, row.kind))
        if recorded and random.random() < 0.75:
            tree = copy.deepcopy(random.choice(recorded))
            for _ in range(random.choice((0, 0, 1, 1, 2, 4))):
                change(self.values, tree)
            return tree
        schema = self._schema_of.get((row.api_version, row.kind), {})
        made = self.values.value(schema, "", 0)
        tree = made if isinstance(made, dict) else {}
        tree |= {"kind": row.kind, "apiVersion": row.api_version}
        if not isinstance(tree.get("metadata"), dict) or random.random() < 0.7:
            tree["metadata"] = {"name": random.choice(NAMES)}
        return tree

    def _named(self, row: Resource, tree: Tree) -> None:
        metadata = tree.get("metadata")
        if not isinstance(metadata, dict) or self.random.random() > 0.9:
            return
        if row.namespaced and self.random.random() < 0.9:
            metadata.pop("namespace", None)
        if self.random.random() < 0.5:
            metadata["name"] = f"{metadata.get('name') or 'x'}-{self.random.randrange(1000)}"

    def _existing(self, row: Resource) -> Tree | None:
        known = self._there.get(f"{row.api_version} {row.kind}")
        return copy.deepcopy(self.random.choice(known)) if known and self.random.random() < 0.85 else None

    def _bare(self, tree: Tree) -> Tree:
        """Without what only the server writes; the whole, or some of its parts."""
        metadata = tree.get("metadata")
        if isinstance(metadata, dict):
            for name in ("managedFields", "uid", "creationTimestamp", "generation", "resourceVersion"):
                if self.random.random() < 0.95:
                    metadata.pop(name, None)
        return tree

    def _part(self, tree: Tree) -> Tree:
        keys = [k for k in tree if k not in ("kind", "apiVersion")]
        return {k: tree[k] for k in self.random.sample(keys, min(len(keys), self.random.choice((1, 1, 2))))}

    def _collection(self, row: Resource) -> str:
        random = self.random
        if not row.namespaced:
            return row.path(None)
        return row.path(random.choices(("fuzz", "none", "", "é"), (95, 2, 2, 1))[0] or None)

    def _object(self, row: Resource, tree: Tree) -> str:
        metadata = tree.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not name or self.random.random() < 0.03:
            name = self.random.choice((*NAMES, *ODD_TEXTS))
        path = row.path("fuzz" if row.namespaced else None)
        return f"{path}/{quote(name, safe='')}"

    def _query(self, *names: str, share: float = 0.08) -> dict[str, str]:
        random = self.random
        return {n: random.choice(_QUERY[n]) for n in names if random.random() < share}

    @staticmethod
    def _with(target: str, query: dict[str, str]) -> str:
        return f"{target}?{urlencode(query)}" if query else target

    def _headers(self, content: str = "") -> dict[str, str]:
        random = self.random
        headers = {"content-type": content} if content else {}
        if random.random() < 0.3:
            headers["accept"] = random.choice(_ACCEPTS)
        if random.random() < 0.03:
            headers["user-agent"] = random.choice(("kubectl/v1.36", "", "é".encode().decode("latin-1"), "curl/8"))
        if random.random() < 0.03:
            headers["accept-encoding"] = random.choice(("gzip", "gzip;q=0", "br, gzip", ";"))
        if random.random() < 0.01:
            headers["impersonate-user"] = random.choice(("bob", "", "system:node:n"))
        return headers

    def _send(
        self, method: str, target: str, query: dict[str, str], tree: Any, content: str = "application/json"
    ) -> Wanted:
        random = self.random
        headers = self._headers(content)
        if random.random() < 0.02:
            headers["content-type"] = random.choice((*_CONTENT, *_PATCHES))
        if random.random() < 0.02:
            body = random.choice(_RAW)
        elif random.random() < 0.02:
            headers["content-type"] = "application/vnd.kubernetes.protobuf"
            body = self._protobuf(tree)
        else:
            body = json.dumps(tree, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
            if random.random() < 0.01 and body:
                at = random.randrange(len(body))
                body = body[:at] + bytes((random.randrange(256),)) + body[at + 1 :]
            if random.random() < 0.005:
                body = body[: random.randrange(len(body) + 1)]
        return Wanted(method, self._with(target, query), headers, body)

    def _protobuf(self, tree: Any) -> bytes:
        """An envelope that says what it holds, around bytes that hold hardly anything."""
        random = self.random

        def field(number: int, value: bytes) -> bytes:
            return bytes((number << 3 | 2,)) + bytes((len(value) & 127,)) + value[:127]

        def message(depth: int) -> bytes:
            out = b""
            for _ in range(random.randrange(5)):
                roll = random.random()
                if roll < 0.5 and depth < 5:
                    out += field(random.randint(1, 15), message(depth + 1))
                elif roll < 0.8:
                    out += field(random.randint(1, 15), random.choice(NAMES).encode()[:20])
                elif roll < 0.95:
                    out += bytes((random.randint(1, 15) << 3, random.randrange(256)))
                else:
                    out += random.randbytes(random.randrange(6))
            return out

        header = tree if isinstance(tree, dict) else {}
        names = field(1, str(header.get("apiVersion", "v1")).encode()) + field(2, str(header.get("kind", "")).encode())
        return b"k8s\x00" + field(1, names) + field(2, message(0))
