"""Rules of what configures the server itself: FlowSchemas, PriorityLevelConfigurations, APIServices.

Pure. Source: `pkg/apis/flowcontrol/validation`, kube-aggregator `pkg/apis/apiregistration/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import apiregistration_v1, flowcontrol_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

MAX_PRECEDENCE = 10_000
MAX_QUEUES = 10_000_000
_PERCENT = "must be between 0 and 100, inclusive"


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
        here = "spec.distinguisherMethod"
        out.append(field.not_supported(here, method, ("ByNamespace", "ByUser")))
    level = spec.priority_level_configuration.name
    if not level:
        words = "must reference a priority level"
        out.append(field.required("spec.priorityLevelConfiguration.name", words))
    else:
        meta.wrong_name(out, "spec.priorityLevelConfiguration.name", level, names.dns_subdomain(level))
    for i, rule in enumerate(spec.rules):
        _flow_rule(out, f"spec.rules[{i}]", rule)


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
        for name, values, what in (
            ("verbs", wanted.verbs, "verbs must contain at least one value"),
            ("apiGroups", wanted.api_groups, "resource rules must supply at least one api group"),
            ("resources", wanted.resources, "resource rules must supply at least one resource"),
        ):
            if not values:
                out.append(field.required(f"{here}.{name}", what))
        if not wanted.namespaces and not wanted.cluster_scope:
            words = "resource rules that are not cluster scoped must supply at least one namespace"
            out.append(field.required(f"{here}.namespaces", words))
    for i, plain in enumerate(rule.non_resource_rules):
        here = f"{path}.nonResourceRules[{i}]"
        if not plain.verbs:
            out.append(field.required(f"{here}.verbs", "verbs must contain at least one value"))
        if not plain.non_resource_urls:
            words = "nonResourceURLs must contain at least one value"
            out.append(field.required(f"{here}.nonResourceURLs", words))


def _flow_subject(out: list[Cause], path: str, subject: flowcontrol_v1.Subject) -> None:
    kind = subject.kind
    if kind == "ServiceAccount":
        account = subject.service_account
        if account is None:
            words = "serviceAccount is required when subject kind is 'ServiceAccount'"
            out.append(field.required(f"{path}.serviceAccount", words))
        else:
            for name, value in (("namespace", account.namespace), ("name", account.name)):
                if not value:
                    out.append(field.required(f"{path}.serviceAccount.{name}"))
    elif kind == "User":
        if subject.user is None:
            out.append(field.required(f"{path}.user", "user is required when subject kind is 'User'"))
        elif not subject.user.name:
            out.append(field.required(f"{path}.user.name"))
    elif kind == "Group":
        if subject.group is None:
            out.append(field.required(f"{path}.group", "group is required when subject kind is 'Group'"))
        elif not subject.group.name:
            out.append(field.required(f"{path}.group.name"))
    else:
        out.append(field.not_supported(f"{path}.kind", kind, ("Group", "ServiceAccount", "User")))


def priority_level(out: list[Cause], obj: flowcontrol_v1.PriorityLevelConfiguration) -> None:
    """How many requests of a priority run at once."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    spec = obj.spec
    if (obj.metadata.name == "exempt") != (spec.type == "Exempt"):
        words = "type must be 'Exempt' if and only if `name` is 'exempt'"
        if spec.type in ("Exempt", "Limited"):
            out.append(field.invalid("spec.type", spec.type, words))
    if spec.type == "Exempt":
        if spec.exempt is None:
            out.append(field.required("spec.exempt", "must not be empty if type is Exempt"))
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


def api_service(out: list[Cause], obj: apiregistration_v1.APIService) -> None:
    """A group and version of the API that another server answers."""
    spec = obj.spec
    group, version = spec.group or "", spec.version or ""
    wanted = f"{version}.{group}"

    def rule(name: str) -> list[str]:
        wrong = list(names.path_segment(name))
        if wrong or name == wanted:
            return wrong
        return [f'must be `spec.version+"."+spec.group`: "{wanted}"']

    meta.core(out, obj.metadata, False, rule)
    if not group and version != "v1":
        words = "only v1 may have an empty group and it better be legacy kube"
        out.append(field.required("spec.group", words))
    if group:
        meta.wrong_name(out, "spec.group", group, names.dns_subdomain(group))
    meta.wrong_name(out, "spec.version", version, names.dns_1035_label(version))
    for name, value, limit in (
        ("groupPriorityMinimum", spec.group_priority_minimum, 20_000),
        ("versionPriority", spec.version_priority, 1000),
    ):
        if not 0 < value <= limit:
            words = f"must be positive and less than {limit}"
            out.append(field.invalid(f"spec.{name}", value, words))
    insecure = spec.insecure_skip_tls_verify
    if spec.service is None:
        if spec.ca_bundle:
            size = len(spec.ca_bundle) * 3 // 4 - spec.ca_bundle[-2:].count("=")
            words = "local APIServices may not have a caBundle"
            out.append(field.invalid("spec.caBundle", f"{size} bytes", words))
        if insecure:
            words = "local APIServices may not have insecureSkipTLSVerify"
            out.append(field.invalid("spec.insecureSkipTLSVerify", True, words))
        return
    for name, text in (("namespace", spec.service.namespace), ("name", spec.service.name)):
        if not text:
            out.append(field.required(f"spec.service.{name}"))
    port = spec.service.port
    if port is not None and names.port_number(port):
        words = f"port is not valid: {names.port_number(port)[0]}"
        out.append(field.invalid("spec.service.port", port, words))
    if insecure and spec.ca_bundle:
        words = "may not be true if caBundle is present"
        out.append(field.invalid("spec.insecureSkipTLSVerify", True, words))


def _updated(create: Any) -> Any:
    def update(out: list[Cause], new: Any, old: Any) -> None:
        meta.core_updated(out, new.metadata, old.metadata)
        create(out, new)

    return update


CREATE: dict[type[Any], Any] = {
    flowcontrol_v1.FlowSchema: flow_schema,
    flowcontrol_v1.PriorityLevelConfiguration: priority_level,
    apiregistration_v1.APIService: api_service,
}
UPDATE: dict[tuple[type[Any], str], Any] = {(kind, ""): _updated(create) for kind, create in CREATE.items()}
