"""What a Pod's claims of devices ask of a node: claims that are allocated, claims that are still to be.

Pure, over one look at claims, classes and pools. Source: scheduler plugin DynamicResources
(`dynamicresources/dynamicresources.go`); the words are upstream's. Differs: a claim that a user has yet to make keeps the
Pod waiting as with upstream, but an event says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from carob.api import resource_claims
from carob.scheduler.devices.extended import claim_for
from carob.scheduler.devices.results import allocation
from carob.scheduler.devices.search import Ledger, Picked, Search
from carob.scheduler.devices.wishes import AllocationError, classes_of, wishes_of
from carob.scheduler.node_terms import compile_terms
from carob.scheduler.verdict import Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence, Set

    from carob.api.resource_claims import Named, Noted
    from carob.api.types import core_v1, resource_v1
    from carob.scheduler.devices.pools import Pools
    from carob.scheduler.devices.taken import Taken
    from carob.scheduler.devices.wishes import Wish
    from carob.scheduler.node_terms import Term
    from carob.scheduler.nodes import NodeInfo
    from carob.scheduler.pods import PodInfo

NAME = "DynamicResources"
NOTHING_TO_FREE = "no new claims to deallocate"
STILL_NOT = "still not schedulable"
FREED = "deallocation of ResourceClaim completed"
_ELSEWHERE = Rejection(NAME, ("resourceclaim not available on the node",))
_NOT_ALL = Rejection(NAME, ("cannot allocate all claims",))

Allocations = dict[str, "resource_v1.AllocationResult"]
"""By the keys of the claims."""


class DevicesView(Struct, frozen=True):
    """One look at all that counts; `pending` are the uids of claims whose allocation is under way."""

    claim_of: Callable[[str], resource_v1.ResourceClaim | None]
    classes: Mapping[str, resource_v1.DeviceClass]
    pools: Pools
    taken: Taken
    pending: Set[str] = frozenset()
    backed: Mapping[str, str] = field(default_factory=dict)
    """Classes by the extended resources that they stand for."""
    left_over: Callable[[str], resource_v1.ResourceClaim | None] = lambda pod_uid: None
    """The claim of a Pod's extended resources that an earlier try has left."""


class DevicePlan(Struct):
    """What is to be written before the Pod is bound: claims to reserve, and what those get that have nothing yet."""

    claims: list[resource_v1.ResourceClaim] = field(default_factory=list)
    allocations: Allocations = field(default_factory=dict)
    mappings: list[core_v1.ContainerExtendedResourceRequest] = field(default_factory=list)
    """Which container gets which request of the claim that is made for extended resources."""


class _Found(Struct):
    """What a search found: by claim, the alternative that each request gets, and the devices."""

    claims: Sequence[resource_v1.ResourceClaim]
    wishes: list[list[Wish]]
    picked: Sequence[Sequence[Picked]]
    points: int

    def allocations(self, node: str) -> Allocations:
        """As they are written."""
        return {
            _key(claim): allocation(claim, wishes, picked, node)
            for claim, wishes, picked in zip(self.claims, self.wishes, self.picked, strict=True)
        }


class _Answer(Struct):
    """What was found on one node."""

    rejection: Rejection | None = None
    found: _Found | None = None
    """What the claims get that have nothing yet; None: all have."""
    special: Special | None = None


Special = tuple["resource_v1.ResourceClaim", "list[core_v1.ContainerExtendedResourceRequest]"]
"""The claim of a Pod's extended resources, and which container gets which request of it."""


