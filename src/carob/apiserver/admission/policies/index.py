"""Which policies there are, each with its bindings and, once it was needed, its programs.

Level-triggered: a change of a policy or a binding marks the index, and the next request reads it anew. Programs are kept while
a policy's spec stays as it is.

Source: apiserver `pkg/admission/plugin/policy/generic/policy_source.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.admission.policies.matching import Scope, rules_may_match

if TYPE_CHECKING:
    from collections.abc import Callable

    from carob.api.resources import Resource, ResourceTable
    from carob.apiserver.types import Attributes, Reader

MAX_REMEMBERED = 1024
"""Places in the API whose policies are remembered."""
# what no policy is asked about: the policies themselves, which could lock everybody out, and questions, which are not kept
_EXEMPT = frozenset(
    {
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    }
)


class Hook:
    """A policy and who binds it. `compiled` is what its maker made of it, once somebody asked."""

    __slots__ = ("_made", "_make", "bindings", "policy")

    def __init__(self, policy: Any, bindings: list[Any], make: Callable[[Any], Any], made: Any = None) -> None:
        self.policy = policy
        self.bindings = bindings
        self._make = make
        self._made = made

    @property
    def compiled(self) -> Any:
        """Its programs."""
        if self._made is None:
            self._made = self._make(self.policy)
        return self._made

    def again(self, policy: Any, bindings: list[Any]) -> Hook:
        """The same policy with what may have changed around its spec."""
        return Hook(policy, bindings, self._make, self._made)


class PolicyIndex:
    """All policies of one kind."""

    def __init__(
        self, reader: Reader, table: ResourceTable, policies: Resource, bindings: Resource, make: Callable[[Any], Any]
    ) -> None:
        self._reader = reader
        self._table = table
        self._policies = policies
        self._bindings = bindings
        self._make = make
        self._changed = True
        self._hooks: dict[str, Hook] = {}
        self._by_place: dict[tuple[str, str, str, str, str], list[Hook]] = {}
        reader.on_change(policies, self._mark)
        reader.on_change(bindings, self._mark)

    def _mark(self, namespace: str, name: str) -> None:
        self._changed = True

    @property
    def empty(self) -> bool:
        """Whether there is nothing to ask: the one check that every write pays for."""
        if self._changed:
            self._read()
        return not self._hooks

    def _read(self) -> None:
        self._changed = False
        before = self._hooks
        bound: dict[str, list[Any]] = {}
        for binding in sorted(self._reader.list(self._bindings), key=_name):
            bound.setdefault(binding.spec.policy_name, []).append(binding)
        self._hooks = {}
        self._by_place.clear()
        for policy in sorted(self._reader.list(self._policies), key=_name):
            name = policy.metadata.name
            bindings = bound.get(name)
            if not bindings:
                continue
            old = before.get(name)
            if old is not None and old.policy.spec == policy.spec:
                self._hooks[name] = old.again(policy, bindings)
            else:
                self._hooks[name] = Hook(policy, bindings, self._make)

    def about(self, attributes: Attributes) -> list[Hook]:
        """The policies whose rules may be about a write, by name; selectors and names of objects are not looked at yet."""
        row = attributes.resource
        if (row.group, row.plural) in _EXEMPT:
            return []
        place = (row.group, row.version, row.plural, attributes.subresource, attributes.operation.value)
        found = self._by_place.get(place)
        if found is None:
            if len(self._by_place) >= MAX_REMEMBERED:
                self._by_place.clear()
            scope = Scope(attributes, self._table)
            found = [
                hook for hook in self._hooks.values() if rules_may_match(hook.policy.spec.match_constraints, scope)
            ]
            self._by_place[place] = found
        return found


def _name(obj: Any) -> str:
    return obj.metadata.name  # type: ignore[no-any-return]


def row_of(table: ResourceTable, plural: str) -> Resource:
    """The row of a policy kind."""
    row = table.by_plural("admissionregistration.k8s.io", "v1", plural)
    assert row is not None
    return row
