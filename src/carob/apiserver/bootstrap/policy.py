"""The built-in roles and bindings, read from `rbac.json`.

A rule in that file is one line: `verbs | groups | resources | names`, or `verbs | paths` for paths; words are separated by
spaces, and the core group is written `core`. A subject is `Group x`, `User x` or `ServiceAccount namespace/name`.

Pure apart from reading its own file. The facts are those of a new v1.36 cluster.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from carob.api import codec
from carob.api.types.rbac_v1 import PolicyRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GROUP = "rbac.authorization.k8s.io"
BOOTSTRAP_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(Path(__file__).with_name("rbac.json").read_bytes())
    return data


def rule(line: str) -> dict[str, Any]:
    """The JSON tree of a PolicyRule."""
    parts = [part.split() for part in line.split("|")]
    if len(parts) == 2:
        return {"verbs": parts[0], "nonResourceURLs": parts[1]}
    groups = ["" if group == "core" else group for group in parts[1]]
    tree: dict[str, Any] = {"verbs": parts[0], "apiGroups": groups, "resources": parts[2]}
    if len(parts) > 3:
        tree["resourceNames"] = parts[3]
    return tree


def _subject(line: str) -> dict[str, str]:
    kind, name = line.split()
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"kind": kind, "apiGroup": GROUP, "name": name}


def _object(kind: str, name: str, labels: dict[str, str], **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": BOOTSTRAP_LABELS | labels, "annotations": {AUTOUPDATE: "true"}}
    return {"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": metadata, **fields}


def _binding(kind: str, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    role_kind, role = facts["role"].split()
    subjects = [_subject(line) for line in facts["subjects"]]
    reference = {"apiGroup": GROUP, "kind": role_kind, "name": role}
    return _object(kind, name, {}, subjects=subjects, roleRef=reference)


def _facts(section: str, gates: Iterable[str]) -> dict[str, Any]:
    """The facts of a section by name, with what open feature gates add: names, and rules of names that are there."""
    facts: dict[str, Any] = dict(_data()[section])
    for gate in gates:
        for name, more in _data()["gated"].get(gate, {}).get(section, {}).items():
            known = facts.get(name)
            facts[name] = more if known is None else {**known, "rules": [*known["rules"], *more["rules"]]}
    return facts


def cluster_roles(gates: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Every ClusterRole; those that aggregate others have their rules already."""
    all_facts = _facts("clusterRoles", gates)
    for name, facts in all_facts.items():
        fields: dict[str, Any] = {"rules": _rules_of(name, all_facts)}
        if "aggregates" in facts:
            fields["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": facts["aggregates"]}]}
        yield _object("ClusterRole", name, facts.get("labels", {}), **fields)


def _rules_of(name: str, all_facts: dict[str, Any]) -> list[dict[str, Any]]:
    facts = all_facts[name]
    if "rules" in facts:
        return [rule(line) for line in facts["rules"]]
    found: list[dict[str, Any]] = []
    for other in sorted(all_facts):
        labels = all_facts[other].get("labels", {})
        if other != name and all(labels.get(k) == v for k, v in facts["aggregates"].items()):
            found += [r for r in _rules_of(other, all_facts) if r not in found]
    return found


def cluster_role_bindings(gates: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Every ClusterRoleBinding."""
    for name, facts in _facts("clusterRoleBindings", gates).items():
        yield _binding("ClusterRoleBinding", name, facts)


def roles() -> Iterator[dict[str, Any]]:
    """Every Role, with its namespace."""
    for namespace, named in _data()["roles"].items():
        for name, lines in named.items():
            tree = _object("Role", name, {}, rules=[rule(line) for line in lines])
            tree["metadata"]["namespace"] = namespace
            yield tree


def role_bindings() -> Iterator[dict[str, Any]]:
    """Every RoleBinding, with its namespace."""
    for namespace, named in _data()["roleBindings"].items():
        for name, facts in named.items():
            tree = _binding("RoleBinding", name, facts)
            tree["metadata"]["namespace"] = namespace
            yield tree


def node_rules(gates: Iterable[str] = ()) -> list[PolicyRule]:
    """What every node may do besides what it is related to: the rules of `system:node`."""
    lines = _facts("clusterRoles", gates)["system:node"]["rules"]
    return [codec.from_tree(PolicyRule, rule(line)) for line in lines]
