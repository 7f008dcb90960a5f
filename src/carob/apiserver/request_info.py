"""Method and path to RequestInfo: which resource, which object, which verb. Pure; it only looks at the table of rows.

Invariant: what this says is what is authorized and what is dispatched; nobody else looks at the path again, except the
proxies, which need what stands behind the subresource.

Source: apiserver `pkg/endpoints/request/requestinfo.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from carob.api.resources import Resource
from carob.apiserver.types import RequestInfo

if TYPE_CHECKING:
    from carob.api.resources import ResourceTable

_VERB_OF_METHOD = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))
_FALSE = frozenset(("0", "false", "False", "FALSE"))


def parse_query(text: str) -> dict[str, list[str]]:
    """`a=1&b=x%20y&a=2` as decoded values per name, in order; a name without `=` has the empty value."""
    query: dict[str, list[str]] = {}
    if not text:
        return query
    escaped = "%" in text or "+" in text
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if not name:
            continue
        if escaped:
            name, value = unquote_plus(name), unquote_plus(value)
        values = query.get(name)
        if values is None:
            query[name] = [value]
        else:
            values.append(value)
    return query


def parse(method: str, path: str, query_text: str, table: ResourceTable) -> RequestInfo:
    """What a request asks for.

    A path of an API group that has no such resource yields a row without a kind (`info.resource.kind == ""`), because
    authorization speaks before "not found" does.
    """
    query = parse_query(query_text)
    if path.startswith("/api/"):
        group, rest = "", path[5:]
    elif path.startswith("/apis/"):
        group, _, rest = path[6:].partition("/")
    else:
        return RequestInfo(method.lower(), path, query=query)
    parts = rest.rstrip("/").split("/")
    if len(parts) < 2 or not parts[0] or (path[4] == "s" and not group):
        return RequestInfo(method.lower(), path, query=query)  # /api, /apis/apps, /apis/apps/v1: discovery
    version = parts[0]
    del parts[0]
    verb = _VERB_OF_METHOD.get(method, "")
    if parts[0] == "watch" and len(parts) > 1:
        verb = "watch"
        del parts[0]
    namespace, lost = "", 0
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            del parts[:2]
            # no namespace has an empty name, and none lies in another
            lost = 0 if namespace and parts[0] != "namespaces" else 2
    count = len(parts)
    name = parts[1] if count > 1 else ""
    subresource = parts[2] if count > 2 else ""
    resource = table.by_plural(group, version, parts[0])
    if resource is None:
        resource = Resource(group, version, "", parts[0], stored=False)
    if not name:
        if verb == "get":
            verb = "watch" if "watch" in query and query["watch"][0] not in _FALSE else "list"
        elif verb == "delete":
            verb = "deletecollection"
    beyond = count - 1 - bool(name) - bool(subresource) + lost
    return RequestInfo(verb, path, resource, namespace, name, subresource, query, beyond)


def authorized_name(info: RequestInfo) -> str:
    """The name that authorization looks at: a list of `metadata.name=x` is a question about `x` alone."""
    if info.name or info.verb not in ("list", "watch", "deletecollection"):
        return info.name
    selector = info.query.get("fieldSelector")
    return exact_match(selector[0], "metadata.name") if selector else ""


def exact_match(field_selector: str, field: str) -> str:
    """The value that a field selector demands of `field`; empty if it demands none."""
    for term in field_selector.split(","):
        key, separator, value = term.partition("=")
        if separator and key.strip() == field and not key.endswith("!"):
            return value.removeprefix("=").strip()
    return ""