class PodDevices(Struct):
    """One Pod's claims. `refusal` is why no node can have it now; `waiting`: not worth a try, nor a word."""

    refusal: str = ""
    waiting: bool = False
    claims: list[resource_v1.ResourceClaim] = field(default_factory=list)
    extended: dict[str, str] = field(default_factory=dict)
    """Classes of the extended resources that the Pod asks for and that nodes need not have themselves."""
    left_over: resource_v1.ResourceClaim | None = None
    """A claim of an earlier try that must go first."""
    error: str = ""
    """What is wrong with a claim, a class or a pool, found while nodes were looked at."""
    _pod: PodInfo | None = None
    _specials: dict[frozenset[str], Special] = field(default_factory=dict)
    _places: list[list[Term] | None] = field(default_factory=list)
    _wishes: dict[str, list[tuple[Wish, ...]]] = field(default_factory=dict)
    _view: DevicesView | None = None
    _ledger: Ledger | None = None
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _unreachable: set[int] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to check or to write."""
        return not self.claims and not self.extended

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Why the node cannot have the Pod; None if it can."""
        return Rejection(NAME, (self.refusal,)) if self.refusal else self._answer(node).rejection

    def plan(self, node: NodeInfo) -> DevicePlan:
        """What the claims get on a node that can have the Pod."""
        answer = self._answer(node)
        claims, mappings = list(self.claims), []
        if answer.special is not None:
            claims.append(answer.special[0])
            mappings = answer.special[1]
        return DevicePlan(claims, answer.found.allocations(node.name) if answer.found is not None else {}, mappings)

    def forget(self) -> None:
        """What was found on nodes: while a Pod waits that would only take room."""
        self._answers.clear()
        self._specials.clear()
        assert self._view is not None
        self._ledger = Ledger(self._view.taken)

    def preference(self, node: NodeInfo) -> int:
        """How good the alternatives are that requests get there: eight points for a first one, less for each later.

        Source: `computeScore`, FirstAvailableDeviceRequestMaxSize.
        """
        found = self._answer(node).found
        return found.points if found is not None else 0

    @property
    def has_alternatives(self) -> bool:
        """Whether nodes can differ by how good the alternatives are."""
        return any(len(one) > 1 for wishes in self._wishes.values() for one in wishes)

    def after_filters(self, pod_uid: str) -> tuple[str, resource_v1.ResourceClaim | None]:
        """What is said when no node was found, and an idle claim whose devices lie elsewhere, to be given back.

        Source: PostFilter. Of several the first, where upstream takes any.
        """
        if self.refusal or self.empty:
            return NOTHING_TO_FREE, None
        for number in sorted(self._unreachable):
            claim = self.claims[number]
            if all(user.uid == pod_uid for user in claim.status.reserved_for):
                return FREED, claim
        return STILL_NOT, None

    def _answer(self, node: NodeInfo) -> _Answer:
        found = self._answers.get(node.name)
        if found is None:
            found = self._answers[node.name] = self._look_at(node)
        return found

    def _look_at(self, node: NodeInfo) -> _Answer:
        elsewhere = [
            number
            for number, terms in enumerate(self._places)
            if terms is not None and not any(term(node) for term in terms)
        ]
        answer = _Answer(special=self._special(node))
        if self._wishes or answer.special is not None:
            try:
                made = self._allocate(node, answer.special)
            except AllocationError as error:
                self.error = str(error)
                return _Answer(Rejection(NAME, (str(error),)))
            if made is None:
                return _Answer(_NOT_ALL)
            answer.found = made
        if elsewhere:
            self._unreachable.update(elsewhere)
            return _Answer(_ELSEWHERE)
        return answer

    def _special(self, node: NodeInfo) -> Special | None:
        """The claim for what the node does not offer by itself; None if there is no such resource."""
        names = frozenset(name for name in self.extended if not node.allocatable.get(name))
        if not names:
            return None
        found = self._specials.get(names)
        if found is None:
            assert self._pod is not None
            found = self._specials[names] = claim_for(self._pod, {name: self.extended[name] for name in names})
        return found

    def _allocate(self, node: NodeInfo, special: Special | None) -> _Found | None:
        view, ledger = self._view, self._ledger
        assert view is not None
        assert ledger is not None
        reach = view.pools.on(node)
        claims = [claim for claim in self.claims if _key(claim) in self._wishes]
        wishes = [self._wishes[_key(claim)] for claim in claims]
        if special is not None:
            claims.append(special[0])
            wishes.append(wishes_of(special[0], view.classes))
        search = Search(claims, wishes, reach, view.taken, ledger)
        picked = search.run()
        if picked is None:
            if reach.broken:
                raise AllocationError("invalid resource pools were encountered")
            return None
        return _found(claims, wishes, picked, search.chosen)


