"""PodSecurity: a namespace's labels say which standard its Pods must keep, which they are warned about, and of which the
audit log is told.

Pods are refused; Deployments and the like, whose Pods would be refused later, are warned about. Who raises the level of a
namespace is told of the Pods there that would be refused now. A `PodSecurityConfiguration` may set the levels of namespaces
without labels, and name users, namespaces and runtime classes that are exempt.

Source: kubernetes `staging/…/pod-security-admission/admission`; KEP-2579.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from carob.api.status import invalid
from carob.api.types import core_v1
from carob.apiserver.admission import pod_security_checks as checks
from carob.apiserver.admission.pod_security_rules import USUAL, PodSecurityRules
from carob.apiserver.admission.refusals import NAMESPACES, PODS, refused, writes
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.apiserver.types import Attributes, Reader

_PREFIX = "pod-security.kubernetes.io/"
_MODES = ("enforce", "audit", "warn")
_VERSION = re.compile(r"v1\.(0|[1-9]\d*)")


class Policy(NamedTuple):
    """A level and a version: `restricted:latest`."""

    level: str
    version: str

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        """The version's number; the latest for what is none."""
        number = self.version.removeprefix("v1.")
        return int(number) if _VERSION.fullmatch(self.version) and len(number) < 6 else checks.LATEST


_FREE = Policy(checks.PRIVILEGED, "latest")
MAX_PODS_CHECKED = 3000


def policy_of(labels: dict[str, str], mode: str, rules: PodSecurityRules = USUAL) -> Policy:
    """The policy of one mode. Source: without its own label `warn` follows `enforce`."""
    if mode == "warn" and _PREFIX + "warn" not in labels and _PREFIX + "enforce" in labels:
        mode = "enforce"
    usual_level, usual_version = getattr(rules, mode)
    level = labels.get(_PREFIX + mode, usual_level)
    version = labels.get(f"{_PREFIX}{mode}-version", usual_version)
    return Policy(level if level in checks.LEVELS else checks.RESTRICTED, version)


def label_causes(labels: dict[str, str]) -> list[dict[str, str]]:
    """What is wrong with a namespace's labels."""
    causes = []
    for mode in _MODES:
        level, version = labels.get(_PREFIX + mode), labels.get(f"{_PREFIX}{mode}-version")
        if level is not None and level not in checks.LEVELS:
            causes.append(_cause(_PREFIX + mode, level, "must be one of privileged, baseline, restricted"))
        if version is not None and version != "latest" and not _VERSION.fullmatch(version):
            causes.append(_cause(f"{_PREFIX}{mode}-version", version, 'must be "latest" or "v1.x"'))
    return causes


def _cause(label: str, value: str, why: str) -> dict[str, str]:
    message = f'Invalid value: "{value}": {why}'
    return {"reason": "FieldValueInvalid", "message": message, "field": f"metadata.labels[{label}]"}


def template_of(obj: Any) -> core_v1.PodTemplateSpec | None:
    """The Pod template inside a workload."""
    spec = getattr(obj, "spec", None)
    if hasattr(spec, "job_template"):
        spec = spec.job_template.spec  # type: ignore[union-attr]
    template = getattr(spec, "template", None) or getattr(obj, "template", None)
    return template if isinstance(template, core_v1.PodTemplateSpec) else None


class _Policies(NamedTuple):
    """What a namespace wants."""

    enforced: Policy
    warned: Policy
    audited: Policy

    @property
    def allows_all(self) -> bool:
        return all(one.level == checks.PRIVILEGED for one in self)


_ALL_FREE = _Policies(_FREE, _FREE, _FREE)


