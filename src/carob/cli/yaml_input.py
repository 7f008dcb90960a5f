"""YAML as kubectl reads it: YAML 1.1's implicit types, but timestamps stay text; of equal keys the last one counts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID253 - this module is imported when YAML has to be read, and for nothing else

if TYPE_CHECKING:
    from collections.abc import Hashable

# YAML 1.1 has them, PyYAML has not
_SHORT_BOOLS = {"y": True, "Y": True, "n": False, "N": False}
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubernetesLoader(_Base):  # type: ignore[misc]
    """Safe loader with upstream's choices (sigs.k8s.io/yaml)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        # JSON has only text as keys
        return {_key(key): value for key, value in mapping.items()}

    def construct_yaml_bool(self, node: yaml.ScalarNode) -> Any:
        if node.value in _SHORT_BOOLS:
            return _SHORT_BOOLS[node.value]
        return super().construct_yaml_bool(node)


def _key(key: Hashable) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))
KubernetesLoader.add_constructor("tag:yaml.org,2002:bool", KubernetesLoader.construct_yaml_bool)


def explanation(error: yaml.YAMLError) -> str:
    """The error in go-yaml's words: `line 3: did not find expected key`.

    go-yaml counts a parser's lines from 0 and a scanner's from 1, and names the context where the problem has no line.
    """
    problem = getattr(error, "problem", None) or str(error)
    mark, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    line = 0
    if mark is not None and mark.line:
        line = mark.line + isinstance(error, yaml.scanner.ScannerError)
    elif context is not None:
        line = context.line
    return f"line {line}: {problem}" if line else str(problem)
