"""Roles, their bindings: rules made of verbs and resources, subjects made of names.

Source: kubectl pkg/cmd/create/create_role.go, create_clusterrole.go, create_rolebinding.go.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, create, the_name
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags
    from carob.cli.selection import Selection

_RBAC = "rbac.authorization.k8s.io"
_RESOURCE_VERBS = frozenset(
    (
        "*",
        "get",
        "delete",
        "list",
        "create",
        "update",
        "patch",
        "watch",
        "proxy",
        "deletecollection",
        "use",
        "bind",
        "escalate",
        "impersonate",
    )
)
_URL_VERBS = frozenset(("*", "get", "post", "put", "delete", "patch", "head", "options"))
# verbs that only some resources have
_SPECIAL: dict[str, frozenset[tuple[str, str]]] = {
    "use": frozenset((("policy", "podsecuritypolicies"), ("extensions", "podsecuritypolicies"))),
    "bind": frozenset(((_RBAC, "roles"), (_RBAC, "clusterroles"))),
    "escalate": frozenset(((_RBAC, "roles"), (_RBAC, "clusterroles"))),
    "impersonate": frozenset(
        (("", "users"), ("", "serviceaccounts"), ("", "groups"), ("authentication.k8s.io", "userextras"))
    ),
}


class _Wanted:
    """A resource as flags name it: `pods/log`, `rs.apps`."""

    def __init__(self, text: str) -> None:
        name, _, self.subresource = text.partition("/")
        self.name, _, self.group = name.partition(".")


def _add_rule_flags(flags: Flags) -> None:
    flags.csv("verb", meta="VERB", help="what may be done: get, list, ...; may be repeated")
    flags.csv("resource", meta="RESOURCE", help="pods, rs.apps, pods/log, ...; may be repeated")
    flags.texts("resource-name", meta="NAME", help="only these objects; may be repeated")


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _verbs(arguments: Arguments) -> list[str]:
    verbs = _distinct(arguments.verb)
    return ["*"] if "*" in verbs else verbs


def _wanted(arguments: Arguments) -> list[_Wanted]:
    if "*" in arguments.resource:
        return [_Wanted("*")]
    return [_Wanted(text) for text in _distinct(arguments.resource)]


def _check_rule(verbs: list[str], wanted: list[_Wanted]) -> None:
    if not verbs:
        raise CommandError("error: at least one verb must be specified")
    if not wanted:
        raise CommandError("error: at least one resource must be specified")


def _rules(
    arguments: Arguments, selection: Selection, verbs: list[str], wanted: list[_Wanted], names: list[str]
) -> list[dict[str, Any]]:
    """A rule a group. Raises: CommandError."""
    by_group: dict[str, list[str]] = {}
    for one in wanted:
        if not one.name:
            raise CommandError("error: resource must be specified if apiGroup/subresource specified")
        group, plural, unknown = one.group, one.name, ""
        if one.name != "*":
            try:
                row = selection.resources(f"{one.name}.{one.group}" if one.group else one.name)[0]
                group, plural = row.group, row.plural
            except CommandError as error:
                unknown = str(error).removeprefix("error: ")
        for verb in verbs:
            special = _SPECIAL.get(verb)
            if special is not None and (group, plural) not in special:
                raise CommandError(f"error: can not perform '{verb}' on '{plural}' in group '{group}'")
        if unknown:
            raise CommandError(unknown)
        shown = f"{plural}/{one.subresource}" if one.subresource else plural
        resources = by_group.setdefault(group, [])
        if shown not in resources:
            resources.append(shown)
    rules = []
    for group in sorted(by_group):
        rule: dict[str, Any] = {"verbs": verbs, "apiGroups": [group], "resources": by_group[group]}
        if names:
            rule["resourceNames"] = names
        rules.append(rule)
    return rules


def _warn_of_verbs(verbs: list[str], known: frozenset[str]) -> None:
    for verb in verbs:
        if verb not in known:
            print(f"Warning: '{verb}' is not a standard resource verb", file=sys.stderr)


def _selection(arguments: Arguments) -> Selection:
    from carob.cli.connection import connect
    from carob.cli.selection import Selection

    return Selection(connect(arguments))


class Role:
    """Create a role with single rule.

    Examples:
      carob create role pod-reader --verb=get --verb=list --resource=pods
      carob create role one --verb=get --resource=pods --resource-name=web
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --verb=verb --resource=resource.group/subresource [--resource-name=NAME] [flags]"
        _add_rule_flags(flags)
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "role")
        verbs, wanted, names = _verbs(arguments), _wanted(arguments), _distinct(arguments.resource_name)
        _check_rule(verbs, wanted)
        _warn_of_verbs(verbs, _RESOURCE_VERBS)
        rules = _rules(arguments, _selection(arguments), verbs, wanted, names)
        tree = {"kind": "Role", "apiVersion": f"{_RBAC}/v1", "metadata": {"name": name}, "rules": rules}
        return create(arguments, tree)