def _found(
    claims: Sequence[resource_v1.ResourceClaim],
    wishes: Sequence[Sequence[Sequence[Wish]]],
    picked: Sequence[Sequence[Picked]],
    chosen: Mapping[tuple[int, int], int],
) -> _Found:
    got: list[list[Wish]] = []
    points = 0
    for number, requests in enumerate(wishes):
        got.append([])
        for i, alternatives in enumerate(requests):
            choice = chosen.get((number, i), 0)
            got[number].append(alternatives[choice])
            if alternatives[choice].alternative:
                points += 8 - choice
    return _Found(claims, got, picked, points)


def _key(claim: resource_v1.ResourceClaim) -> str:
    return f"{claim.metadata.namespace}/{claim.metadata.name}"


def look(pod: PodInfo, view: DevicesView) -> PodDevices:
    """What the Pod's claims ask now."""
    spec, status = pod.view.spec, pod.view.status
    out = look_at(pod.key, pod.uid, spec.resource_claims, status.resource_claim_statuses, view)
    out.extended = {name: view.backed[name] for name, value in pod.requests.items() if value and name in view.backed}
    if out.extended and not out.refusal:
        out._pod = pod
        out.left_over = view.left_over(pod.uid)
        if out.left_over is not None:
            out.refusal = "cannot schedule extended resource claim"
    return out


def look_at(
    pod_key: str, pod_uid: str, wanted: Sequence[Named], statuses: Sequence[Noted], view: DevicesView
) -> PodDevices:
    """As above, for the parts of a Pod."""
    out = PodDevices(_view=view, _ledger=Ledger(view.taken))
    for wish in wanted:
        _add(out, pod_key, pod_uid, wish, statuses, view)
        if out.refusal:
            out.claims = []
            return out
    for claim in out.claims:
        out.refusal = _prepare(out, claim, pod_uid, view)
        if out.refusal:
            out.claims = []
            return out
    return out


def _add(
    out: PodDevices, pod_key: str, pod_uid: str, wish: Named, statuses: Sequence[Noted], view: DevicesView
) -> None:
    """Source: foreachPodResourceClaim."""
    try:
        name, must_own = resource_claims.claim_name(pod_key, wish, statuses)
    except resource_claims.ClaimNotFound as why:
        out.refusal, out.waiting = str(why), True
        return
    if name is None:
        return
    key = f"{pod_key.partition('/')[0]}/{name}"
    claim = view.claim_of(key)
    if claim is None:
        out.refusal = f'resourceclaim.resource.k8s.io "{name}" not found'
        # the controller is about to make it again
        out.waiting = must_own
    elif claim.metadata.deletion_timestamp is not None:
        out.refusal = f'resourceclaim "{name}" is being deleted'
    elif must_own and not resource_claims.is_owned_by(claim, pod_uid):
        out.refusal = resource_claims.not_owned_words(key, pod_key)
    elif claim not in out.claims:
        out.claims.append(claim)


def _prepare(out: PodDevices, claim: resource_v1.ResourceClaim, pod_uid: str, view: DevicesView) -> str:
    """Source: PreFilter."""
    got = claim.status.allocation
    if got is not None:
        if not resource_claims.can_be_reserved(claim) and not resource_claims.is_reserved_for(claim, pod_uid):
            return "resourceclaim in use"
        out._places.append(
            compile_terms(got.node_selector.node_selector_terms) if got.node_selector is not None else None
        )
        return ""
    out._places.append(None)
    if claim.metadata.uid in view.pending:
        return f"resource claim {_key(claim)} is in the process of being allocated"
    for request, class_name in classes_of(claim):
        if class_name not in view.classes:
            return f"request {request}: device class {class_name} does not exist"
    try:
        out._wishes[_key(claim)] = wishes_of(claim, view.classes)
    except AllocationError as error:
        return str(error)
    return ""
