"""Rules of FlowSchemas and PriorityLevelConfigurations. Pure. Source: `pkg/apis/flowcontrol/validation`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from carob.api.types import flowcontrol_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.validation.field import Cause

MAX_PRECEDENCE = 10_000
MAX_QUEUES = 10_000_000
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_PERCENT = "must be between 0 and 100, inclusive"


def _everything(level: str, precedence: int, *groups: str) -> flowcontrol_v1.FlowSchemaSpec:
    return flowcontrol_v1.FlowSchemaSpec(
        priority_level_configuration=flowcontrol_v1.PriorityLevelConfigurationReference(name=level),
        matching_precedence=precedence,
        rules=[
            flowcontrol_v1.PolicyRulesWithSubjects(
                subjects=[
                    flowcontrol_v1.Subject(kind="Group", group=flowcontrol_v1.GroupSubject(name=name))
                    for name in groups
                ],
                resource_rules=[
                    flowcontrol_v1.ResourcePolicyRule(
                        verbs=["*"], api_groups=["*"], resources=["*"], cluster_scope=True, namespaces=["*"]
                    )
                ],
                non_resource_rules=[flowcontrol_v1.NonResourcePolicyRule(verbs=["*"], non_resource_urls=["*"])],
            )
        ],
    )


# what no cluster can be without
FIXED_SCHEMAS = {
    "exempt": _everything("exempt", 1, "system:masters"),
    "catch-all": msgspec.structs.replace(
        _everything("catch-all", MAX_PRECEDENCE, "system:unauthenticated", "system:authenticated"),
        distinguisher_method=flowcontrol_v1.FlowDistinguisherMethod(type="ByUser"),
    ),
}
FIXED_LEVELS = {
    "exempt": flowcontrol_v1.PriorityLevelConfigurationSpec(
        type="Exempt",
        exempt=flowcontrol_v1.ExemptPriorityLevelConfiguration(nominal_concurrency_shares=0, lendable_percent=0),
    ),
    "catch-all": flowcontrol_v1.PriorityLevelConfigurationSpec(
        type="Limited",
        limited=flowcontrol_v1.LimitedPriorityLevelConfiguration(
            nominal_concurrency_shares=5,
            lendable_percent=0,
            limit_response=flowcontrol_v1.LimitResponse(type="Reject"),
        ),
    ),
}


def flow_schema(out: list[Cause], obj: flowcontrol_v1.FlowSchema) -> None:
    """Which requests belong to which priority."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec, here = obj.spec, "spec.matchingPrecedence"
    precedence = spec.matching_precedence
    if precedence <= 0:
        out.append(field.invalid(here, precedence, "must be a positive value"))
    if precedence > MAX_PRECEDENCE:
        out.append(field.invalid(here, precedence, f"must not be greater than {MAX_PRECEDENCE}"))
    if precedence == 1 and obj.metadata.name != "exempt":
        words = "only the schema named 'exempt' may have matchingPrecedence 1"
        out.append(field.invalid(here, precedence, words))
    method = spec.distinguisher_method
    if method is not None and method.type not in ("ByNamespace", "ByUser"):
        here = "spec.distinguisherMethod.type"
        out.append(field.not_supported(here, method, ("ByNamespace", "ByUser")))
    level = spec.priority_level_configuration.name
    if not level:
        words = "must reference a priority level"
        out.append(field.required("spec.priorityLevelConfiguration.name", words))
    else:
        meta.wrong_name(out, "spec.priorityLevelConfiguration.name", level, names.dns_subdomain(level))
    for i, rule in enumerate(spec.rules):
        _flow_rule(out, f"spec.rules[{i}]", rule)
    _fixed(out, obj.metadata.name, spec, FIXED_SCHEMAS)
    _conditions(out, obj.status.conditions)


def _fixed(out: list[Cause], name: str, spec: Any, fixed: Mapping[str, Any]) -> None:
    """What must be there for the server to defend itself stays as it is."""
    if name in fixed and spec != fixed[name]:
        out.append(field.invalid("spec", spec, f"spec of '{name}' must equal the fixed value"))


def _conditions(out: list[Cause], found: Sequence[Any]) -> None:
    again = field.repeated(condition.type for condition in found)
    for i, condition in enumerate(found):
        here = f"status.conditions[{i}].type"
        if again[i]:
            out.append(field.duplicate(here, condition.type))
        if not condition.type:
            out.append(field.required(here, "must not be empty"))


