"""Status of ValidatingAdmissionPolicies: what is wrong with their expressions where the types of the objects are known.

Types are looked at for resources that the rules name outright; what is wrong does not keep a policy from judging.

Source: kube-controller-manager `pkg/controller/validatingadmissionpolicystatus`, apiserver
`pkg/admission/plugin/policy/validating/typechecking.go`.
Differs: the server itself writes it; types in messages are called by their kinds, where upstream adds a number by chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.apiserver.admission.policies import index
from carob.base.log import get_logger
from carob.base.tasks import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.cel.types import Type
    from carob.api.resources import Resource, ResourceTable
    from carob.api.types import admissionregistration_v1
    from carob.apiserver.engine import Engine

    Policy = admissionregistration_v1.ValidatingAdmissionPolicy

_log = get_logger("apiserver.policies")

MANAGER = "validatingadmissionpolicy-status-controller"
MAX_TYPES = 10


def warnings(policy: Policy, table: ResourceTable) -> list[dict[str, str]]:
    """What is wrong with a policy's expressions, by their fields. Pure."""
    rows = checked_rows(policy, table)
    out: list[dict[str, str]] = []
    for place, one in enumerate(policy.spec.validations):
        for name, text in (("expression", one.expression), ("messageExpression", one.message_expression)):
            found = [_checked(text, policy, row, table) for row in rows] if text else []
            if any(found):
                words = "\n".join(filter(None, found))
                out.append({"fieldRef": f"spec.validations[{place}].{name}", "warning": words})
    return out


def checked_rows(policy: Policy, table: ResourceTable) -> list[Resource]:
    """The kinds that a policy's rules name: by group, version and kind, a few at most."""
    found: list[Resource] = []
    constraints = policy.spec.match_constraints
    for rule in constraints.resource_rules if constraints is not None else ():
        if any("*" in one for one in (*rule.api_groups, *rule.api_versions)):
            continue
        for row in _named(rule, table):
            found.append(row)
            if len(found) >= MAX_TYPES:
                break
    return sorted(dict.fromkeys(found), key=lambda row: (row.group, row.version, row.kind))


def _named(rule: Any, table: ResourceTable) -> Iterator[Resource]:
    for group in sorted(rule.api_groups):
        for version in sorted(rule.api_versions):
            for plural in sorted(rule.resources):
                row = table.by_plural(group, version, plural)
                if row is not None and "/" not in plural:
                    yield row


def _checked(text: str, policy: Policy, row: Resource, table: ResourceTable) -> str:
    from carob.api import expressions
    from carob.api.cel import inference
    from carob.apiserver.admission.policies.object_types import type_of

    params = policy.spec.param_kind
    param_row = table.by_kind(params.api_version, params.kind) if params is not None else None
    param_type: Type | None = type_of(param_row.struct) if param_row is not None and param_row.stored else None
    variables: dict[str, str] = {}
    around = expressions.Surroundings(params=params is not None, variables=variables)
    types = expressions.variables_of(around, type_of(row.struct), param_type)
    for one in policy.spec.variables:
        try:
            variables[one.name] = inference.checked(one.expression, types).text
        except inference.CheckError:
            variables[one.name] = "dyn"
    try:
        inference.checked(text, types)
    except inference.CheckError as error:
        return f"{row.group}/{row.version}, Kind={row.kind}: {error}\n"
    return ""


class TypeChecking:
    """The part that writes the status; asleep while no policy changes."""

    def __init__(self, engine: Engine, table: ResourceTable) -> None:
        self._engine = engine
        self._table = table
        self._row = index.row_of(table, "validatingadmissionpolicies")
        self._changed = Signal()
        engine.reader.on_change(self._row, lambda namespace, name: self._changed.set())

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for policy in self._engine.reader.list(self._row):
                if policy.metadata.generation > policy.status.observed_generation:
                    await self._write(policy)
            await self._changed.wait()

    async def _write(self, policy: Policy) -> None:
        found = warnings(policy, self._table)
        checked = {"expressionWarnings": found} if found else {}
        status = {"observedGeneration": policy.metadata.generation, "typeChecking": checked}
        tree = {"metadata": {"name": policy.metadata.name}, "status": status}
        try:
            await self._engine.apply_object(self._row, tree, MANAGER, "status")
        except ApiError as error:
            # it is gone, or changes again: the next change wakes us
            _log.debug("status of policy %s: %s", policy.metadata.name, error)
