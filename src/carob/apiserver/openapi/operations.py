"""The `paths` of OpenAPI documents, made from rows of the resource table. Pure.

Shape: trees of OpenAPI 3.0. What all operations of a path have in common among their parameters stands at the path, as
upstream writes it. `kubectl apply` and `explain` look at `x-kubernetes-group-version-kind` of PATCH operations and at the
`fieldValidation` parameter.

Source: apiserver `endpoints/installer.go` for operations and their names; the recorded documents of a v1.36 server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from carob.api.resources import Resource, Subresource

Tree = dict[str, Any]

REFERENCE = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
MEDIA = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
STREAMS = ("application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_PACKAGES = {
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
# kinds whose deletion answers with the object that is going, not with a Status
_DELETE_ANSWERS_OBJECT = frozenset(
    (
        "PersistentVolumeClaim",
        "Pod",
        "PodTemplate",
        "ResourceQuota",
        "ServiceAccount",
        "Service",
        "PersistentVolume",
        "DeviceClass",
        "ResourceClaim",
        "ResourceClaimTemplate",
        "ResourceSlice",
        "CSIDriver",
        "CSINode",
        "StorageClass",
        "VolumeAttachment",
        "VolumeAttributesClass",
    )
)
_BOOLEANS = frozenset(
    (
        "allowWatchBookmarks",
        "sendInitialEvents",
        "watch",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "orphanDependents",
        "force",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "follow",
        "insecureSkipTLSVerifyBackend",
        "previous",
        "timestamps",
    )
)
_INTEGERS = frozenset(
    ("limit", "timeoutSeconds", "gracePeriodSeconds", "limitBytes", "sinceSeconds", "tailLines", "ports")
)
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "timeoutSeconds",
    "watch",
)
_DELETE = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
_DELETE_COLLECTION = tuple(sorted({*_LIST, *_DELETE} - {"allowWatchBookmarks", "watch"}))
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_CONNECT = {
    "attach": ("container", "stderr", "stdin", "stdout", "tty"),
    "exec": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_LOG = (
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "pretty",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
)
_PROXY_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_DESCRIPTIONS = {"200": "OK", "201": "Created", "202": "Accepted", "401": "Unauthorized"}


def schema_name(group: str, version: str, kind: str) -> str:
    """`io.k8s.api.apps.v1.Deployment`: the name of a built-in kind's schema."""
    package = _PACKAGES.get(group) or f"io.k8s.api.{group.partition('.')[0] or 'core'}"
    return f"{package}.{version}.{kind}"


def reference(name: str) -> Tree:
    """A reference to a schema of the document."""
    return {"$ref": REFERENCE + name}


def words(group: str, version: str = "") -> tuple[str, str]:
    """The tag of a group version and its part in operation names: `flowcontrolApiserver_v1`, `FlowcontrolApiserverV1`."""
    parts = group.removesuffix(".k8s.io").split(".") if group else ["core"]
    camel = "".join(part[0].upper() + part[1:] for part in parts)
    tag = camel[0].lower() + camel[1:]
    return (f"{tag}_{version}" if version else tag), camel + version[:1].upper() + version[1:]


def parameter(name: str, place: str = "query") -> Tree:
    """A parameter by its name; the type follows from it."""
    kind = "boolean" if name in _BOOLEANS else "integer" if name in _INTEGERS else "string"
    out: Tree = {"name": name, "in": place}
    if place == "path":
        out["required"] = True
    return out | {"schema": {"type": kind, "uniqueItems": True}}


def content(schema: Tree, media: Iterable[str] = MEDIA) -> Tree:
    """A body in several forms."""
    return {one: {"schema": schema} for one in media}


def responses(schema: Tree, codes: Iterable[str] = ("200",), media: Iterable[str] = MEDIA) -> Tree:
    """The answers of an operation, and that one may be nobody."""
    out: Tree = {code: {"description": _DESCRIPTIONS[code], "content": content(schema, media)} for code in codes}
    out["401"] = {"description": _DESCRIPTIONS["401"]}
    return out


def hoisted(operations: dict[str, tuple[Tree, list[tuple[str, str]]]]) -> Tree:
    """A path item: parameters that every operation has move to the path; all are sorted by name and place."""
    shared = set.intersection(*(set(parameters) for _, parameters in operations.values()))
    item: Tree = {}
    for method, (operation, parameters) in operations.items():
        own = sorted(set(parameters) - shared)
        if own:
            operation["parameters"] = [parameter(*one) for one in own]
        item[method] = operation
    if shared:
        item["parameters"] = [parameter(*one) for one in sorted(shared)]
    return item


