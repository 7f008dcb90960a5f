"""What a server serves, from its aggregated discovery: groups, versions, resources.

Source: client-go discovery, KEP-3352.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.cli.connection import Connection

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


class Served(NamedTuple):
    """One resource as the server tells of it."""

    group: str
    version: str
    name: str
    kind: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    verbs: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def group_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


def served(connection: Connection, *, every_version: bool = False) -> Iterator[Served]:
    """Every resource, in the preferred version of its group (or in every one)."""
    for group, versions in _groups(connection):
        known: set[str] = set()
        for version in versions:
            for r in version.get("resources") or []:
                if r["resource"] in known and not every_version:
                    continue
                known.add(r["resource"])
                yield Served(
                    group,
                    version["version"],
                    r["resource"],
                    (r.get("responseKind") or {}).get("kind", ""),
                    r.get("singularResource", ""),
                    tuple(r.get("shortNames") or ()),
                    r.get("scope") == "Namespaced",
                    tuple(r.get("verbs") or ()),
                    tuple(r.get("categories") or ()),
                )


def group_versions(connection: Connection) -> list[str]:
    """Every `group/version`."""
    return [f"{g}/{v['version']}" if g else v["version"] for g, versions in _groups(connection) for v in versions]


def _groups(connection: Connection) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for root in ("/api", "/apis"):
        for group in connection.json("GET", root, accept=ACCEPT).get("items") or []:
            yield (group.get("metadata") or {}).get("name", ""), group.get("versions") or []
