"""Defaults of webhooks and admission policies. Source: `pkg/apis/admissionregistration/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import admissionregistration_v1 as types
from carob.api.types import meta_v1

if TYPE_CHECKING:
    from collections.abc import Callable


def _webhooks(obj: types.MutatingWebhookConfiguration | types.ValidatingWebhookConfiguration) -> None:
    for webhook in obj.webhooks:
        if webhook.failure_policy is None:
            webhook.failure_policy = "Fail"
        if webhook.match_policy is None:
            webhook.match_policy = "Equivalent"
        if webhook.namespace_selector is None:
            webhook.namespace_selector = meta_v1.LabelSelector()
        if webhook.object_selector is None:
            webhook.object_selector = meta_v1.LabelSelector()
        if webhook.timeout_seconds is None:
            webhook.timeout_seconds = 10
        if isinstance(webhook, types.MutatingWebhook) and webhook.reinvocation_policy is None:
            webhook.reinvocation_policy = "Never"
        for rule in webhook.rules:
            if rule.scope is None:
                rule.scope = "*"
        if webhook.client_config.service is not None and webhook.client_config.service.port is None:
            webhook.client_config.service.port = 443


def _match_resources(match: types.MatchResources | None) -> None:
    if match is None:
        return
    if match.match_policy is None:
        match.match_policy = "Equivalent"
    if match.namespace_selector is None:
        match.namespace_selector = meta_v1.LabelSelector()
    if match.object_selector is None:
        match.object_selector = meta_v1.LabelSelector()
    for rule in (*match.resource_rules, *match.exclude_resource_rules):
        rule.scope = rule.scope or "*"


def _policy(obj: types.ValidatingAdmissionPolicy | types.MutatingAdmissionPolicy) -> None:
    if obj.spec.failure_policy is None:
        obj.spec.failure_policy = "Fail"
    _match_resources(obj.spec.match_constraints)


def _binding(obj: types.ValidatingAdmissionPolicyBinding | types.MutatingAdmissionPolicyBinding) -> None:
    _match_resources(obj.spec.match_resources)


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    types.MutatingWebhookConfiguration: _webhooks,
    types.ValidatingWebhookConfiguration: _webhooks,
    types.ValidatingAdmissionPolicy: _policy,
    types.MutatingAdmissionPolicy: _policy,
    types.ValidatingAdmissionPolicyBinding: _binding,
    types.MutatingAdmissionPolicyBinding: _binding,
}
