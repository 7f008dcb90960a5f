"""What is written into the audit log: a `Policy` (audit.k8s.io/v1), read and checked, and which of its rules a request meets.

Pure. The first rule that a request meets says how much is written of it, and at which stages nothing is; a request that
meets none is not written at all.

Source: apiserver `pkg/audit/policy`, `pkg/apis/audit/validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from carob.api.validation import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.user import UserInfo
    from carob.apiserver.types import RequestInfo

NONE, METADATA, REQUEST, REQUEST_RESPONSE = LEVELS = ("None", "Metadata", "Request", "RequestResponse")
RECEIVED, STARTED, COMPLETE, PANIC = STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class PolicyError(ValueError):
    """What is wrong with a policy: each mistake with its field."""


class GroupResources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Resources of one group."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = msgspec.field(default=(), name="resourceNames")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are written, and how much of them."""

    level: str = ""
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = msgspec.field(default=(), name="userGroups")
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")
    omit_stages: tuple[str, ...] = msgspec.field(default=(), name="omitStages")
    omit_managed_fields: bool | None = msgspec.field(default=None, name="omitManagedFields")

    def matches(self, user: UserInfo | None, info: RequestInfo) -> bool:
        """Whether a request meets the rule; without a user it was refused as nobody's."""
        if self.users and (user is None or user.name not in self.users):
            return False
        if self.user_groups and (user is None or set(self.user_groups).isdisjoint(user.groups)):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            return self._matches_resource(info)
        if self.non_resource_urls:
            return info.resource is None and any(_covers(url, info.path) for url in self.non_resource_urls)
        return True

    def _matches_resource(self, info: RequestInfo) -> bool:
        if info.resource is None or (self.namespaces and info.namespace not in self.namespaces):
            return False
        return not self.resources or any(_names(one, info) for one in self.resources)


def _names(group: GroupResources, info: RequestInfo) -> bool:
    row, subresource = info.resource, info.subresource
    assert row is not None
    if group.group != row.group:
        return False
    if not group.resources:
        return True
    if group.resource_names and info.name not in group.resource_names:
        return False
    meant = {"*", f"{row.plural}/*", f"{row.plural}/{subresource}" if subresource else row.plural}
    if subresource:
        meant.add(f"*/{subresource}")
    return not meant.isdisjoint(group.resources)


def _covers(url: str, path: str) -> bool:
    return url == path or (url.endswith("*") and path.startswith(url.rstrip("*")))


class Decision(NamedTuple):
    """How much is written of a request."""

    level: str
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


_NOTHING = Decision(NONE)


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules, the first of which counts."""

    kind: str = ""
    api_version: str = msgspec.field(default="", name="apiVersion")
    metadata: dict[str, object] = {}
    rules: tuple[Rule, ...] = ()
    omit_stages: tuple[str, ...] = msgspec.field(default=(), name="omitStages")
    omit_managed_fields: bool = msgspec.field(default=False, name="omitManagedFields")

    def decide(self, user: UserInfo | None, info: RequestInfo) -> Decision:
        """What the first rule says that the request meets."""
        for rule in self.rules:
            if rule.matches(user, info):
                wanted = rule.omit_managed_fields
                omit = self.omit_managed_fields if wanted is None else wanted
                return Decision(rule.level, frozenset((*self.omit_stages, *rule.omit_stages)), omit)
        return _NOTHING


class AuditOptions(msgspec.Struct, frozen=True):
    """What the flags say. Shape: `path` is a file's or `-`; a number of 0 is no limit, of megabytes the usual one."""

    policy: Policy
    path: str
    max_days: int = 0
    max_backups: int = 0
    max_megabytes: int = 0


def read(text: str) -> Policy:
    """The policy in a file's text. Raises: PolicyError."""
    import yaml

    try:
        tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise PolicyError(f"no YAML: {error}") from error
    given = tree if isinstance(tree, dict) else {}
    if given.get("kind") != "Policy" or given.get("apiVersion") != "audit.k8s.io/v1":
        raise PolicyError("this is no Policy of audit.k8s.io/v1")
    try:
        policy = msgspec.convert(_without_nulls(given), Policy)
    except msgspec.ValidationError as error:
        raise PolicyError(str(error)) from error
    if not policy.rules:
        raise PolicyError("loaded illegal policy with 0 rules")
    found = [*_stages(policy.omit_stages, "omitStages")]
    for number, rule in enumerate(policy.rules):
        found += _mistakes(rule, f"rules[{number}]")
    if found:
        raise PolicyError("; ".join(found))
    return policy


def _without_nulls(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _without_nulls(value) for key, value in tree.items() if value is not None}
    return [_without_nulls(one) for one in tree] if isinstance(tree, list) else tree


def _mistakes(rule: Rule, path: str) -> Iterator[str]:
    if not rule.level:
        yield f"{path}.level: Required value"
    elif rule.level not in LEVELS:
        supported = ", ".join(f'"{one}"' for one in LEVELS)
        yield f'{path}.level: Unsupported value: "{rule.level}": supported values: {supported}'
    for i, url in enumerate(rule.non_resource_urls):
        where = f'{path}.nonResourceURLs[{i}]: Invalid value: "{url}"'
        if url != "*" and not url.startswith("/"):
            yield f"{where}: non-resource URL rules must begin with a '/' character"
        if "*" in url[:-1]:
            yield f"{where}: non-resource URL wildcards '*' must be the final character of the rule"
    for group in rule.resources:
        if group.group and (wrong := names.dns_subdomain(group.group)):
            yield f'{path}.resources.group: Invalid value: "{group.group}": {",".join(wrong)}'
        if group.resource_names and not group.resources:
            yield f"{path}.resources.resourceNames: Invalid value: using resourceNames requires at least one resource"
    yield from _stages(rule.omit_stages, f"{path}.omitStages")
    if rule.non_resource_urls and (rule.resources or rule.namespaces):
        yield f"{path}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"


def _stages(stages: tuple[str, ...], path: str) -> Iterator[str]:
    for i, stage in enumerate(stages):
        if stage not in STAGES:
            yield f'{path}[{i}]: Invalid value: "{stage}": allowed stages are {",".join(STAGES)}'
