"""Which groups, versions and resources there are: the old documents and the aggregated one, as bytes that wait.

Everything is made from the resource table when the first client asks and again after the table changed (`refresh`).
Invariant: documents of one generation agree with each other.

Source: apiserver `endpoints/discovery` and `endpoints/discovery/aggregated`; KEP-3352.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from carob.apiserver import negotiation
from carob.apiserver.negotiation import Form
from carob.apiserver.presenters import finished
from carob.transport.http import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carob.api.resources import Resource, ResourceTable, Subresource

_AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_MEDIA = (negotiation.JSON, negotiation.YAML, negotiation.PROTOBUF, negotiation.CBOR)
_VARY = ("Vary", "Accept")


def aggregated_media(accept: str) -> str:
    """The encoding in which a client takes the aggregated document (v2) before the plain one; empty for the plain one."""
    for clause in negotiation.parse(accept):
        media = negotiation.JSON if clause.media in ("application/*", "*/*") else clause.media
        if media not in _MEDIA:
            continue
        values = (clause.get("g"), clause.get("v"), clause.get("as"))
        if values == ("", "", ""):
            return ""
        if values == ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList"):
            return media
    return ""


class Discovery:
    """Answers `/api`, `/apis` and everything between them and the resources."""

    def __init__(self, table: ResourceTable, server_address: str) -> None:
        self._table = table
        self._server_address = server_address
        self._documents: dict[str, bytes] = {}
        self._aggregated: dict[str, tuple[bytes, str]] = {}

    def refresh(self) -> None:
        """The table changed: forget the documents."""
        self._documents.clear()
        self._aggregated.clear()

    def groups(self) -> set[str]:
        """The names of all groups, "" for the core group."""
        return {row.group for row in self._table}

    def answer(self, path: str, headers: Mapping[str, str]) -> Response | None:
        """The answer to a discovery path; None if it is none (any more)."""
        path = path.rstrip("/")
        media = aggregated_media(headers.get("accept", "")) if path in ("/api", "/apis") else ""
        if media:
            return self._answer_aggregated(path, media, headers.get("if-none-match", ""))
        if not self._documents:
            self._documents = self._all_documents()
        body = self._documents.get(path)
        return None if body is None else Response(body=body, headers=[_VARY] if path in ("/api", "/apis") else [])

    def _answer_aggregated(self, path: str, media: str, known: str) -> Response:
        found = self._aggregated.get(path)
        if found is None:
            body = orjson.dumps(self._aggregated_list(core=path == "/api"))
            found = self._aggregated[path] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        body, etag = found
        headers = [_VARY, ("ETag", etag), ("Cache-Control", "public")]
        if known == etag:
            return Response(304, content_type="", headers=headers)
        return Response(body=finished(Form(media), body), content_type=f"{media};{_AGGREGATED}", headers=headers)

    def _group_versions(self) -> dict[str, dict[str, list[Resource]]]:
        found: dict[str, dict[str, list[Resource]]] = {}
        for row in self._table:
            found.setdefault(row.group, {}).setdefault(row.version, []).append(row)
        return found

    def _all_documents(self) -> dict[str, bytes]:
        groups = self._group_versions()
        trees: dict[str, Any] = {}
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address}]
        versions = list(groups.get("", {}))
        trees["/api"] = {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": addresses}
        listed = []
        for group, by_version in groups.items():
            prefix = f"/apis/{group}" if group else "/api"
            for version, rows in by_version.items():
                trees[f"{prefix}/{version}"] = _resource_list(rows)
            if group:
                entry = _group(group, by_version)
                listed.append(entry)
                trees[prefix] = {"kind": "APIGroup", "apiVersion": "v1", **entry}
        trees["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        return {path: orjson.dumps(tree) + b"\n" for path, tree in trees.items()}

    def _aggregated_list(self, *, core: bool) -> dict[str, Any]:
        items = []
        for group, by_version in self._group_versions().items():
            if (group == "") is not core:
                continue
            versions = [
                {"version": version, "resources": [_aggregated(row) for row in _sorted(rows)], "freshness": "Current"}
                for version, rows in by_version.items()
            ]
            items.append({"metadata": {"name": group} if group else {}, "versions": versions})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }


def _sorted(rows: Iterable[Resource]) -> list[Resource]:
    return sorted(rows, key=lambda row: row.plural)


def _group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resource_list(rows: list[Resource]) -> dict[str, Any]:
    tree: dict[str, Any] = {"kind": "APIResourceList"}
    if rows[0].group:
        tree["apiVersion"] = "v1"
    tree["groupVersion"] = rows[0].api_version
    resources: list[dict[str, Any]] = []
    for row in _sorted(rows):
        resources.append(_plain(row))
        resources += [_plain_subresource(row, sub) for sub in row.subresources]
    tree["resources"] = resources
    return tree


def _plain(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": row.plural,
        "singularName": row.singular_name,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": row.verbs,
    }
    if row.short_names:
        entry["shortNames"] = row.short_names
    if row.categories:
        entry["categories"] = row.categories
    if row.storage_version_hash:
        entry["storageVersionHash"] = row.storage_version_hash
    return entry


def _plain_subresource(row: Resource, sub: Subresource) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": f"{row.plural}/{sub.name}", "singularName": "", "namespaced": row.namespaced}
    if sub.group is not None:
        entry["group"], entry["version"] = sub.group, sub.version
    entry["kind"] = sub.kind or row.kind
    entry["verbs"] = sub.verbs
    return entry


def _aggregated(row: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": row.plural,
        # upstream leaves group and version of its own kinds empty here; clients take the list's
        "responseKind": _response_kind(row, row.kind, None, None),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular_name,
        "verbs": row.verbs,
    }
    if row.short_names:
        entry["shortNames"] = row.short_names
    if row.categories:
        entry["categories"] = row.categories
    if row.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response_kind(row, sub.kind or row.kind, sub.group, sub.version),
                "verbs": sub.verbs,
            }
            for sub in row.subresources
        ]
    return entry


def _response_kind(row: Resource, kind: str, group: str | None, version: str | None) -> dict[str, str]:
    if row.custom and group is None:
        group, version = row.group, row.version
    return {"group": group or "", "version": version or "", "kind": kind}
