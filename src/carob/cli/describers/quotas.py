"""`describe` of what limits a namespace: ResourceQuota and LimitRange.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from carob.cli.describers.parts import Tree

SCOPES = {
    "Terminating": "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before "
    "being actively terminated by the system.",
    "NotTerminating": "Matches all pods that do not have an active deadline. These pods usually include long running "
    "pods whose container command is not expected to terminate.",
    "BestEffort": "Matches all pods that do not have resource requirements set. These pods have a best effort quality "
    "of service.",
    "NotBestEffort": "Matches all pods that have at least one resource requirement set. These pods have a burstable or "
    "guaranteed quality of service.",
}
LIMIT_HEADER = "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio"
LIMIT_RULE = "----\t--------\t---\t---\t---------------\t-------------\t-----------------------"


def describe_quota(tree: Tree, events: Sequence[Tree] | None) -> str:
    """What is used, and what is allowed."""
    writer = Writer()
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    writer.line(0, f"Namespace:\t{tree['metadata'].get('namespace')}")
    scopes = sorted((tree.get("spec") or {}).get("scopes") or [])
    if scopes:
        writer.line(0, f"Scopes:\t{', '.join(scopes)}")
        for scope in scopes:
            if scope in SCOPES:
                writer.line(0, f" * {SCOPES[scope]}")
    writer.line(0, "Resource\tUsed\tHard")
    writer.line(0, "--------\t----\t----")
    status = tree.get("status") or {}
    for name in sorted(status.get("hard") or {}):
        writer.line(0, f"{name}\t{(status.get('used') or {}).get(name, '0')}\t{status['hard'][name]}")
    return writer.text()


def describe_limits(tree: Tree, events: Sequence[Tree] | None) -> str:
    """A line a kind of thing and resource."""
    writer = Writer()
    writer.line(0, f"Name:\t{tree['metadata'].get('name')}")
    writer.line(0, f"Namespace:\t{tree['metadata'].get('namespace')}")
    writer.line(0, LIMIT_HEADER)
    writer.line(0, LIMIT_RULE)
    for row in _limit_rows(tree):
        writer.line(0, row)
    return writer.text()


def _limit_rows(tree: Tree) -> Iterator[str]:
    fields = ("min", "max", "defaultRequest", "default", "maxLimitRequestRatio")
    for limit in (tree.get("spec") or {}).get("limits") or []:
        names = {name for field in fields for name in limit.get(field) or {}}
        for name in sorted(names):
            cells = [str((limit.get(field) or {}).get(name, "-")) for field in fields]
            yield "\t".join([str(limit.get("type", "")), name, *cells])


def namespace_quotas(writer: Writer, quotas: Sequence[Tree]) -> None:
    """As a part of the namespace's description."""
    if not quotas:
        writer.line(0, "No resource quota.")
        return
    writer.line(0, "Resource Quotas")
    for quota in quotas:
        writer.line(1, f"Name:\t{quota['metadata'].get('name')}")
        scopes = sorted((quota.get("spec") or {}).get("scopes") or [])
        if scopes:
            writer.line(1, f"Scopes:\t{', '.join(scopes)}")
            for scope in scopes:
                if scope in SCOPES:
                    writer.line(1, f"* {SCOPES[scope]}")
        writer.line(1, "Resource\tUsed\tHard")
        writer.line(1, "--------\t---\t---")
        status = quota.get("status") or {}
        for name in sorted(status.get("hard") or {}):
            writer.line(1, f"{name}\t{(status.get('used') or {}).get(name, '0')}\t{status['hard'][name]}")


def namespace_limits(writer: Writer, limits: Sequence[Tree]) -> None:
    """As a part of the namespace's description."""
    if not limits:
        writer.line(0, "No LimitRange resource.")
        return
    writer.line(0, "Resource Limits")
    writer.line(0, " " + LIMIT_HEADER)
    writer.line(0, " " + LIMIT_RULE)
    for limit in limits:
        for row in _limit_rows(limit):
            writer.line(0, " " + row)