class ClusterRole:
    """Create a cluster role.

    Examples:
      carob create clusterrole pod-reader --verb=get,list,watch --resource=pods
      carob create clusterrole health --verb=get --non-resource-url=/healthz
      carob create clusterrole monitoring --aggregation-rule="example.com/aggregate=true"
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --verb=verb --resource=resource.group [--resource-name=NAME] [flags]"
        _add_rule_flags(flags)
        flags.csv("non-resource-url", meta="URL", help="a path, such as /healthz; may be repeated")
        flags.csv("aggregation-rule", meta="KEY=VALUE", help="take the rules of the roles with this label")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "clusterrole")
        verbs, wanted, names = _verbs(arguments), _wanted(arguments), _distinct(arguments.resource_name)
        urls = _distinct(arguments.non_resource_url)
        tree: dict[str, Any] = {"kind": "ClusterRole", "apiVersion": f"{_RBAC}/v1", "metadata": {"name": name}}
        if arguments.aggregation_rule:
            if urls or verbs or wanted or names:
                raise CommandError(
                    "error: aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames"
                )
            labels = dict(pair.split("=", 1) for pair in arguments.aggregation_rule)
            tree["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": labels}]}
            return create(arguments, tree | {"rules": None})
        if not verbs:
            raise CommandError("error: at least one verb must be specified")
        if not wanted and not urls:
            raise CommandError("error: one of resource or nonResourceURL must be specified")
        if wanted:
            _warn_of_verbs(verbs, _RESOURCE_VERBS)
        rules = _rules(arguments, _selection(arguments), verbs, wanted, names) if wanted else []
        for url in urls:
            _check_url(url, verbs)
        if urls:
            rules.append({"verbs": verbs, "nonResourceURLs": urls})
        return create(arguments, tree | {"rules": rules})


def _check_url(url: str, verbs: list[str]) -> None:
    if url == "*":
        return
    if not url.startswith("/"):
        raise CommandError("error: nonResourceURL should start with /")
    if "*" in url[:-1]:
        raise CommandError("error: nonResourceURL only supports wildcard matches when '*' is at the end")
    for verb in verbs:
        if verb not in _URL_VERBS:
            raise CommandError(f"error: invalid verb: '{verb}' for nonResourceURL")


def _add_subject_flags(flags: Flags) -> None:
    """To be added last: kubectl's own `--user`, whose credentials to take, cannot be said here."""
    flags.texts("user", meta="USER", help="who gets the role; may be repeated")
    flags.texts("group", meta="GROUP", help="a group that gets the role; may be repeated")
    flags.texts("serviceaccount", meta="NAMESPACE:NAME", help="a service account that gets the role; may be repeated")


def _subjects(arguments: Arguments) -> list[dict[str, str]]:
    """Raises: CommandError."""
    users: list[str] = arguments.user
    arguments.user = ""
    found = [{"kind": "User", "apiGroup": _RBAC, "name": name} for name in users]
    found += [{"kind": "Group", "apiGroup": _RBAC, "name": name} for name in arguments.group]
    for text in arguments.serviceaccount:
        namespace, colon, name = text.partition(":")
        if not colon or ":" in name or not namespace or not name:
            raise CommandError("error: serviceaccount must be <namespace>:<name>")
        found.append({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    return found


def _binding(arguments: Arguments, kind: str, name: str, role_kind: str, role: str) -> dict[str, Any]:
    tree: dict[str, Any] = {"kind": kind, "apiVersion": f"{_RBAC}/v1", "metadata": {"name": name}}
    subjects = _subjects(arguments)
    if subjects:
        tree["subjects"] = subjects
    return tree | {"roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": role}}


class ClusterRoleBinding:
    """Create a cluster role binding for a particular cluster role.

    Examples:
      carob create clusterrolebinding admins --clusterrole=cluster-admin --user=ann --group=ops
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --clusterrole=NAME [--user=USER] [--group=GROUP] [--serviceaccount=NAMESPACE:NAME] [flags]"
        flags.text("clusterrole", meta="NAME", help="the role")
        add_create_flags(flags)
        _add_subject_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        if not arguments.clusterrole and "clusterrole" not in arguments.changed:
            raise CommandError('error: required flag(s) "clusterrole" not set')
        name = the_name(arguments, "clusterrolebinding")
        tree = _binding(arguments, "ClusterRoleBinding", name, "ClusterRole", arguments.clusterrole)
        return create(arguments, tree)


class RoleBinding:
    """Create a role binding for a particular role or cluster role.

    Examples:
      carob create rolebinding readers --role=pod-reader --user=ann --serviceaccount=default:builder
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --clusterrole=NAME|--role=NAME [--user=USER] [--group=GROUP] [flags]"
        flags.text("clusterrole", meta="NAME", help="the cluster role")
        flags.text("role", meta="NAME", help="the role")
        add_create_flags(flags)
        _add_subject_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "rolebinding")
        if bool(arguments.clusterrole) == bool(arguments.role):
            raise CommandError("error: exactly one of clusterrole or role must be specified")
        role_kind = "Role" if arguments.role else "ClusterRole"
        return create(
            arguments, _binding(arguments, "RoleBinding", name, role_kind, arguments.role or arguments.clusterrole)
        )
