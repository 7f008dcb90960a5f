"""Rules of what steers a Pod to nodes: affinities, tolerations, taints, spread constraints.

Pure. Source: `pkg/apis/core/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import core_v1, meta_v1
    from carob.api.validation.field import Cause

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
NOT_POSITIVE = "must be greater than zero"
_WEIGHT = "must be in the range 1-100"
_SELECTOR_MISSING = "must not be specified when labelSelector is not set"
_TWICE = "exists in both matchLabelKeys and labelSelector"


def affinity(out: list[Cause], path: str, wanted: core_v1.Affinity) -> None:
    """Which nodes and which neighbours a Pod wants."""
    nodes = wanted.node_affinity
    if nodes is not None:
        here = f"{path}.nodeAffinity"
        required = nodes.required_during_scheduling_ignored_during_execution
        if required is not None:
            node_selector(out, f"{here}.requiredDuringSchedulingIgnoredDuringExecution", required)
        for i, term in enumerate(nodes.preferred_during_scheduling_ignored_during_execution):
            shown = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
            if not 0 < term.weight <= 100:
                out.append(field.invalid(f"{shown}.weight", term.weight, _WEIGHT))
            _node_term(out, f"{shown}.preference", term.preference, values=False)
    for name, pods in (("podAffinity", wanted.pod_affinity), ("podAntiAffinity", wanted.pod_anti_affinity)):
        if pods is None:
            continue
        here = f"{path}.{name}"
        for i, pod_term in enumerate(pods.required_during_scheduling_ignored_during_execution):
            _pod_term(out, f"{here}.requiredDuringSchedulingIgnoredDuringExecution[{i}]", pod_term)
        for i, weighted in enumerate(pods.preferred_during_scheduling_ignored_during_execution):
            shown = f"{here}.preferredDuringSchedulingIgnoredDuringExecution[{i}]"
            if not 0 < weighted.weight <= 100:
                out.append(field.invalid(f"{shown}.weight", weighted.weight, _WEIGHT))
            _pod_term(out, f"{shown}.podAffinityTerm", weighted.pod_affinity_term)


def node_selector(out: list[Cause], path: str, selector: core_v1.NodeSelector) -> None:
    """Terms of which a node must meet one."""
    if not selector.node_selector_terms:
        out.append(field.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
    for i, term in enumerate(selector.node_selector_terms):
        _node_term(out, f"{path}.nodeSelectorTerms[{i}]", term)


def _node_term(out: list[Cause], path: str, term: core_v1.NodeSelectorTerm, *, values: bool = True) -> None:
    for i, expression in enumerate(term.match_expressions):
        here = f"{path}.matchExpressions[{i}]"
        before = len(out)
        key, operator = expression.key, expression.operator
        meta.selector_requirement(out, here, key, operator, expression.values, numeric=True)
        if not values:
            # preferences may name values that no label can have: they then just never match
            out[before:] = [c for c in out[before:] if not c["field"].startswith(f"{here}.values[")]
    for i, expression in enumerate(term.match_fields):
        here = f"{path}.matchFields[{i}]"
        if expression.operator not in ("In", "NotIn"):
            out.append(field.invalid(f"{here}.operator", expression.operator, "not a valid selector operator"))
        elif len(expression.values) != 1:
            words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            out.append(field.required(f"{here}.values", words))
        if expression.key != "metadata.name":
            out.append(field.invalid(f"{here}.key", expression.key, "not a valid field selector key"))
            continue
        for j, value in enumerate(expression.values):
            meta.wrong_name(out, f"{here}.values[{j}]", value, names.dns_subdomain(value))


def _pod_term(out: list[Cause], path: str, term: core_v1.PodAffinityTerm) -> None:
    meta.label_selector(out, f"{path}.labelSelector", term.label_selector)
    meta.label_selector(out, f"{path}.namespaceSelector", term.namespace_selector)
    for name in term.namespaces:
        meta.wrong_name(out, f"{path}.namespace", name, names.dns_label(name))
    if term.match_label_keys or term.mismatch_label_keys:
        _label_keys(out, path, term)
    if not term.topology_key:
        out.append(field.required(f"{path}.topologyKey", "can not be empty"))
    meta.wrong_name(out, f"{path}.topologyKey", term.topology_key, names.qualified_name(term.topology_key))


def _label_keys(out: list[Cause], path: str, term: core_v1.PodAffinityTerm) -> None:
    for name, keys in (("matchLabelKeys", term.match_label_keys), ("mismatchLabelKeys", term.mismatch_label_keys)):
        if keys and term.label_selector is None:
            out.append(field.forbidden(f"{path}.{name}", _SELECTOR_MISSING))
        elif keys:
            for i, key in enumerate(keys):
                meta.wrong_name(out, f"{path}.{name}[{i}]", key, names.qualified_name(key))
    if term.label_selector is not None:
        known = set(term.label_selector.match_labels)
        for expression in term.label_selector.match_expressions:
            if expression.key in term.match_label_keys and expression.key in known:
                position = term.match_label_keys.index(expression.key)
                out.append(field.invalid(f"{path}[{position}]", expression.key, _TWICE))
            known.add(expression.key)
    for i, key in enumerate(term.match_label_keys):
        if key in term.mismatch_label_keys:
            words = "exists in both matchLabelKeys and mismatchLabelKeys"
            out.append(field.invalid(f"{path}.matchLabelKeys[{i}]", key, words))


def taint_effect(out: list[Cause], path: str, effect: str) -> None:
    """What a taint does."""
    if not effect:
        out.append(field.required(path))
    elif effect not in EFFECTS:
        out.append(field.not_supported(path, effect, EFFECTS))


def tolerations(out: list[Cause], path: str, found: Sequence[core_v1.Toleration]) -> None:
    """Which taints a Pod bears."""
    for i, toleration in enumerate(found):
        if toleration.key:
            wrong = names.qualified_name(toleration.key)
            if wrong:
                meta.wrong_name(out, f"{path}[{i}].key", toleration.key, wrong)
            elif toleration.operator == "Exists" and toleration.effect == "NoExecute" and not toleration.value:
                continue  # as the two that every Pod is given
        _toleration(out, f"{path}[{i}]", toleration)


def _toleration(out: list[Cause], path: str, toleration: core_v1.Toleration) -> None:
    operator, value, effect = toleration.operator, toleration.value, toleration.effect
    if not toleration.key and operator != "Exists":
        words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        out.append(field.invalid(f"{path}.operator", operator, words))
    if toleration.toleration_seconds is not None and effect != "NoExecute":
        words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        out.append(field.invalid(f"{path}.effect", effect, words))
    if operator in ("Equal", ""):
        wrong = names.label_value(value)
        if wrong:
            out.append(field.invalid(f"{path}.operator", value, ";".join(wrong)))
    elif operator == "Exists":
        if value:
            words = "value must be empty when `operator` is 'Exists'"
            out.append(field.invalid(f"{path}.operator", value, words))
    else:
        out.append(field.not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect:
        taint_effect(out, f"{path}.effect", effect)


def taints(out: list[Cause], path: str, found: Sequence[core_v1.Taint]) -> None:
    """What a node asks of Pods; one taint a key and effect."""
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(found):
        here = f"{path}[{i}]"
        meta.wrong_name(out, f"{here}.key", taint.key, names.qualified_name(taint.key))
        wrong = names.label_value(taint.value)
        if wrong:
            out.append(field.invalid(f"{here}.value", taint.value, ";".join(wrong)))
        taint_effect(out, f"{here}.effect", taint.effect)
        if (taint.key, taint.effect) in seen:
            shown = {"Key": taint.key, "Value": taint.value, "Effect": taint.effect, "TimeAdded": taint.time_added}
            cause = field.duplicate(here, shown)
            cause["message"] += ": taints must be unique by key and effect pair"
            out.append(cause)
        seen.add((taint.key, taint.effect))


def spread(out: list[Cause], path: str, constraints: Sequence[core_v1.TopologySpreadConstraint]) -> None:
    """How evenly Pods must lie over domains."""
    actions = ("DoNotSchedule", "ScheduleAnyway")
    last = {(one.topology_key, one.when_unsatisfiable): i for i, one in enumerate(constraints)}
    for i, constraint in enumerate(constraints):
        here = f"{path}[{i}]"
        if constraint.max_skew <= 0:
            out.append(field.invalid(f"{here}.maxSkew", constraint.max_skew, NOT_POSITIVE))
        if not constraint.topology_key:
            out.append(field.required(f"{here}.topologyKey", "can not be empty"))
        action = constraint.when_unsatisfiable
        if action not in actions:
            out.append(field.not_supported(f"{here}.whenUnsatisfiable", action, actions))
        pair = (constraint.topology_key, action)
        if last[pair] > i:
            out.append(field.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}"))
        _min_domains(out, f"{here}.minDomains", constraint.min_domains, action)
        for name, policy in (
            ("nodeAffinityPolicy", constraint.node_affinity_policy),
            ("nodeTaintsPolicy", constraint.node_taints_policy),
        ):
            if policy is not None and policy not in ("Honor", "Ignore"):
                out.append(field.not_supported(f"{here}.{name}", policy, ("Honor", "Ignore")))
        if constraint.match_label_keys:
            _spread_keys(out, f"{here}.matchLabelKeys", constraint.match_label_keys, constraint.label_selector)
        meta.label_selector(out, f"{here}.labelSelector", constraint.label_selector)


def _min_domains(out: list[Cause], path: str, value: int | None, action: str) -> None:
    if value is None:
        return
    if value <= 0:
        out.append(field.invalid(path, value, NOT_POSITIVE))
    if action != "DoNotSchedule":
        words = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        out.append(field.invalid(path, value, words))


def _spread_keys(out: list[Cause], path: str, keys: Sequence[str], selector: meta_v1.LabelSelector | None) -> None:
    known: set[str] = set()
    if selector is None:
        out.append(field.forbidden(path, _SELECTOR_MISSING))
    else:
        known = {*selector.match_labels, *(e.key for e in selector.match_expressions)}
    for i, key in enumerate(keys):
        meta.wrong_name(out, f"{path}[{i}]", key, names.qualified_name(key))
        if key in known:
            out.append(field.invalid(f"{path}[{i}]", key, _TWICE))
