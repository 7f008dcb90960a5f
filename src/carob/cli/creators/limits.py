"""Quotas, disruption budgets, priority classes.

Source: kubectl pkg/cmd/create/create_quota.go, create_pdb.go, create_priorityclass.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.cli.creators.base import add_create_flags, create, the_name
from carob.cli.errors import CommandError

if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags


class Quota:
    """Create a quota with the specified name, hard limits and optional scopes.

    Examples:
      carob create quota small --hard=cpu=1,memory=1G,pods=2
      carob create quota best-effort --hard=pods=100 --scopes=BestEffort
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME [--hard=key1=value1,key2=value2] [--scopes=Scope1,Scope2] [flags]"
        flags.text("hard", meta="KEY=VALUE,...", help="what there may be of each")
        flags.text("scopes", meta="SCOPE,...", help="which objects count")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "quota")
        spec: dict[str, Any] = {}
        if arguments.hard:
            spec["hard"] = _hard(arguments.hard)
        if arguments.scopes:
            scopes = arguments.scopes.split(",")
            if "" in scopes:
                raise CommandError('error: invalid resource quota scope ""')
            spec["scopes"] = scopes
        tree = {"kind": "ResourceQuota", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec, "status": {}}
        return create(arguments, tree)


def _hard(text: str) -> dict[str, str]:
    from carob.api import quantity

    hard = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not equals or "=" in value or not key:
            raise CommandError(f"error: Invalid argument syntax {pair}, expected <resource>=<value>")
        try:
            hard[key] = str(quantity.canonical(value))
        except ValueError as error:
            raise CommandError(f"error: {error}") from error
    return dict(sorted(hard.items()))


class DisruptionBudget:
    """Create a pod disruption budget with the specified name, selector, and desired minimum available pods.

    Examples:
      carob create poddisruptionbudget web --selector=app=web --min-available=1
      carob create pdb web --selector=app=web --max-unavailable=50%
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --selector=SELECTOR --min-available=N [flags]"
        flags.text("selector", meta="SELECTOR", help="which pods")
        flags.text("min-available", meta="N|N%", help="how many must stay")
        flags.text("max-unavailable", meta="N|N%", help="how many may go")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "poddisruptionbudget")
        if not arguments.selector:
            raise CommandError("error: a selector must be specified")
        if not arguments.max_unavailable and not arguments.min_available:
            raise CommandError("error: one of min-available or max-unavailable must be specified")
        if arguments.max_unavailable and arguments.min_available:
            raise CommandError("error: min-available and max-unavailable cannot be both specified")
        spec: dict[str, Any] = {"selector": _label_selector(arguments.selector)}
        for flag, field, text in (
            ("max-unavailable", "maxUnavailable", arguments.max_unavailable),
            ("min-available", "minAvailable", arguments.min_available),
        ):
            if text:
                if not re.fullmatch(r"[0-9]+%?", text):
                    raise CommandError(f"error: invalid format specified for {flag}")
                spec[field] = int(text) if text.isdigit() else text
        tree = {
            "kind": "PodDisruptionBudget",
            "apiVersion": "policy/v1",
            "metadata": {"name": name},
            "spec": spec,
            "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
        }
        return create(arguments, tree)


_OPERATORS = {"in": "In", "notin": "NotIn", "exists": "Exists", "!": "DoesNotExist"}


def _label_selector(text: str) -> dict[str, Any]:
    """`a=b,c in (d,e)` as a LabelSelector. Raises: CommandError."""
    from carob.api import selectors

    try:
        requirements = selectors.parse_labels(text).requirements
    except ValueError as error:
        raise CommandError(f'error: couldn\'t parse the selector string "{text}": {error}') from error
    labels: dict[str, str] = {}
    expressions: list[dict[str, Any]] = []
    for one in requirements:
        if one.operator in (selectors.EQUALS, selectors.DOUBLE_EQUALS):
            labels[one.key] = one.values[0]
            continue
        if one.operator not in _OPERATORS:
            raise CommandError(f'error: "{one.operator}" is not a valid label selector operator')
        expression: dict[str, Any] = {"key": one.key, "operator": _OPERATORS[one.operator]}
        if one.values:
            expression["values"] = list(one.values)
        expressions.append(expression)
    return {key: value for key, value in (("matchLabels", labels), ("matchExpressions", expressions)) if value}


class PriorityClass:
    """Create a priority class with the specified name, value, globalDefault and description.

    Examples:
      carob create priorityclass high --value=1000 --description="high priority"
      carob create priorityclass usual --value=1000 --global-default=true
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "NAME --value=VALUE --global-default=BOOL [flags]"
        flags.number("value", meta="VALUE", help="the priority")
        flags.switch("global-default", help="for pods that name no class")
        flags.text("description", meta="TEXT", help="when to use it")
        flags.text("preemption-policy", default="PreemptLowerPriority", meta="POLICY", help="or Never")
        add_create_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        name = the_name(arguments, "priorityclass")
        tree: dict[str, Any] = {
            "kind": "PriorityClass",
            "apiVersion": "scheduling.k8s.io/v1",
            "metadata": {"name": name},
            "value": arguments.value,
        }
        if arguments.global_default:
            tree["globalDefault"] = True
        if arguments.description:
            tree["description"] = arguments.description
        return create(arguments, tree | {"preemptionPolicy": arguments.preemption_policy})
