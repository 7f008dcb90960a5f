"""`describe` of roles and bindings, and the rules' table that `auth can-i --list` shows as well.

Source: kubectl pkg/describe/describe.go, pkg/util/rbac.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.cli.describers import parts
from carob.cli.describers.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.cli.describers.parts import Tree

_LISTS = ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")


def describe_role(tree: Tree, events: Sequence[Tree] | None) -> str:
    """Role and ClusterRole: the rules."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    writer.line(0, "PolicyRule:")
    writer.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs")
    writer.line(1, "---------\t-----------------\t--------------\t-----")
    for rule in compacted(tree.get("rules") or []):
        writer.line(1, "\t".join(rule_cells(rule)))
    return writer.text()


def describe_binding(tree: Tree, events: Sequence[Tree] | None) -> str:
    """RoleBinding and ClusterRoleBinding: which role, for whom."""
    writer = Writer()
    parts.head(writer, tree["metadata"], namespaced=False)
    role = tree.get("roleRef") or {}
    writer.line(0, "Role:")
    writer.line(1, f"Kind:\t{role.get('kind', '')}")
    writer.line(1, f"Name:\t{role.get('name', '')}")
    writer.line(0, "Subjects:")
    writer.line(1, "Kind\tName\tNamespace")
    writer.line(1, "----\t----\t---------")
    for subject in tree.get("subjects") or []:
        writer.line(1, f"{subject.get('kind', '')}\t{subject.get('name', '')}\t{subject.get('namespace', '')}")
    return writer.text()


def rule_cells(rule: Tree) -> list[str]:
    """Resources, URLs, names and verbs of a rule that `compacted` made."""
    resources = rule.get("resources") or []
    groups = rule.get("apiGroups") or []
    what = _with_group(resources[0], groups[0]) if resources and groups else ""
    lists = (f"[{' '.join(rule.get(field) or [])}]" for field in ("nonResourceURLs", "resourceNames", "verbs"))
    return [what, *lists]


def _with_group(resource: str, group: str) -> str:
    head, slash, sub = resource.partition("/")
    return (f"{head}.{group}" if group else head) + slash + sub


def compacted(rules: Sequence[Tree]) -> list[Tree]:
    """One rule a resource, verbs of equal resources together, in upstream's order."""
    single: list[Tree] = []
    merged: dict[tuple[str, str], Tree] = {}
    for rule in _broken_down(rules):
        key = _simple(rule)
        if key is None:
            single.append(rule)
            continue
        known = merged.setdefault(key, {**rule, "verbs": []})
        known["verbs"] += [v for v in rule.get("verbs") or [] if v not in known["verbs"]]
    return sorted([*merged.values(), *single], key=_go_string)


def _simple(rule: Tree) -> tuple[str, str] | None:
    """Group and resource of a rule that can be joined with its like."""
    if rule.get("resourceNames") or rule.get("nonResourceURLs") or not rule.get("resources"):
        return None
    return rule["apiGroups"][0], rule["resources"][0]


def _broken_down(rules: Sequence[Tree]) -> list[Tree]:
    out: list[Tree] = []
    for rule in rules:
        verbs = list(rule.get("verbs") or [])
        for group in rule.get("apiGroups") or []:
            for resource in rule.get("resources") or []:
                base = {"verbs": verbs, "apiGroups": [group], "resources": [resource]}
                names = rule.get("resourceNames") or []
                out += [{**base, "resourceNames": [name]} for name in names] or [base]
        out += [{"verbs": verbs, "nonResourceURLs": [url]} for url in rule.get("nonResourceURLs") or []]
    return out


def _go_string(rule: Tree) -> str:
    """Upstream sorts rules by how their type prints."""
    names = {"verbs": "Verbs", "apiGroups": "APIGroups", "resources": "Resources"}
    names |= {"resourceNames": "ResourceNames", "nonResourceURLs": "NonResourceURLs"}
    return "&PolicyRule{" + "".join(f"{names[f]}:[{' '.join(rule.get(f) or [])}]," for f in _LISTS) + "}"
