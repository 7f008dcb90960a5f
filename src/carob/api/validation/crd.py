"""Rules of CustomResourceDefinitions, other than those of their schemas.

Pure. What all versions have in common upstream keeps once, above them; paths and values in messages show it there.

Source: apiextensions-apiserver `pkg/apis/apiextensions/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from carob.api import codec
from carob.api.types import apiextensions_v1
from carob.api.validation import crd_schema, field, meta, names, webhooks
from carob.api.validation.internal import tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

APPROVAL = "api-approved.kubernetes.io"
_ENHANCEMENT = "see https://github.com/kubernetes/enhancements/pull/1111"
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_NO_WEBHOOK = "should not be set when strategy is not set to Webhook"
_PRESERVE = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
_PER_VERSION = (
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additional_printer_columns", "additionalPrinterColumns"),
    ("selectable_fields", "selectableFields"),
)


def definition(out: list[Cause], obj: apiextensions_v1.CustomResourceDefinition) -> None:
    """A new kind."""
    wanted = f"{obj.spec.names.plural}.{obj.spec.group}"

    def rule(name: str) -> list[str]:
        wrong = list(names.dns_subdomain(name))
        return wrong if name == wanted else [*wrong, 'must be spec.names.plural+"."+spec.group']

    meta.core(out, obj.metadata, False, rule)
    _definition(out, obj, None)


def _definition(
    out: list[Cause],
    obj: apiextensions_v1.CustomResourceDefinition,
    old: apiextensions_v1.CustomResourceDefinition | None,
) -> None:
    _spec(out, obj.spec)
    if old is not None:
        conditions = old.status.conditions or ()
        if any(c.type == "Established" and c.status == "True" for c in conditions):
            meta.immutable(out, "spec.scope", obj.spec.scope, old.spec.scope)
            meta.immutable(out, "spec.names.kind", obj.spec.names.kind, old.spec.names.kind)
        meta.immutable(out, "spec.group", obj.spec.group, old.spec.group)
        meta.immutable(out, "spec.names.plural", obj.spec.names.plural, old.spec.names.plural)
    if obj.status.accepted_names is not None:
        _names(out, "status.acceptedNames", obj.status.accepted_names)
    _stored(out, "status.storedVersions", obj)
    _approval(out, obj, old)
    preserved = old is not None and bool(old.spec.preserve_unknown_fields)
    if obj.spec.preserve_unknown_fields and not preserved:
        out.append(field.invalid("spec.preserveUnknownFields", True, _PRESERVE))


def _spec(out: list[Cause], spec: apiextensions_v1.CustomResourceDefinitionSpec) -> None:
    if not spec.group:
        out.append(field.required("spec.group"))
    elif wrong := names.dns_subdomain(spec.group):
        out.append(field.invalid("spec.group", spec.group, ",".join(wrong)))
    elif "." not in spec.group:
        out.append(field.invalid("spec.group", spec.group, "should be a domain with at least one dot"))
    _choice(out, "spec.scope", spec.scope, ("Cluster", "Namespaced"))
    common = _common(spec.versions)
    for i, version in enumerate(spec.versions):
        if version.schema is None or version.schema.open_apiv3_schema is None:
            here = f"spec.versions[{i}].schema.openAPIV3Schema"
            out.append(field.required(here, "schemas are required"))
    for i, version in enumerate(spec.versions):
        here = f"spec.versions[{i}]"
        if wrong := names.dns_1035_label(version.name):
            out.append(field.invalid(f"{here}.name", version.name, ",".join(wrong)))
        _parts(out, here, version, lambda name: name not in common, "schema")
    known = [version.name for version in spec.versions]
    if len(set(known)) != len(known):
        out.append(field.invalid("spec.versions", _shown(spec, common), "must contain unique version names"))
    if sum(version.storage for version in spec.versions) != 1:
        words = "must have exactly one version marked as storage version"
        out.append(field.invalid("spec.versions", _shown(spec, common), words))
    found = spec.names
    for name, value in (
        ("plural", found.plural),
        ("singular", found.singular),
        ("kind", found.kind),
        ("listKind", found.list_kind),
    ):
        if not value:
            out.append(field.required(f"spec.names.{name}"))
    _names(out, "spec.names", found)
    if spec.versions:
        _parts(out, "spec", spec.versions[0], lambda name: name in common, "validation")
    if spec.conversion is not None:
        _conversion(out, "spec.conversion", spec.conversion)


def _common(versions: Sequence[apiextensions_v1.CustomResourceDefinitionVersion]) -> set[str]:
    """The fields that say the same in every version."""
    return {name for name, _ in _PER_VERSION if all(getattr(v, name) == getattr(versions[0], name) for v in versions)}


def _shown(spec: apiextensions_v1.CustomResourceDefinitionSpec, common: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "Name": version.name,
            "Served": version.served,
            "Storage": version.storage,
            "Deprecated": bool(version.deprecated),
            "DeprecationWarning": version.deprecation_warning,
        }
        | {
            name: None if attribute in common else tree(getattr(version, attribute))
            for name, attribute in (
                ("Schema", "schema"),
                ("Subresources", "subresources"),
                ("AdditionalPrinterColumns", "additional_printer_columns"),
                ("SelectableFields", "selectable_fields"),
            )
        }
        for version in spec.versions
    ]


def _parts(
    out: list[Cause],
    path: str,
    version: apiextensions_v1.CustomResourceDefinitionVersion,
    wanted: Any,
    schema_name: str,
) -> None:
    schema = version.schema.open_apiv3_schema if version.schema is not None else None
    if schema is not None and wanted("schema"):
        crd_schema.check(out, f"{path}.{schema_name}.openAPIV3Schema", codec.to_tree(schema))
    if version.subresources is not None and version.subresources.scale is not None and wanted("subresources"):
        _scale(out, f"{path}.subresources.scale", version.subresources.scale)
    if wanted("additional_printer_columns"):
        for i, column in enumerate(version.additional_printer_columns or ()):
            _column(out, f"{path}.additionalPrinterColumns[{i}]", column)
    if wanted("selectable_fields"):
        for i, selectable in enumerate(version.selectable_fields or ()):
            _json_path(out, f"{path}.selectableFields[{i}].jsonPath", selectable.json_path)


def _choice(out: list[Cause], path: str, value: str, supported: Sequence[str]) -> None:
    if not value:
        out.append(field.required(path))
    elif value not in supported:
        out.append(field.not_supported(path, value, supported))


def _names(out: list[Cause], path: str, found: apiextensions_v1.CustomResourceDefinitionNames) -> None:
    for name, value in (("plural", found.plural), ("singular", found.singular)):
        if value and (wrong := names.dns_1035_label(value)):
            out.append(field.invalid(f"{path}.{name}", value, ",".join(wrong)))
    for name, value in (("kind", found.kind), ("listKind", found.list_kind)):
        if value and (wrong := names.dns_1035_label(value.lower())):
            words = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
            out.append(field.invalid(f"{path}.{name}", value, words))
    for i, short in enumerate(found.short_names or ()):
        if wrong := names.dns_1035_label(short):
            out.append(field.invalid(f"{path}.shortNames[{i}]", short, ",".join(wrong)))
    if found.kind and found.kind == found.list_kind:
        out.append(field.invalid(f"{path}.listKind", found.list_kind, "kind and listKind may not be the same"))
    for i, category in enumerate(found.categories or ()):
        if wrong := names.dns_1035_label(category):
            out.append(field.invalid(f"{path}.categories[{i}]", category, ",".join(wrong)))


def _json_path(out: list[Cause], path: str, text: str) -> bool:
    if not text:
        out.append(field.required(path))
    elif not text.startswith("."):
        out.append(field.invalid(path, text, "must be a simple json path starting with ."))
    else:
        return True
    return False


def _column(out: list[Cause], path: str, column: apiextensions_v1.CustomResourceColumnDefinition) -> None:
    if not column.name:
        out.append(field.required(f"{path}.name"))
    words = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not column.type:
        out.append(field.required(f"{path}.type", words))
    elif column.type not in _COLUMN_TYPES:
        out.append(field.invalid(f"{path}.type", column.type, words))
    if column.format and column.format not in _COLUMN_FORMATS:
        words = f"must be one of {','.join(_COLUMN_FORMATS)}"
        out.append(field.invalid(f"{path}.format", column.format, words))
    _json_path(out, f"{path}.JSONPath", column.json_path)


def _scale(out: list[Cause], path: str, scale: apiextensions_v1.CustomResourceSubresourceScale) -> None:
    for name, text, root in (
        ("specReplicasPath", scale.spec_replicas_path, ".spec"),
        ("statusReplicasPath", scale.status_replicas_path, ".status"),
    ):
        here = f"{path}.{name}"
        if _json_path(out, here, text) and not text.startswith(f"{root}."):
            out.append(field.invalid(here, text, f"should be a json path under {root}"))
    selector, here = scale.label_selector_path, f"{path}.labelSelectorPath"
    if selector and _json_path(out, here, selector) and not selector.startswith((".spec.", ".status.")):
        out.append(field.invalid(here, selector, "should be a json path under either .spec or .status"))


def _conversion(out: list[Cause], path: str, conversion: apiextensions_v1.CustomResourceConversion) -> None:
    _choice(out, f"{path}.strategy", conversion.strategy, ("None", "Webhook"))
    webhook = conversion.webhook
    config = webhook.client_config if webhook is not None else None
    versions = webhook.conversion_review_versions if webhook is not None else []
    if conversion.strategy != "Webhook":
        if config is not None:
            out.append(field.forbidden(f"{path}.webhookClientConfig", _NO_WEBHOOK))
        if versions:
            out.append(field.forbidden(f"{path}.conversionReviewVersions", _NO_WEBHOOK))
        return
    if config is None:
        words = "required when strategy is set to Webhook"
        out.append(field.required(f"{path}.webhookClientConfig", words))
    else:
        webhooks.client_config(out, f"{path}.webhookClientConfig", config)
    here = f"{path}.conversionReviewVersions"
    if not versions:
        out.append(field.required(here))
        return
    again = field.repeated(versions)
    for i, version in enumerate(versions):
        if again[i]:
            out.append(field.invalid(f"{here}[{i}]", version, "duplicate version"))
        elif wrong := names.dns_1035_label(version):
            out.append(field.invalid(f"{here}[{i}]", version, ",".join(wrong)))
    if not {"v1", "v1beta1"} & set(versions):
        out.append(field.invalid(here, versions, "must include at least one of v1, v1beta1"))


def _stored(out: list[Cause], path: str, obj: apiextensions_v1.CustomResourceDefinition) -> None:
    stored = obj.status.stored_versions
    if not stored:
        out.append(field.invalid(path, None, "must have at least one stored version"))
        return
    known = {version.name for version in obj.spec.versions}
    storage = [version.name for version in obj.spec.versions if version.storage]
    for i, name in enumerate(stored):
        if name not in known:
            words = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            out.append(field.invalid(f"{path}[{i}]", name, words))
    for name in storage:
        if name not in stored:
            out.append(field.invalid(path, stored, f"must have the storage version {name}"))


def _approval(
    out: list[Cause],
    obj: apiextensions_v1.CustomResourceDefinition,
    old: apiextensions_v1.CustomResourceDefinition | None,
) -> None:
    """Groups of the community's need a word of the community."""
    group = obj.spec.group
    if not any(group == d or group.endswith(f".{d}") for d in ("k8s.io", "kubernetes.io")):
        return
    value = obj.metadata.annotations.get(APPROVAL, "")
    if old is not None and old.metadata.annotations.get(APPROVAL, "") == value:
        return
    here, words = f"metadata.annotations[{APPROVAL}]", f'protected groups must have approval annotation "{APPROVAL}"'
    if not value:
        out.append(field.required(here, f"{words}, {_ENHANCEMENT}"))
        return
    try:
        url = urlsplit(value)
        good = bool(url.scheme and url.netloc)
    except ValueError:
        good = False
    if not good and not value.startswith("unapproved"):
        either = 'with either a URL or a reason starting with "unapproved"'
        out.append(field.invalid(here, value, f"{words} {either}, {_ENHANCEMENT}"))


def definition_update(
    out: list[Cause],
    new: apiextensions_v1.CustomResourceDefinition,
    old: apiextensions_v1.CustomResourceDefinition,
) -> None:
    """A changed kind; its name, group and (once established) scope stay."""
    meta.core_updated(out, new.metadata, old.metadata)
    _definition(out, new, old)


def definition_status(
    out: list[Cause],
    new: apiextensions_v1.CustomResourceDefinition,
    old: apiextensions_v1.CustomResourceDefinition,
) -> None:
    """What the server made of it."""
    meta.core_updated(out, new.metadata, old.metadata)
    if new.status.accepted_names is not None:
        _names(out, "status.acceptedNames", new.status.accepted_names)
    _stored(out, "status.storedVersions", new)


CREATE: dict[type[Any], Any] = {apiextensions_v1.CustomResourceDefinition: definition}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (apiextensions_v1.CustomResourceDefinition, ""): definition_update,
    (apiextensions_v1.CustomResourceDefinition, "status"): definition_status,
}
