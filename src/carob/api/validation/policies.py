"""Rules of admission policies and their bindings.

Pure. Source: `pkg/apis/admissionregistration/validation`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from carob.api import expressions
from carob.api.types import admissionregistration_v1
from carob.api.validation import field, meta, names
from carob.api.validation.webhooks import MATCH_POLICIES, POLICIES, expression, match_conditions, one_of, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

MAX_ANNOTATIONS = 20
MAX_ANNOTATION_BYTES = 5 * 1024
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    {"in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"}
    | {"package", "namespace", "return", "var", "void", "while", "true", "false", "null"}
)
_NOTHING = "validations or auditAnnotations must contain at least one item"
_DENY_AND_WARN = "Deny and Warn may not be used together since the Deny effect also includes the Warn effect"


def validating(out: list[Cause], obj: admissionregistration_v1.ValidatingAdmissionPolicy) -> None:
    """A ValidatingAdmissionPolicy."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _validating_spec(out, obj.metadata.name, obj.spec)


def _validating_spec(out: list[Cause], name: str, spec: admissionregistration_v1.ValidatingAdmissionPolicySpec) -> None:
    around = _common(out, spec)
    if not spec.validations and not spec.audit_annotations:
        out += [field.required(f"spec.{name}", _NOTHING) for name in ("validations", "auditAnnotations")]
    for i, found in enumerate(spec.validations):
        _validation(out, f"spec.validations[{i}]", found, around)
    annotations = spec.audit_annotations
    if len(annotations) > MAX_ANNOTATIONS:
        out.append(field.too_many("spec.auditAnnotations", len(annotations), MAX_ANNOTATIONS))
    seen: set[str] = set()
    for i, annotation in enumerate(annotations):
        here = f"spec.auditAnnotations[{i}]"
        key = f"{name}/{annotation.key}" if name else ""
        if not name:
            out.append(field.invalid(f"{here}.key", annotation.key, "requires metadata.name be non-empty"))
        else:
            meta.wrong_name(out, f"{here}.key", key, names.qualified_name(key))
        if not annotation.value_expression.strip():
            out.append(field.required(f"{here}.valueExpression", "valueExpression is not specified"))
        elif len(annotation.value_expression.strip().encode("utf-8", "replace")) > MAX_ANNOTATION_BYTES:
            words = f"must not exceed {MAX_ANNOTATION_BYTES} bytes in length"
            out.append(field.required(f"{here}.valueExpression", words))
        else:
            text = annotation.value_expression
            expression(out, f"{here}.valueExpression", text, around, "string", "null_type")
        if annotation.key in seen:
            out.append(field.duplicate(f"{here}.key", annotation.key))
        seen.add(annotation.key)


def _validation(
    out: list[Cause], path: str, found: admissionregistration_v1.Validation, around: expressions.Surroundings
) -> None:
    condition, message = found.expression.strip(), found.message.strip()
    if not condition:
        out.append(field.required(f"{path}.expression", "expression is not specified"))
    else:
        expression(out, f"{path}.expression", found.expression, around, "bool")
    if found.message_expression and not found.message_expression.strip():
        words = "must be non-empty if specified"
        out.append(field.invalid(f"{path}.messageExpression", found.message_expression, words))
    elif found.message_expression:
        nobody = replace(around, authorizer=False)
        expression(out, f"{path}.messageExpression", found.message_expression, nobody, "string")
    if found.message and not message:
        out.append(field.invalid(f"{path}.message", found.message, "message must be non-empty if specified"))
    elif "\n" in message:
        out.append(field.invalid(f"{path}.message", found.message, "message must not contain line breaks"))
    elif "\n" in condition and not message:
        words = "message must be specified if expression contains line breaks"
        out.append(field.required(f"{path}.message", words))
    one_of(out, f"{path}.reason", found.reason, REASONS)


