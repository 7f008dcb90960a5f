"""Rules of ObjectMeta: names, namespaces, labels, annotations, owners, finalizers, and what may change.

Pure. Every function appends causes to `out`, in upstream's order.

Source: apimachinery `pkg/api/validation/objectmeta.go`, apiserver `registry/rest/{create,update}.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import meta_v1
from carob.api.validation import field, names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from carob.api.validation.field import Cause

    NameRule = Callable[[str], Sequence[str]]

IMMUTABLE = "field is immutable"
MAX_ANNOTATION_BYTES = 256 * 1024
STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")


def wrong_name(out: list[Cause], path: str, value: str, wrong: Sequence[str]) -> None:
    """One cause for each thing that is wrong with a name."""
    for why in wrong:
        out.append(field.invalid(path, value, why))


def non_negative(out: list[Cause], path: str, value: int) -> None:
    """The number must not be negative."""
    if value < 0:
        out.append(field.invalid(path, value, "must be greater than or equal to 0"))


def immutable(out: list[Cause], path: str, new: Any, old: Any) -> None:
    """The value must not have changed."""
    if new != old:
        out.append(field.invalid(path, new, IMMUTABLE))


def labels(out: list[Cause], path: str, values: Mapping[str, str]) -> None:
    """Keys and values of labels."""
    for key, value in values.items():
        if wrong := names.qualified_name(key):
            wrong_name(out, path, key, wrong)
        if wrong := names.label_value(value):
            wrong_name(out, path, value, wrong)


def annotation_map(out: list[Cause], path: str, values: Mapping[str, str]) -> None:
    """Keys of annotations, whose case does not matter, and the size of all."""
    size = 0
    for key, value in values.items():
        wrong_name(out, path, key, names.qualified_name(key.lower()))
        size += len(key) + len(value)
    if size > MAX_ANNOTATION_BYTES // 4 and _bytes_of(values) > MAX_ANNOTATION_BYTES:
        out.append(field.too_long(path, MAX_ANNOTATION_BYTES))


def _bytes_of(values: Mapping[str, str]) -> int:
    return sum(len(k.encode("utf-8", "replace")) + len(v.encode("utf-8", "replace")) for k, v in values.items())


# of metadata, what upstream calls its fields when it looks at them one by one
_OTHER_FIELDS = (
    ("name", "name"),
    ("generateName", "generate_name"),
    ("namespace", "namespace"),
    ("selfLink", "self_link"),
    ("uID", "uid"),
    ("resourceVersion", "resource_version"),
    ("generation", "generation"),
    ("creationTimestamp", "creation_timestamp"),
    ("deletionTimestamp", "deletion_timestamp"),
    ("deletionGracePeriodSeconds", "deletion_grace_period_seconds"),
    ("ownerReferences", "owner_references"),
    ("finalizers", "finalizers"),
    ("managedFields", "managed_fields"),
)
_NO_METADATA = meta_v1.ObjectMeta()


def of_template(out: list[Cause], path: str, meta: meta_v1.ObjectMeta) -> None:
    """The metadata of what claims are made of: labels and annotations alone. Source: `ValidateTemplateObjectMeta`."""
    annotation_map(out, f"{path}.annotations", meta.annotations)
    labels(out, f"{path}.labels", meta.labels)
    for name, attribute in _OTHER_FIELDS:
        if getattr(meta, attribute) != getattr(_NO_METADATA, attribute):
            out.append(field.forbidden(f"{path}.{name}", "cannot be set"))


def owner_references(out: list[Cause], path: str, owners: Sequence[meta_v1.OwnerReference]) -> None:
    """Every owner must be named whole, and only one may be the controller."""
    controller = ""
    for owner in owners:
        if not owner.api_version.rpartition("/")[2]:
            out.append(field.invalid(f"{path}.apiVersion", owner.api_version, "version must not be empty"))
        for name, value in (("kind", owner.kind), ("name", owner.name), ("uid", owner.uid)):
            if not value:
                out.append(field.invalid(f"{path}.{name}", value, "must not be empty"))
        if (owner.api_version, owner.kind) == ("v1", "Event"):
            out.append(field.invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.controller:
            this = f"{owner.kind}/{owner.name}"
            if controller:
                words = 'Only one reference can have Controller set to true. Found "true" in references for'
                out.append(field.invalid(path, list(owners), f"{words} {controller} and {this}"))
            else:
                controller = this


def finalizers(out: list[Cause], path: str, values: Sequence[str]) -> None:
    """Forms of the names; orphaning and deleting dependents exclude each other."""
    for value in values:
        wrong_name(out, path, value, names.qualified_name(value))
    if "orphan" in values and "foregroundDeletion" in values:
        words = "finalizer orphan and foregroundDeletion cannot be both set"
        out.append(field.invalid(path, list(values), words))


def domain_prefixed(out: list[Cause], path: str, value: str) -> None:
    """A domain, a slash and a path. Source: apimachinery `validation.IsDomainPrefixedPath`."""
    domain, _, rest = value.partition("/")
    if not value:
        out.append(field.required(path))
    elif not domain or not rest:
        out.append(field.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    else:
        wrong_name(out, path, domain, names.dns_subdomain(domain))
        if names.http_path(rest):
            out.append(field.invalid(path, rest, names.http_path(rest)[0]))


def standard_finalizer(out: list[Cause], path: str, value: str) -> None:
    """A finalizer without a domain must be one of upstream's own."""
    if "/" not in value and value not in STANDARD_FINALIZERS:
        words = "name is neither a standard finalizer name nor is it fully qualified"
        out.append(field.invalid(path, value, words))