class GroupVersionPaths:
    """Makes the paths of one group version."""

    def __init__(self, group: str, version: str) -> None:
        self._prefix = f"/apis/{group}/{version}" if group else f"/api/{version}"
        self._tag, self._camel = words(group, version)
        self.paths: Tree = {}

    def build(self, rows: Iterable[Resource]) -> Tree:
        """The paths of all rows, and the group version's own."""
        answer = reference(META + "APIResourceList")
        self._put(
            f"{self._prefix}/",
            {"get": (self._operation(f"get{self._camel}APIResources", responses(answer)), [])},
        )
        for row in rows:
            self._add_row(row)
        return self.paths

    def _put(self, path: str, operations: dict[str, tuple[Tree, list[tuple[str, str]]]]) -> None:
        if operations:
            self.paths[path] = hoisted(operations)

    def _operation(
        self, name: str, answers: Tree, action: str = "", kind: Tree | None = None, body: Tree | None = None
    ) -> Tree:
        out: Tree = {"tags": [self._tag], "operationId": name}
        if body is not None:
            out["requestBody"] = body
        out["responses"] = answers
        if action:
            out["x-kubernetes-action"] = action
        if kind is not None:
            out["x-kubernetes-group-version-kind"] = kind
        return out

    def _add_row(self, row: Resource) -> None:
        scope = "Namespaced" if row.namespaced else ""
        base = (
            f"{self._prefix}/namespaces/{{namespace}}/{row.plural}"
            if row.namespaced
            else (f"{self._prefix}/{row.plural}")
        )
        place: list[tuple[str, str]] = [("pretty", "query")]
        if row.namespaced:
            place.append(("namespace", "path"))
        kind = {"group": row.group, "version": row.version, "kind": row.kind}
        name = f"{self._camel}{scope}{row.kind}"
        of_object = schema_name(row.group, row.version, row.kind)
        if row.namespaced and "list" in row.verbs:
            self._put(
                f"{self._prefix}/{row.plural}",
                {"get": self._list(row, f"{self._camel}{row.kind}", kind, all_namespaces=True)},
            )
        self._put(base, self._collection(row, name, kind, of_object, place))
        named = [*place, ("name", "path")]
        self._put(f"{base}/{{name}}", self._object(row.verbs, name, kind, of_object, named, row.kind))
        for subresource in row.subresources:
            self._add_subresource(row, subresource, f"{base}/{{name}}", name, named)
        if "watch" in row.verbs:
            self._add_watches(row, kind)

    def _list(
        self, row: Resource, name: str, kind: Tree, *, all_namespaces: bool = False
    ) -> tuple[Tree, list[tuple[str, str]]]:
        answer = reference(schema_name(row.group, row.version, row.list_kind))
        suffix = "ForAllNamespaces" if all_namespaces else ""
        media = (MEDIA[0], STREAMS[0], MEDIA[1], STREAMS[1], MEDIA[2])
        operation = self._operation(f"list{name}{suffix}", responses(answer, media=media), "list", kind)
        parameters = [(one, "query") for one in (*_LIST, "pretty")]
        return operation, parameters

    def _collection(
        self, row: Resource, name: str, kind: Tree, of_object: str, place: list[tuple[str, str]]
    ) -> dict[str, tuple[Tree, list[tuple[str, str]]]]:
        found: dict[str, tuple[Tree, list[tuple[str, str]]]] = {}
        if "list" in row.verbs:
            operation, parameters = self._list(row, name, kind)
            found["get"] = operation, [*parameters, *place]
        if "create" in row.verbs:
            found["post"] = self._create(f"create{name}", of_object, kind, place)
        if "deletecollection" in row.verbs:
            scope = "Namespaced" if row.namespaced else ""
            operation = self._operation(
                f"delete{self._camel}Collection{scope}{row.kind}",
                responses(reference(META + "Status")),
                "deletecollection",
                kind,
                {"content": content(reference(META + "DeleteOptions"), ("*/*",))},
            )
            found["delete"] = operation, [*((one, "query") for one in _DELETE_COLLECTION), *place]
        return found

    def _create(
        self, name: str, of_object: str, kind: Tree, place: list[tuple[str, str]]
    ) -> tuple[Tree, list[tuple[str, str]]]:
        body = {"content": content(reference(of_object), ("*/*",)), "required": True}
        answers = responses(reference(of_object), ("200", "201", "202"))
        return self._operation(name, answers, "post", kind, body), [*((one, "query") for one in _WRITE), *place]

    def _object(
        self,
        verbs: tuple[str, ...],
        name: str,
        kind: Tree,
        of_object: str,
        place: list[tuple[str, str]],
        own_kind: str = "",
    ) -> dict[str, tuple[Tree, list[tuple[str, str]]]]:
        found: dict[str, tuple[Tree, list[tuple[str, str]]]] = {}
        write = [*((one, "query") for one in _WRITE), *place]
        answer = reference(of_object)
        if "get" in verbs:
            found["get"] = self._operation(f"read{name}", responses(answer), "get", kind), place
        if "update" in verbs:
            body = {"content": content(answer, ("*/*",)), "required": True}
            operation = self._operation(f"replace{name}", responses(answer, ("200", "201")), "put", kind, body)
            found["put"] = operation, write
        if "delete" in verbs:
            gone = answer if own_kind in _DELETE_ANSWERS_OBJECT else reference(META + "Status")
            body = {"content": content(reference(META + "DeleteOptions"), ("*/*",))}
            operation = self._operation(f"delete{name}", responses(gone, ("200", "202")), "delete", kind, body)
            found["delete"] = operation, [*((one, "query") for one in _DELETE), *place]
        if "patch" in verbs:
            body = {"content": content(reference(META + "Patch"), PATCHES), "required": True}
            operation = self._operation(f"patch{name}", responses(answer, ("200", "201")), "patch", kind, body)
            found["patch"] = operation, [*write, ("force", "query")]
        return found

    def _add_subresource(
        self, row: Resource, sub: Subresource, base: str, name: str, place: list[tuple[str, str]]
    ) -> None:
        group = row.group if sub.group is None else sub.group
        version = sub.version or row.version
        kind = {"group": group, "version": version, "kind": sub.kind or row.kind}
        title = name + sub.name[0].upper() + sub.name[1:]
        path = f"{base}/{sub.name}"
        if sub.name in _CONNECT:
            self._add_connect(sub, path, title, kind, [one for one in place if one[0] != "pretty"])
        elif sub.name == "log":
            answer = responses({"type": "string"}, media=(*MEDIA, "text/plain"))
            operation = self._operation(f"read{title}", answer, "get", kind)
            self._put(path, {"get": (operation, [*((one, "query") for one in _LOG), *place])})
        elif sub.verbs == ("create",):
            of_object = schema_name(group, version, kind["kind"])
            self._put(path, {"post": self._create(f"create{title}", of_object, kind, place)})
        else:
            of_object = schema_name(group, version, kind["kind"])
            self._put(path, self._object(sub.verbs, title, kind, of_object, place))

    def _add_connect(self, sub: Subresource, path: str, title: str, kind: Tree, place: list[tuple[str, str]]) -> None:
        methods = _PROXY_METHODS if sub.name == "proxy" else ("get", "post")
        parameters = [*((one, "query") for one in _CONNECT[sub.name]), *place]
        answers = responses({"type": "string"}, media=("*/*",))
        suffixes = [("", "", parameters)]
        if sub.name == "proxy":
            suffixes.append(("/{path}", "WithPath", [*parameters, ("path", "path")]))
        for tail, ending, wanted in suffixes:
            operations = {}
            for method in methods:
                verb = method[0].upper() + method[1:]
                operation_id = title.replace(self._camel, f"connect{self._camel}{verb}", 1) + ending
                operations[method] = self._operation(operation_id, answers, "connect", kind), wanted
            self._put(path + tail, operations)

    def _add_watches(self, row: Resource, kind: Tree) -> None:
        answer = reference(META + "WatchEvent")
        media = (MEDIA[0], STREAMS[0], MEDIA[1], STREAMS[1], MEDIA[2])
        base = f"{self._prefix}/watch/{row.plural}"
        parameters = [(one, "query") for one in (*_LIST, "pretty")]

        def put(path: str, name: str, action: str, more: list[tuple[str, str]]) -> None:
            operation = self._operation(f"watch{self._camel}{name}", responses(answer, media=media), action, kind)
            self._put(path, {"get": (operation, [*parameters, *more])})

        if not row.namespaced:
            put(base, f"{row.kind}List", "watchlist", [])
            put(f"{base}/{{name}}", row.kind, "watch", [("name", "path")])
            return
        inside = f"{self._prefix}/watch/namespaces/{{namespace}}/{row.plural}"
        put(base, f"{row.kind}ListForAllNamespaces", "watchlist", [])
        put(inside, f"Namespaced{row.kind}List", "watchlist", [("namespace", "path")])
        put(f"{inside}/{{name}}", f"Namespaced{row.kind}", "watch", [("namespace", "path"), ("name", "path")])
