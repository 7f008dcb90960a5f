"""Rules of roles and their bindings. Pure. Source: `pkg/apis/rbac/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import selectors
from carob.api.types import rbac_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import meta_v1
    from carob.api.validation.field import Cause

GROUP = "rbac.authorization.k8s.io"


def role(out: list[Cause], obj: rbac_v1.Role) -> None:
    """A Role."""
    meta.core(out, obj.metadata, True, names.path_segment)
    _rules(out, obj.rules or (), namespaced=True)


def cluster_role(out: list[Cause], obj: rbac_v1.ClusterRole) -> None:
    """A ClusterRole."""
    meta.core(out, obj.metadata, False, names.path_segment)
    _rules(out, obj.rules or (), namespaced=False)
    aggregation = obj.aggregation_rule
    if aggregation is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    if not aggregation.cluster_role_selectors:
        words = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        out.append(field.required(path, words))
    for i, selector in enumerate(aggregation.cluster_role_selectors):
        meta.label_selector(out, f"{path}[{i}]", selector)
        if _broken(selector):
            out.append(field.raw_invalid(f"{path}[{i}]", "null", "invalid label selector."))


def _broken(selector: meta_v1.LabelSelector) -> bool:
    try:
        selectors.from_struct(selector)
    except selectors.SelectorError:
        return True
    return False


def _rules(out: list[Cause], rules: Sequence[rbac_v1.PolicyRule], *, namespaced: bool) -> None:
    for i, rule in enumerate(rules):
        here = f"rules[{i}]"
        if not rule.verbs:
            out.append(field.required(f"{here}.verbs", "verbs must contain at least one value"))
        urls = rule.non_resource_urls
        if urls:
            if namespaced:
                words = "namespaced rules cannot apply to non-resource URLs"
                out.append(field.invalid(f"{here}.nonResourceURLs", urls, words))
            if rule.api_groups or rule.resources or rule.resource_names:
                words = "rules cannot apply to both regular resources and non-resource URLs"
                out.append(field.invalid(f"{here}.nonResourceURLs", urls, words))
            continue
        if not rule.api_groups:
            out.append(field.required(f"{here}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.resources:
            out.append(field.required(f"{here}.resources", "resource rules must supply at least one resource"))


def _binding(
    out: list[Cause], obj: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding, kinds: Sequence[str], *, namespaced: bool
) -> None:
    meta.core(out, obj.metadata, namespaced, names.path_segment)
    reference = obj.role_ref
    if reference.api_group != GROUP:
        out.append(field.not_supported("roleRef.apiGroup", reference.api_group, (GROUP,)))
    if reference.kind not in kinds:
        out.append(field.not_supported("roleRef.kind", reference.kind, kinds))
    if not reference.name:
        out.append(field.required("roleRef.name"))
    else:
        meta.wrong_name(out, "roleRef.name", reference.name, names.path_segment(reference.name))
    for i, subject in enumerate(obj.subjects):
        _subject(out, f"subjects[{i}]", subject, namespaced=namespaced)


def _subject(out: list[Cause], path: str, subject: rbac_v1.Subject, *, namespaced: bool) -> None:
    if not subject.name:
        out.append(field.required(f"{path}.name"))
    if subject.kind == "ServiceAccount":
        if subject.name:
            meta.wrong_name(out, f"{path}.name", subject.name, names.dns_subdomain(subject.name))
        if subject.api_group:
            out.append(field.not_supported(f"{path}.apiGroup", subject.api_group, ("",)))
        if not namespaced and not subject.namespace:
            out.append(field.required(f"{path}.namespace"))
    elif subject.kind in ("User", "Group"):
        if subject.api_group != GROUP:
            out.append(field.not_supported(f"{path}.apiGroup", subject.api_group, (GROUP,)))
    else:
        out.append(field.not_supported(f"{path}.kind", subject.kind, ("ServiceAccount", "User", "Group")))


def role_binding(out: list[Cause], obj: rbac_v1.RoleBinding) -> None:
    """A RoleBinding."""
    _binding(out, obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(out: list[Cause], obj: rbac_v1.ClusterRoleBinding) -> None:
    """A ClusterRoleBinding."""
    _binding(out, obj, ("ClusterRole",), namespaced=False)


def _updated(create: Any) -> Any:
    def update(out: list[Cause], new: Any, old: Any) -> None:
        create(out, new)
        meta.core_updated(out, new.metadata, old.metadata)
        if getattr(new, "role_ref", None) != getattr(old, "role_ref", None):
            out.append(field.invalid("roleRef", new.role_ref, "cannot change roleRef"))

    return update


CREATE: dict[type[Any], Any] = {
    rbac_v1.Role: role,
    rbac_v1.ClusterRole: cluster_role,
    rbac_v1.RoleBinding: role_binding,
    rbac_v1.ClusterRoleBinding: cluster_role_binding,
}
UPDATE: dict[tuple[type[Any], str], Any] = {(kind, ""): _updated(create) for kind, create in CREATE.items()}