class PodSecurity:
    """See the module."""

    name = "PodSecurity"
    phases = ("validate",)
    handles = frozenset(
        (
            ("", "namespaces"),
            ("", "pods"),
            ("", "podtemplates"),
            ("", "replicationcontrollers"),
            ("apps", "daemonsets"),
            ("apps", "deployments"),
            ("apps", "replicasets"),
            ("apps", "statefulsets"),
            ("batch", "cronjobs"),
            ("batch", "jobs"),
        )
    )

    def __init__(self, reader: Reader, rules: PodSecurityRules = USUAL) -> None:
        self._reader = reader
        self._rules = rules
        # of a namespace, forgotten when it changes
        self._policies: dict[str, _Policies] = {}
        reader.on_change(NAMESPACES, self._changed)

    def _changed(self, namespace: str, name: str) -> None:
        self._policies.pop(name, None)

    def admit(self, attributes: Attributes) -> None:
        """Nothing: the final object is judged."""

    def validate(self, attributes: Attributes) -> None:
        """Refuse, or warn."""
        if attributes.obj is None or attributes.operation is Operation.DELETE:
            return
        if writes(attributes, NAMESPACES):
            causes = label_causes(attributes.obj.metadata.labels)
            if causes:
                raise invalid(attributes.resource, attributes.obj.metadata.name, causes)
            if attributes.old is not None:
                self._judge_raised_level(attributes)
            return
        is_pod = attributes.resource.plural == PODS.plural and not attributes.resource.group
        if attributes.subresource and not (is_pod and attributes.subresource == "ephemeralcontainers"):
            return
        if exempt := self._exempt(attributes):
            _annotate(attributes, "exempt", exempt)
            return
        policies = self._of(attributes.namespace)
        if is_pod:
            self._judge_pod(attributes, policies)
        elif not policies.allows_all:
            template = template_of(attributes.obj)
            if template is not None:
                self._tell(attributes, policies, core_v1.Pod(metadata=template.metadata, spec=template.spec))

    def _tell(self, attributes: Attributes, policies: _Policies, pod: core_v1.Pod) -> None:
        """Of a Pod that may come to be: warn, and note."""
        if pod.spec.runtime_class_name in self._rules.exempt_runtime_classes:
            _annotate(attributes, "exempt", "runtimeClass")
            return
        _note_violations(attributes, policies.audited, pod)
        _warn(attributes, policies.warned, pod)

    def _of(self, namespace: str) -> _Policies:
        known = self._policies.get(namespace)
        if known is None:
            found = self._reader.get(NAMESPACES, "", namespace) if namespace else None
            if found is None:
                return _ALL_FREE
            labels, rules = found.metadata.labels, self._rules
            known = _Policies(*(policy_of(labels, mode, rules) for mode in ("enforce", "warn", "audit")))
            self._policies[namespace] = known
        return known

    def _exempt(self, attributes: Attributes) -> str:
        """Why nobody looks; empty where somebody does."""
        if attributes.namespace in self._rules.exempt_namespaces:
            return "namespace"
        return "user" if attributes.user.name in self._rules.exempt_usernames else ""

    def _judge_raised_level(self, attributes: Attributes) -> None:
        """Warn of Pods that are there and would be refused now. Only what is stricter than before is looked at."""
        name = attributes.obj.metadata.name
        before = policy_of(attributes.old.metadata.labels, "enforce", self._rules)
        now = policy_of(attributes.obj.metadata.labels, "enforce", self._rules)
        milder = now.version == before.version and checks.LEVELS.index(now.level) <= checks.LEVELS.index(before.level)
        if now == before or now.level == checks.PRIVILEGED or milder or name in self._rules.exempt_namespaces:
            return
        pods = one_of_each_first(self._reader.list(PODS, name))
        found: dict[str, list[str]] = {}
        for pod in pods[:MAX_PODS_CHECKED]:
            reasons = ", ".join(one.reason for one in checks.violations(now.level, pod, now.minor))
            if reasons:
                found.setdefault(reasons, []).append(pod.metadata.name)
        if len(pods) > MAX_PODS_CHECKED:
            attributes.warnings.append(
                f"new PodSecurity enforce level only checked against the first {MAX_PODS_CHECKED} of {len(pods)} "
                "existing pods"
            )
        if found:
            attributes.warnings.append(
                f'existing pods in namespace "{name}" violate the new PodSecurity enforce level "{now}"'
            )
        attributes.warnings += sorted(f"{_and_others(names)}: {reasons}" for reasons, names in found.items())

    def _judge_pod(self, attributes: Attributes, policies: _Policies) -> None:
        pod, enforced = attributes.obj, policies.enforced
        if not isinstance(pod, core_v1.Pod):
            return
        if policies.allows_all:
            _annotate(attributes, "enforce-policy", str(_FREE))
            return
        if attributes.operation is Operation.UPDATE and not _matters(attributes.old, pod):
            return
        if pod.spec.runtime_class_name in self._rules.exempt_runtime_classes:
            _annotate(attributes, "exempt", "runtimeClass")
            return
        _annotate(attributes, "enforce-policy", str(enforced))
        _note_violations(attributes, policies.audited, pod)
        found = checks.violations(enforced.level, pod, enforced.minor)
        if found:
            raise refused(attributes, f'violates PodSecurity "{enforced}": {_words(found)}')
        if policies.warned != enforced:
            _warn(attributes, policies.warned, pod)


def one_of_each_first(pods: list[core_v1.Pod]) -> list[core_v1.Pod]:
    """The Pods, the first of each controller and those without one in front: the others are alike."""
    seen: set[str] = set()
    first: list[core_v1.Pod] = []
    others: list[core_v1.Pod] = []
    for pod in pods:
        owner = next((one.uid for one in pod.metadata.owner_references if one.controller), "")
        (others if owner and owner in seen else first).append(pod)
        seen.add(owner)
    return first + others


def _and_others(names: list[str]) -> str:
    first, others = min(names), len(names) - 1
    if not others:
        return first
    return f"{first} (and {others} other pod{'s' if others > 1 else ''})"


def _matters(old: core_v1.Pod | None, new: core_v1.Pod) -> bool:
    """Whether an update may change the judgement: what else can be changed of a Pod does not."""
    if old is None:
        return True
    before, after = old.spec, new.spec
    return (before.containers, before.init_containers, before.ephemeral_containers) != (
        after.containers,
        after.init_containers,
        after.ephemeral_containers,
    )


def _warn(attributes: Attributes, policy: Policy, pod: core_v1.Pod) -> None:
    found = checks.violations(policy.level, pod, policy.minor)
    if found:
        attributes.warnings.append(f'would violate PodSecurity "{policy}": {_words(found)}')


def _note_violations(attributes: Attributes, policy: Policy, pod: core_v1.Pod) -> None:
    if attributes.annotations is not None:
        found = checks.violations(policy.level, pod, policy.minor)
        if found:
            _annotate(attributes, "audit-violations", f'would violate PodSecurity "{policy}": {_words(found)}')


def _annotate(attributes: Attributes, key: str, value: str) -> None:
    """Tell the audit log, where there is one."""
    if attributes.annotations is not None:
        attributes.annotations[_PREFIX + key] = value


def _words(found: list[checks.Violation]) -> str:
    return ", ".join(f"{one.reason} ({one.detail})" if one.detail else one.reason for one in found)
