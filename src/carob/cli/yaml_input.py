"""YAML as Kubernetes reads it: YAML 1.1's implicit types, but timestamps stay text, and duplicate keys are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID253 - this module is imported when YAML has to be read, and for nothing else

if TYPE_CHECKING:
    from collections.abc import Hashable

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubernetesLoader(_Base):  # type: ignore[misc]
    """Safe loader with upstream's choices (sigs.k8s.io/yaml)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key_node.value}" already set in map', key_node.start_mark
                )
            seen.add(key_node.value)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        # JSON has only text as keys
        return {_key(key): value for key, value in mapping.items()}


def _key(key: Hashable) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