def _common(out: list[Cause], spec: Any) -> expressions.Surroundings:
    """What both kinds of policies have. Returns what their expressions may speak of."""
    if spec.failure_policy is None:
        out.append(field.required("spec.failurePolicy"))
    one_of(out, "spec.failurePolicy", spec.failure_policy, POLICIES)
    if spec.param_kind is not None:
        _param_kind(out, "spec.paramKind", spec.param_kind)
    if spec.match_constraints is None:
        out.append(field.required("spec.matchConstraints"))
    else:
        _match(out, "spec.matchConstraints", spec.match_constraints)
        if not spec.match_constraints.resource_rules:
            out.append(field.required("spec.matchConstraints.resourceRules"))
    params = spec.param_kind is not None
    conditions = expressions.Surroundings(params=params)
    match_conditions(out, "spec.matchConditions", spec.match_conditions, conditions)
    types: dict[str, str] = {}
    around = expressions.Surroundings(params=params, variables=types)
    for i, variable in enumerate(spec.variables):
        here = f"spec.variables[{i}]"
        if not variable.name:
            out.append(field.required(f"{here}.name"))
        elif not _IDENTIFIER.fullmatch(variable.name) or variable.name in _RESERVED:
            out.append(field.invalid(f"{here}.name", variable.name, "must be a valid CEL identifier"))
        if not variable.expression.strip():
            out.append(field.required(f"{here}.expression", "expression is not specified"))
            continue
        before = len(out)
        kind = expression(out, f"{here}.expression", variable.expression, around)
        if len(out) == before:
            types[variable.name] = kind
    return around


def _param_kind(out: list[Cause], path: str, kind: admissionregistration_v1.ParamKind) -> None:
    version = kind.api_version
    if not version:
        out.append(field.required(f"{path}.apiVersion"))
    elif version.count("/") > 1:
        words = f"unexpected GroupVersion string: {version}"
        out.append(field.invalid(f"{path}.apiVersion", version, words))
    if not kind.kind:
        out.append(field.required(f"{path}.kind"))
    elif wrong := names.dns_1035_label(kind.kind.lower()):
        words = f"may have mixed case, but should otherwise match: {','.join(wrong)}"
        out.append(field.invalid(f"{path}.kind", kind.kind, words))


def _match(out: list[Cause], path: str, found: admissionregistration_v1.MatchResources) -> None:
    meta.label_selector(out, f"{path}.namespaceSelector", found.namespace_selector)
    meta.label_selector(out, f"{path}.objectSelector", found.object_selector)
    for name, rules in (
        ("resourceRules", found.resource_rules),
        ("excludeResourceRules", found.exclude_resource_rules),
    ):
        for i, one in enumerate(rules):
            rule(out, f"{path}.{name}[{i}]", one)
    if found.match_policy is None:
        out.append(field.required(f"{path}.matchPolicy"))
    one_of(out, f"{path}.matchPolicy", found.match_policy, MATCH_POLICIES)


def mutating(out: list[Cause], obj: admissionregistration_v1.MutatingAdmissionPolicy) -> None:
    """A MutatingAdmissionPolicy."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _mutating_spec(out, obj.spec)


def _mutating_spec(out: list[Cause], spec: admissionregistration_v1.MutatingAdmissionPolicySpec) -> None:
    around = _common(out, spec)
    if not spec.mutations:
        out.append(field.required("spec.mutations", "mutations must contain at least one item"))
    for i, mutation in enumerate(spec.mutations):
        here, kind = f"spec.mutations[{i}]", mutation.patch_type
        if kind == "ApplyConfiguration":
            _patch(out, f"{here}.applyConfiguration", mutation.apply_configuration, around, "Object")
        elif kind == "JSONPatch":
            _patch(out, f"{here}.jsonPatch", mutation.json_patch, around, "list(JSONPatch)")
        elif not kind:
            out.append(field.required(f"{here}.patchType"))
        else:
            out.append(field.not_supported(f"{here}.patchType", kind, ("ApplyConfiguration", "JSONPatch")))
    if not spec.reinvocation_policy:
        out.append(field.required("spec.reinvocationPolicy"))
    else:
        one_of(out, "spec.reinvocationPolicy", spec.reinvocation_policy, ("IfNeeded", "Never"))


def _patch(out: list[Cause], path: str, patch: Any, around: expressions.Surroundings, wanted: str) -> None:
    if patch is None:
        out.append(field.required(path))
    elif not patch.expression.strip():
        out.append(field.required(f"{path}.expression", "expression is not specified"))
    else:
        expression(out, f"{path}.expression", patch.expression, around, wanted)


def validating_binding(out: list[Cause], obj: admissionregistration_v1.ValidatingAdmissionPolicyBinding) -> None:
    """The binding of a ValidatingAdmissionPolicy."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _validating_binding_spec(out, obj)


