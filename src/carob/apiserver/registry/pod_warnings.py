"""What the server tells the author of a Pod although it accepts it: deprecated fields, doubtful values.

Pure. Source: upstream `pkg/api/pod/warnings.go`, `pkg/api/node/util.go`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from carob.api import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from carob.api.scalars import Quantity
    from carob.api.types import core_v1, meta_v1

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES = (
    ("photon_persistent_disk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("git_repo", "gitRepo", "deprecated in v1.11"),
    ("scale_io", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
_deprecated_sources = attrgetter(*(attribute for attribute, _, _ in _VOLUMES))
_NO_SOURCES = (None,) * len(_VOLUMES)
_BYTES = ("memory", "ephemeral-storage")


def pod_warnings(spec: core_v1.PodSpec, metadata: meta_v1.ObjectMeta, path: str = "") -> list[str]:
    """The warnings about a Pod, or about a template at `path` (`spec.template.`)."""
    found = list(_warnings(spec, metadata))
    return [path + text for text in found] if path else found


def _warnings(spec: core_v1.PodSpec, metadata: meta_v1.ObjectMeta) -> Iterator[str]:
    for key in spec.node_selector:
        if key in _NODE_LABELS:
            yield f"spec.nodeSelector[{key}]: {_NODE_LABELS[key]}"
    if spec.affinity is not None:
        yield from _node_affinity(spec.affinity.node_affinity)
    for number, constraint in enumerate(spec.topology_spread_constraints):
        at = f"spec.topologySpreadConstraints[{number}]"
        if constraint.topology_key in _NODE_LABELS:
            key = constraint.topology_key
            yield f"{at}.topologyKey: {key} is {_NODE_LABELS[key]}"
        if constraint.label_selector is None:
            yield f"{at}.labelSelector: a null labelSelector results in matching no pod"
    if metadata.annotations:
        for key, text in _ANNOTATIONS.items():
            if key in metadata.annotations:
                yield f"metadata.annotations[{key}]: {text}"
    for number, volume in enumerate(spec.volumes):
        if _deprecated_sources(volume) == _NO_SOURCES:
            continue
        for attribute, name, text in _VOLUMES:
            if getattr(volume, attribute) is not None:
                yield f"spec.volumes[{number}].{name}: {text}"
    if spec.host_aliases or spec.image_pull_secrets:
        yield from _doubles(spec)
    if spec.overhead:
        yield from _fractions(spec.overhead, "spec.overhead")
    for at, containers in (("spec.initContainers", spec.init_containers), ("spec.containers", spec.containers)):
        for number, container in enumerate(containers):
            resources = container.resources
            if resources.limits or resources.requests or len(container.env) > 1:
                yield from _container(container, f"{at}[{number}]")
    seconds = spec.termination_grace_period_seconds
    if seconds is not None and seconds < 0:
        yield "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"


def _node_affinity(affinity: core_v1.NodeAffinity | None) -> Iterator[str]:
    if affinity is None:
        return
    at = "spec.affinity.nodeAffinity."
    required = affinity.required_during_scheduling_ignored_during_execution
    for number, term in enumerate(required.node_selector_terms if required is not None else ()):
        place = f"{at}requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{number}]"
        yield from _term(term, place)
    for number, preferred in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        place = f"{at}preferredDuringSchedulingIgnoredDuringExecution[{number}].preference"
        yield from _term(preferred.preference, place)


def _term(term: core_v1.NodeSelectorTerm, at: str) -> Iterator[str]:
    for number, expression in enumerate(term.match_expressions):
        if expression.key in _NODE_LABELS:
            yield f"{at}.matchExpressions[{number}].key: {expression.key} is {_NODE_LABELS[expression.key]}"


def _doubles(spec: core_v1.PodSpec) -> Iterator[str]:
    seen: set[str] = set()
    for number, alias in enumerate(spec.host_aliases):
        if alias.ip in seen:
            yield f'spec.hostAliases[{number}].ip: duplicate ip "{alias.ip}"'
        seen.add(alias.ip)
    names: set[str] = set()
    for number, secret in enumerate(spec.image_pull_secrets):
        if secret.name in names:
            yield f'spec.imagePullSecrets[{number}].name: duplicate name "{secret.name}"'
        names.add(secret.name)
    for number, secret in enumerate(spec.image_pull_secrets):
        if not secret.name:
            yield f'spec.imagePullSecrets[{number}].name: invalid empty name ""'


def _fractions(resources: Mapping[str, Quantity], at: str) -> Iterator[str]:
    for name in _BYTES:
        value = resources.get(name)
        if value is not None and not value.isdigit() and quantity.nano(value) % 1_000_000_000:
            yield f'{at}[{name}]: fractional byte value "{value}" is invalid, must be an integer'


def _container(container: core_v1.Container, at: str) -> Iterator[str]:
    if container.resources.limits:
        yield from _fractions(container.resources.limits, f"{at}.resources.limits")
    if container.resources.requests:
        yield from _fractions(container.resources.requests, f"{at}.resources.requests")
    if len(container.env) < 2:
        return
    seen: set[str] = set()
    for number, variable in enumerate(container.env):
        if variable.name in seen and _hides(variable):
            yield (
                f'{at}.env[{number}]: hides previous definition of "{variable.name}", '
                "which may be dropped when using apply"
            )
        seen.add(variable.name)


def _hides(variable: core_v1.EnvVar) -> bool:
    """Whether a variable that was there before is lost, and not built upon (`A=$(A):more`)."""
    reference = f"$({variable.name})"
    return variable.value_from is not None or variable.value == reference or reference not in variable.value
