"""Rules of admission webhooks, and what they share with admission policies.

Pure. Source: `pkg/apis/admissionregistration/validation`, apiserver `pkg/util/webhook/validation.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from carob.api import expressions
from carob.api.types import admissionregistration_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
MAX_CONDITIONS = 64
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_FORM = "; desired format: https://host[/path]"


def one_of(out: list[Cause], path: str, value: str | None, supported: Sequence[str]) -> None:
    """An optional choice."""
    if value is not None and value not in supported:
        out.append(field.not_supported(path, value, supported))


def configuration(out: list[Cause], obj: Any) -> None:
    """The webhooks of either configuration."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    _webhooks(out, obj.webhooks)


def _webhooks(out: list[Cause], webhooks: Sequence[Any], *, stored: bool = False) -> None:
    """`stored` is whether all match conditions are as they were: then they are not looked at again."""
    seen: set[str] = set()
    for i, webhook in enumerate(webhooks):
        here = f"webhooks[{i}]"
        _webhook(out, here, webhook, stored=stored)
        _review_versions(out, f"{here}.admissionReviewVersions", webhook.admission_review_versions)
        if webhook.name and webhook.name in seen:
            out.append(field.duplicate(f"{here}.name", webhook.name))
        seen.add(webhook.name)


def _webhook(out: list[Cause], path: str, webhook: Any, *, stored: bool) -> None:
    _qualified(out, f"{path}.name", webhook.name)
    for i, found in enumerate(webhook.rules):
        rule(out, f"{path}.rules[{i}]", found)
    one_of(out, f"{path}.failurePolicy", webhook.failure_policy, POLICIES)
    one_of(out, f"{path}.matchPolicy", webhook.match_policy, MATCH_POLICIES)
    if webhook.side_effects is None:
        out.append(field.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    one_of(out, f"{path}.sideEffects", webhook.side_effects, _SIDE_EFFECTS)
    seconds = webhook.timeout_seconds
    if seconds is not None and not 1 <= seconds <= 30:
        words = "the timeout value must be between 1 and 30 seconds"
        out.append(field.invalid(f"{path}.timeoutSeconds", seconds, words))
    one_of(out, f"{path}.reinvocationPolicy", getattr(webhook, "reinvocation_policy", None), ("IfNeeded", "Never"))
    meta.label_selector(out, f"{path}.namespaceSelector", webhook.namespace_selector)
    meta.label_selector(out, f"{path}.objectSelector", webhook.object_selector)
    client_config(out, f"{path}.clientConfig", webhook.client_config)
    if not stored:
        match_conditions(out, f"{path}.matchConditions", webhook.match_conditions, expressions.Surroundings())


def _qualified(out: list[Cause], path: str, name: str) -> None:
    if not name:
        out.append(field.required(path))
    elif wrong := names.dns_subdomain(name):
        out.append(field.invalid(path, name, ",".join(wrong)))
    elif name.count(".") < 2:
        words = "should be a domain with at least three segments separated by dots"
        out.append(field.invalid(path, name, words))


def rule(out: list[Cause], path: str, found: Any) -> None:
    """Which operations on which resources."""
    _list(out, f"{path}.operations", found.operations, "operations")
    for i, operation in enumerate(found.operations):
        one_of(out, f"{path}.operations[{i}]", operation, OPERATIONS)
    _list(out, f"{path}.apiGroups", found.api_groups, "API groups")
    _list(out, f"{path}.apiVersions", found.api_versions, "API versions")
    for i, version in enumerate(found.api_versions):
        if not version:
            out.append(field.required(f"{path}.apiVersions[{i}]"))
    _resources(out, f"{path}.resources", found.resources)
    one_of(out, f"{path}.scope", found.scope or None, SCOPES)


def _list(out: list[Cause], path: str, values: Sequence[str], what: str) -> None:
    if not values:
        out.append(field.required(path))
    elif len(values) > 1 and "*" in values:
        out.append(field.invalid(path, list(values), f"if '*' is present, must not specify other {what}"))


def _resources(out: list[Cause], path: str, found: Sequence[str]) -> None:
    if not found:
        out.append(field.required(path))
    whole: set[str] = set()
    everywhere: set[str] = set()
    plain = False
    for i, text in enumerate(found):
        here = f"{path}[{i}]"
        if not text:
            out.append(field.required(here))
            continue
        name, slash, part = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        if name in whole:
            out.append(field.invalid(here, text, f"if '{name}/*' is present, must not specify {text}"))
        if part in everywhere:
            out.append(field.invalid(here, text, f"if '*/{part}' is present, must not specify {text}"))
        if part == "*":
            whole.add(name)
        if name == "*":
            everywhere.add(part)
    if len(found) > 1 and "*/*" in found:
        out.append(field.invalid(path, list(found), "if '*/*' is present, must not specify other resources"))
    if "*" in found and plain:
        words = "if '*' is present, must not specify other resources without subresources"
        out.append(field.invalid(path, list(found), words))


def client_config(out: list[Cause], path: str, config: Any) -> None:
    """Where a webhook is: behind a URL or behind a Service."""
    url, service = config.url, config.service
    if (url is None) == (service is None):
        out.append(field.required(path, "exactly one of url or service is required"))
    elif url is not None:
        _url(out, f"{path}.url", url)
    else:
        for name, value in (("name", service.name), ("namespace", service.namespace)):
            if not value:
                out.append(field.required(f"{path}.service.{name}", f"service {name} is required"))
        _service(out, f"{path}.service", service.port, service.path)


def _url(out: list[Cause], path: str, url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        out.append(field.required(path, f"url must be a valid URL: {error}{_FORM}"))
        return
    if parts.scheme != "https":
        out.append(field.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    user, _, host = parts.netloc.rpartition("@")
    if not host:
        out.append(field.invalid(path, host, f"host must be specified{_FORM}"))
    for value, what in ((user, "user information is"), (parts.fragment, "fragments are")):
        if value:
            out.append(field.invalid(path, value, f"{what} not permitted in the URL"))
    if parts.query:
        out.append(field.invalid(path, parts.query, "query parameters are not permitted in the URL"))


def _service(out: list[Cause], path: str, port: int | None, url_path: str | None) -> None:
    if port is not None and (wrong := names.port_number(port)):
        out.append(field.invalid(f"{path}.port", port, f"port is not valid: {','.join(wrong)}"))
    here = f"{path}.path"
    if url_path is None or url_path in ("", "/"):
        return
    if not url_path.startswith("/"):
        out.append(field.invalid(here, url_path, "must start with a '/'"))
    for i, step in enumerate(url_path[1:].removesuffix("/").split("/")):
        if not step:
            out.append(field.invalid(here, url_path, f"segment[{i}] may not be empty"))
            continue
        for why in names.dns_subdomain(step):
            out.append(field.invalid(here, url_path, f"segment[{i}]: {why}"))


def match_conditions(
    out: list[Cause],
    path: str,
    conditions: Sequence[admissionregistration_v1.MatchCondition],
    around: expressions.Surroundings,
) -> None:
    """Names of expressions that decide whether to ask at all, and the expressions."""
    if len(conditions) > MAX_CONDITIONS:
        out.append(field.too_many(path, len(conditions), MAX_CONDITIONS))
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        here = f"{path}[{i}]"
        if not condition.expression.strip():
            out.append(field.required(f"{here}.expression"))
        else:
            expression(out, f"{here}.expression", condition.expression.strip(), around, "bool")
        if not condition.name:
            out.append(field.required(f"{here}.name"))
            continue
        if wrong := names.qualified_name(condition.name):
            out.append(field.invalid(f"{here}.name", condition.name, ",".join(wrong)))
        if condition.name in seen:
            out.append(field.duplicate(f"{here}.name", condition.name))
        seen.add(condition.name)


def expression(out: list[Cause], path: str, text: str, around: expressions.Surroundings, *wanted: str) -> str:
    """An expression (CEL) that gives one of the types that are wanted, or any. Returns the type it gives."""
    problem, kind = expressions.check(text, around, wanted)
    if problem:
        out.append(field.invalid(path, text, problem))
    return kind


def _review_versions(out: list[Cause], path: str, versions: Sequence[str]) -> None:
    if not versions:
        out.append(field.required(path, "must specify one of v1, v1beta1"))
        return
    again = field.repeated(versions)
    for i, version in enumerate(versions):
        here = f"{path}[{i}]"
        if again[i]:
            out.append(field.invalid(here, version, "duplicate version"))
            continue
        meta.wrong_name(out, here, version, names.dns_1035_label(version))
    if not {"v1", "v1beta1"} & set(versions):
        out.append(field.invalid(path, list(versions), "must include at least one of v1, v1beta1"))


def _update(out: list[Cause], new: Any, old: Any) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    ours, theirs = ([webhook.match_conditions for webhook in obj.webhooks] for obj in (new, old))
    _webhooks(out, new.webhooks, stored=ours == theirs)


_KINDS = (
    admissionregistration_v1.ValidatingWebhookConfiguration,
    admissionregistration_v1.MutatingWebhookConfiguration,
)
CREATE: dict[type[Any], Any] = dict.fromkeys(_KINDS, configuration)
UPDATE: dict[tuple[type[Any], str], Any] = dict.fromkeys(((kind, "") for kind in _KINDS), _update)