def _validating_binding_spec(out: list[Cause], obj: admissionregistration_v1.ValidatingAdmissionPolicyBinding) -> None:
    _binding_spec(out, obj.spec)
    _actions(out, "spec.validationActions", obj.spec.validation_actions)


def _binding_spec(out: list[Cause], spec: Any) -> None:
    if not spec.policy_name:
        out.append(field.required("spec.policyName"))
    else:
        meta.wrong_name(out, "spec.policyName", spec.policy_name, names.dns_subdomain(spec.policy_name))
    param = spec.param_ref
    if param is not None:
        _param_ref(out, "spec.paramRef", param)
    if spec.match_resources is not None:
        _match(out, "spec.matchResources", spec.match_resources)


def _param_ref(out: list[Cause], path: str, param: admissionregistration_v1.ParamRef) -> None:
    if param.name:
        meta.wrong_name(out, f"{path}.name", param.name, names.path_segment(param.name))
        if param.selector is not None:
            out.append(field.forbidden(f"{path}.name", "name and selector are mutually exclusive"))
    elif param.selector is None:
        out.append(field.required(path, "one of name or selector must be specified"))
    meta.label_selector(out, f"{path}.selector", param.selector)
    if param.parameter_not_found_action is None:
        out.append(field.required(f"{path}.parameterNotFoundAction"))
    one_of(out, f"{path}.parameterNotFoundAction", param.parameter_not_found_action, ("Allow", "Deny"))


def _actions(out: list[Cause], path: str, actions: Sequence[str]) -> None:
    again = field.repeated(actions)
    for i, action in enumerate(actions):
        one_of(out, f"{path}[{i}]", action, ("Audit", "Deny", "Warn"))
        if again[i]:
            out.append(field.duplicate(f"{path}[{i}]", action))
    if "Deny" in actions and "Warn" in actions:
        out.append(field.invalid(path, list(actions), _DENY_AND_WARN))
    if not actions:
        out.append(field.required(path, "at least one validation action is required"))


def mutating_binding(out: list[Cause], obj: admissionregistration_v1.MutatingAdmissionPolicyBinding) -> None:
    """The binding of a MutatingAdmissionPolicy."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _binding_spec(out, obj.spec)


def _updated(check: Any) -> Any:
    def update(out: list[Cause], new: Any, old: Any) -> None:
        meta.core_updated(out, new.metadata, old.metadata)
        check(out, new)

    return update


CREATE: dict[type[Any], Any] = {
    admissionregistration_v1.ValidatingAdmissionPolicy: validating,
    admissionregistration_v1.ValidatingAdmissionPolicyBinding: validating_binding,
    admissionregistration_v1.MutatingAdmissionPolicy: mutating,
    admissionregistration_v1.MutatingAdmissionPolicyBinding: mutating_binding,
}


def _status(out: list[Cause], new: Any, old: Any) -> None:
    meta.core_updated(out, new.metadata, old.metadata)


UPDATE: dict[tuple[type[Any], str], Any] = {(kind, ""): _updated(create) for kind, create in CREATE.items()} | {
    (admissionregistration_v1.ValidatingAdmissionPolicy, "status"): _status
}