def _flow_rule(out: list[Cause], path: str, rule: flowcontrol_v1.PolicyRulesWithSubjects) -> None:
    if not rule.subjects:
        out.append(field.required(f"{path}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.subjects):
        _flow_subject(out, f"{path}.subjects[{i}]", subject)
    if not rule.resource_rules and not rule.non_resource_rules:
        words = "at least one of resourceRules and nonResourceRules has to be non-empty"
        out.append(field.required(path, words))
    for i, wanted in enumerate(rule.resource_rules):
        here = f"{path}.resourceRules[{i}]"
        _verbs(out, f"{here}.verbs", wanted.verbs)
        for name, values, what in (
            ("apiGroups", wanted.api_groups, "api group"),
            ("resources", wanted.resources, "resource"),
        ):
            if not values:
                out.append(field.required(f"{here}.{name}", f"resource rules must supply at least one {what}"))
            else:
                _alone(out, f"{here}.{name}", values, f"{what}s")
        _flow_namespaces(out, f"{here}.namespaces", wanted)
    for i, plain in enumerate(rule.non_resource_rules):
        here = f"{path}.nonResourceRules[{i}]"
        _verbs(out, f"{here}.verbs", plain.verbs)
        urls, there = plain.non_resource_urls, f"{here}.nonResourceURLs"
        if not urls:
            out.append(field.required(there, "nonResourceURLs must contain at least one value"))
        elif not _alone(out, there, urls, "non-resource URLs"):
            for j, url in enumerate(urls):
                _url(out, f"{there}[{j}]", url)


def _alone(out: list[Cause], path: str, values: Sequence[str], what: str) -> bool:
    """Everything stands alone; True if everything is there."""
    if "*" in values and len(values) > 1:
        out.append(field.invalid(path, list(values), f"if '*' is present, must not specify other {what}"))
    return "*" in values


def _verbs(out: list[Cause], path: str, verbs: Sequence[str]) -> None:
    if not verbs:
        out.append(field.required(path, "verbs must contain at least one value"))
    elif not _alone(out, path, verbs, "verbs") and not set(verbs) <= set(VERBS):
        out.append(field.not_supported(path, list(verbs), VERBS))


def _flow_namespaces(out: list[Cause], path: str, wanted: flowcontrol_v1.ResourcePolicyRule) -> None:
    if not wanted.namespaces and not wanted.cluster_scope:
        words = "resource rules that are not cluster scoped must supply at least one namespace"
        out.append(field.required(path, words))
    elif not _alone(out, path, wanted.namespaces, "namespaces"):
        for i, name in enumerate(wanted.namespaces):
            for why in names.dns_label(name):
                words = f"each member of this list must be '*' or a DNS-1123 label; {why}"
                out.append(field.invalid(f"{path}[{i}]", name, words))


def _url(out: list[Cause], path: str, url: str) -> None:
    """Source: `ValidateNonResourceURLPath`."""
    words = ""
    if not url:
        words = "must not be empty"
    elif url == "/":
        return
    elif not url.startswith("/"):
        words = "must start with slash"
    elif " " in url:
        words = "must not contain white-space"
    elif "//" in url:
        words = "must not contain double slash"
    elif "*" in url.removesuffix("*") or (url.endswith("*") and not url.endswith("/*")):
        words = "wildcard can only do suffix matching"
    if words:
        out.append(field.invalid(path, url, words))


def _flow_subject(out: list[Cause], path: str, subject: flowcontrol_v1.Subject) -> None:
    kinds = (
        ("ServiceAccount", "serviceAccount", subject.service_account),
        ("User", "user", subject.user),
        ("Group", "group", subject.group),
    )
    if subject.kind not in ("Group", "ServiceAccount", "User"):
        out.append(field.not_supported(f"{path}.kind", subject.kind, ("Group", "ServiceAccount", "User")))
        return
    for kind, name, given in kinds:
        if kind != subject.kind:
            continue
        if given is None:
            out.append(field.required(f"{path}.{name}", f"{name} is required when subject kind is '{kind}'"))
        elif isinstance(given, flowcontrol_v1.ServiceAccountSubject):
            _account(out, f"{path}.{name}", given)
        elif not given.name:
            out.append(field.required(f"{path}.{name}.name"))
    for kind, name, given in kinds:
        if kind != subject.kind and given is not None:
            out.append(field.forbidden(f"{path}.{name}", f"{name} is forbidden when subject kind is not '{kind}'"))


def _account(out: list[Cause], path: str, account: flowcontrol_v1.ServiceAccountSubject) -> None:
    if not account.name:
        out.append(field.required(f"{path}.name"))
    elif account.name != "*":
        meta.wrong_name(out, f"{path}.name", account.name, names.dns_subdomain(account.name))
    if not account.namespace:
        out.append(field.required(f"{path}.namespace", "must specify namespace for service account"))
    else:
        meta.wrong_name(out, f"{path}.namespace", account.namespace, names.dns_label(account.namespace))


def priority_level(out: list[Cause], obj: flowcontrol_v1.PriorityLevelConfiguration) -> None:
    """How many requests of a priority run at once."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec = obj.spec
    if (obj.metadata.name == "exempt") != (spec.type == "Exempt"):
        words = "type must be 'Exempt' if and only if `name` is 'exempt'"
        out.append(field.invalid("spec.type", spec.type, words))
    if spec.type == "Exempt":
        if spec.exempt is not None:
            _exempt(out, "spec.exempt", spec.exempt)
        if spec.limited is not None:
            out.append(field.forbidden("spec.limited", "must be nil if the type is not Limited"))
    elif spec.type == "Limited":
        if spec.exempt is not None:
            out.append(field.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if spec.limited is None:
            out.append(field.required("spec.limited", "must not be empty when type is Limited"))
        else:
            _limited(out, "spec.limited", spec.limited)
    else:
        out.append(field.not_supported("spec.type", spec.type, ("Exempt", "Limited")))
    if obj.metadata.name == "exempt":
        bare = msgspec.structs.replace(spec, exempt=FIXED_LEVELS["exempt"].exempt)
        if bare != FIXED_LEVELS["exempt"]:
            words = "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"
            out.append(field.invalid("spec", spec, words))
    else:
        _fixed(out, obj.metadata.name, spec, FIXED_LEVELS)
    _conditions(out, obj.status.conditions)


def _exempt(out: list[Cause], path: str, exempt: flowcontrol_v1.ExemptPriorityLevelConfiguration) -> None:
    shares, percent = exempt.nominal_concurrency_shares, exempt.lendable_percent
    if shares is not None and shares < 0:
        words = "must be a non-negative integer"
        out.append(field.invalid(f"{path}.nominalConcurrencyShares", shares, words))
    if percent is not None and not 0 <= percent <= 100:
        out.append(field.invalid(f"{path}.lendablePercent", percent, _PERCENT))


def _limited(out: list[Cause], path: str, limited: flowcontrol_v1.LimitedPriorityLevelConfiguration) -> None:
    shares = limited.nominal_concurrency_shares
    if shares is not None and shares < 0:
        words = "must be a non-negative integer"
        out.append(field.invalid(f"{path}.nominalConcurrencyShares", shares, words))
    _limit_response(out, f"{path}.limitResponse", limited.limit_response)
    if limited.lendable_percent is not None and not 0 <= limited.lendable_percent <= 100:
        out.append(field.invalid(f"{path}.lendablePercent", limited.lendable_percent, _PERCENT))
    if limited.borrowing_limit_percent is not None and limited.borrowing_limit_percent < 0:
        words = "if specified, must be a non-negative integer"
        out.append(field.invalid(f"{path}.borrowingLimitPercent", limited.borrowing_limit_percent, words))


def _limit_response(out: list[Cause], path: str, response: flowcontrol_v1.LimitResponse) -> None:
    here, queuing = f"{path}.queuing", response.queuing
    if response.type == "Reject":
        if queuing is not None:
            words = "must be nil if limited.limitResponse.type is not Limited"
            out.append(field.forbidden(here, words))
    elif response.type != "Queue":
        out.append(field.not_supported(f"{path}.type", response.type, ("Queue", "Reject")))
    elif queuing is None:
        words = "must not be empty if limited.limitResponse.type is Limited"
        out.append(field.required(here, words))
    else:
        _queuing(out, here, queuing)


def _queuing(out: list[Cause], path: str, queuing: flowcontrol_v1.QueuingConfiguration) -> None:
    if queuing.queue_length_limit <= 0:
        out.append(field.invalid(f"{path}.queueLengthLimit", queuing.queue_length_limit, "must be positive"))
    if queuing.queues <= 0:
        out.append(field.invalid(f"{path}.queues", queuing.queues, "must be positive"))
    elif queuing.queues > MAX_QUEUES:
        words = f"must not be greater than {MAX_QUEUES}"
        out.append(field.invalid(f"{path}.queues", queuing.queues, words))
    if queuing.hand_size <= 0:
        out.append(field.invalid(f"{path}.handSize", queuing.hand_size, "must be positive"))
    elif queuing.hand_size > queuing.queues:
        words = f"should not be greater than queues ({queuing.queues})"
        out.append(field.invalid(f"{path}.handSize", queuing.hand_size, words))


def _updated(create: Any) -> Any:
    def update(out: list[Cause], new: Any, old: Any) -> None:
        meta.core_updated(out, new.metadata, old.metadata)
        create(out, new)

    return update


def _status(out: list[Cause], new: Any, old: Any) -> None:
    _conditions(out, new.status.conditions)


CREATE: dict[type[Any], Any] = {
    flowcontrol_v1.FlowSchema: flow_schema,
    flowcontrol_v1.PriorityLevelConfiguration: priority_level,
}
UPDATE: dict[tuple[type[Any], str], Any] = {
    **{(kind, ""): _updated(create) for kind, create in CREATE.items()},
    **{(kind, "status"): _status for kind in CREATE},
}