def generic(
    out: list[Cause], meta: meta_v1.ObjectMeta, namespaced: bool, rule: NameRule, path: str = "metadata"
) -> None:
    """The rules of every kind's metadata; `rule` is the kind's rule for names."""
    if meta.generate_name:
        wrong_name(out, f"{path}.generateName", meta.generate_name, rule(names.masked(meta.generate_name)))
    if not meta.name:
        out.append(field.required(f"{path}.name", "name or generateName is required"))
    elif wrong := rule(meta.name):
        wrong_name(out, f"{path}.name", meta.name, wrong)
    if namespaced:
        if not meta.namespace:
            out.append(field.required(f"{path}.namespace"))
        elif wrong := names.dns_label(meta.namespace):
            wrong_name(out, f"{path}.namespace", meta.namespace, wrong)
    elif meta.namespace:
        out.append(field.forbidden(f"{path}.namespace", "not allowed on this type"))
    if meta.generation < 0:
        non_negative(out, f"{path}.generation", meta.generation)
    _common(out, meta, path)


def _common(out: list[Cause], meta: meta_v1.ObjectMeta, path: str) -> None:
    if meta.labels:
        labels(out, f"{path}.labels", meta.labels)
    if meta.annotations:
        annotation_map(out, f"{path}.annotations", meta.annotations)
    if meta.owner_references:
        owner_references(out, f"{path}.ownerReferences", meta.owner_references)
    if meta.finalizers:
        finalizers(out, f"{path}.finalizers", meta.finalizers)


def core(out: list[Cause], meta: meta_v1.ObjectMeta, namespaced: bool, rule: NameRule, path: str = "metadata") -> None:
    """`generic`, and the older kinds' rule for finalizers without a domain."""
    generic(out, meta, namespaced, rule, path)
    for i, value in enumerate(meta.finalizers):
        standard_finalizer(out, f"{path}.finalizers[{i}]", value)


def updated(out: list[Cause], new: meta_v1.ObjectMeta, old: meta_v1.ObjectMeta, path: str = "metadata") -> None:
    """What may change in metadata."""
    if old.deletion_timestamp is not None:
        extra = sorted(set(new.finalizers) - set(old.finalizers))
        if extra:
            listed = ", ".join(field.quoted(e) for e in extra)
            words = "no new finalizers can be added if the object is being deleted, found new finalizers"
            out.append(field.forbidden(f"{path}.finalizers", f"{words} []string{{{listed}}}"))
    if not new.resource_version:
        out.append(field.invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    if new.generation < old.generation:
        out.append(field.invalid(f"{path}.generation", new.generation, "must not be decremented"))
    for name, one, other in (
        ("name", new.name, old.name),
        ("namespace", new.namespace, old.namespace),
        ("uid", new.uid, old.uid),
        ("creationTimestamp", new.creation_timestamp, old.creation_timestamp),
        ("deletionTimestamp", new.deletion_timestamp, old.deletion_timestamp),
        ("deletionGracePeriodSeconds", new.deletion_grace_period_seconds, old.deletion_grace_period_seconds),
    ):
        if one != other:
            out.append(field.invalid(f"{path}.{name}", one, IMMUTABLE))
    if new.labels:
        labels(out, f"{path}.labels", new.labels)
    if new.annotations:
        annotation_map(out, f"{path}.annotations", new.annotations)
    if new.owner_references:
        owner_references(out, f"{path}.ownerReferences", new.owner_references)


def core_updated(out: list[Cause], new: meta_v1.ObjectMeta, old: meta_v1.ObjectMeta, path: str = "metadata") -> None:
    """`updated`, and the older kinds' rule for finalizers without a domain."""
    updated(out, new, old, path)
    for i, value in enumerate(new.finalizers):
        standard_finalizer(out, f"{path}.finalizers[{i}]", value)


def label_selector(out: list[Cause], path: str, selector: meta_v1.LabelSelector | None) -> None:
    """Keys, operators and values of a label selector. Source: `apis/meta/v1/validation`."""
    if selector is None:
        return
    labels(out, f"{path}.matchLabels", selector.match_labels)
    for i, expression in enumerate(selector.match_expressions):
        here = f"{path}.matchExpressions[{i}]"
        selector_requirement(out, here, expression.key, expression.operator, expression.values)


_LISTS = ("In", "NotIn")
_BARE = ("Exists", "DoesNotExist")


def selector_requirement(
    out: list[Cause], path: str, key: str, operator: str, values: Sequence[str], *, numeric: bool = False
) -> None:
    """One expression of a label or node selector; `numeric` allows Gt and Lt."""
    if operator in _LISTS:
        if not values:
            out.append(field.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in _BARE:
        if values:
            words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            out.append(field.forbidden(f"{path}.values", words))
    elif numeric and operator in ("Gt", "Lt"):
        if len(values) != 1:
            words = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            out.append(field.required(f"{path}.values", words))
    else:
        out.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    wrong_name(out, f"{path}.key", key, names.qualified_name(key))
    for i, value in enumerate(values):
        wrong_name(out, f"{path}.values[{i}]", value, names.label_value(value))
