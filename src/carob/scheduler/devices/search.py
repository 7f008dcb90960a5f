"""The search: which devices of a node meet all the claims of a Pod at once. The first solution counts.

Claim by claim, request by request, device by device, in a fixed order, and back again where that leads nowhere. Within a
request combinations are tried, not permutations.
Pure. Source: `structured/internal/incubating/allocator_incubating.go` (allocateOne, allocateDevice). Differs: it gives
up after `MAX_STEPS`, not after ten seconds, so that the same question has the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from carob.api.device_selectors import SelectorError
from carob.scheduler.devices.capacity import consumed
from carob.scheduler.devices.constraints import Constraint
from carob.scheduler.devices.wishes import AllocationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.types import resource_v1
    from carob.scheduler.devices.pools import Counters, Device, DeviceId, Pool, PoolId, Reach
    from carob.scheduler.devices.taken import Amounts, Taken
    from carob.scheduler.devices.wishes import Wish

MOST_DEVICES = 32
"""That one claim can have. Source: AllocationResultsMaxSize."""
MAX_STEPS = 20_000


class _TooMany(Exception):
    """This way the claim would have more devices than it can."""


class Picked(Struct, frozen=True):
    """A device for a wish. `amounts`: what it takes of one that others may share; None for a whole one."""

    wish: Wish
    device: Device
    amounts: Amounts | None = None


class Ledger:
    """What is left of the counters of pools, worked out when it is first asked for."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self._left: dict[PoolId, Counters] = {}

    def left(self, pool: Pool) -> Counters:
        """By set and counter, in billionths, before the search took any."""
        found = self._left.get(pool.id)
        if found is None:
            found = self._left[pool.id] = {name: dict(counters) for name, counters in pool.counters.items()}
            for device in pool.devices.values():
                if device.consumes and self._taken.in_use(device.id):
                    _consume(found, device, -1)
        return found


def _consume(left: Counters, device: Device, sign: int) -> None:
    for name, counters in device.consumes.items():
        for counter, value in counters.items():
            left[name][counter] += sign * value


class Search:
    """One search on one node."""

    def __init__(
        self,
        claims: Sequence[resource_v1.ResourceClaim],
        wishes: Sequence[Sequence[Sequence[Wish]]],
        reach: Reach,
        taken: Taken,
        ledger: Ledger,
    ) -> None:
        """Shape: `wishes` by claim, request, alternative; `reach` is the node's."""
        self._claims = claims
        self._wishes = wishes
        self._pools = reach.pools
        self._candidates = reach.candidates
        self._taken = taken
        self._ledger = ledger
        self._constraints = [[Constraint(one) for one in claim.spec.devices.constraints] for claim in claims]
        self._wanted: dict[int, list[Device]] = {}
        """All devices of wishes for every one, by the wish's id."""
        self._picked: list[list[Picked]] = [[] for _ in claims]
        self._allocating: dict[DeviceId, set[int]] = {}
        self._shares: dict[DeviceId, list[Amounts]] = {}
        self._counting: dict[PoolId, Counters] = {}
        self.chosen: dict[tuple[int, int], int] = {}
        """Which alternative a request of a claim got."""
        self.steps = 0

    def run(self) -> list[list[Picked]] | None:
        """Devices by claim; None if the node cannot meet all claims. Raises: AllocationError."""
        for number, requests in enumerate(self._wishes):
            least = sum(min(self._size(number, wish) for wish in alternatives) for alternatives in requests)
            if least > MOST_DEVICES:
                raise AllocationError(
                    f"claim {self._key(number)}: number of requested devices {least} exceeds the claim limit of "
                    f"{MOST_DEVICES}"
                )
        try:
            found = self._next(0, 0, None, 0, 0)
        except _TooMany:
            return None
        return self._picked if found else None

    def _key(self, claim: int) -> str:
        metadata = self._claims[claim].metadata
        return f"{metadata.namespace}/{metadata.name}"

    def _size(self, claim: int, wish: Wish) -> int:
        if not wish.every:
            return wish.count
        found = self._wanted.get(id(wish))
        if found is None:
            found = self._wanted[id(wish)] = self._everything(claim, wish)
        return len(found)

    def _everything(self, claim: int, wish: Wish) -> list[Device]:
        found: list[Device] = []
        for pool, devices in self._pools:
            if not pool.usable:
                state = "invalid" if pool.complete else "being updated"
                raise AllocationError(
                    f"claim {self._key(claim)}, request {wish.alternative or wish.request}: asks for all devices, but "
                    f"resource pool {pool.id} is currently {state}"
                )
            found += [one for one in devices if self._fits(wish, one) and self._room(wish, one) is not None]
        return found

    def _next(self, claim: int, request: int, alternative: int | None, count: int, start: int) -> bool:
        """Whether everything from here on can be had. `count`: devices that the request has already; `start`: where in
        the candidates to go on."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise AllocationError("timed out trying to allocate devices")
        if claim == len(self._claims):
            return True
        requests = self._wishes[claim]
        if request == len(requests):
            try:
                return self._next(claim + 1, 0, None, 0, 0)
            except _TooMany:
                # with other devices before it the next claim may need fewer
                return False
        if alternative is None:
            return self._any_alternative(claim, request)
        wish = requests[request][alternative]
        wanted = self._size(claim, wish)
        if wish.every and not wanted:
            return False
        if count >= wanted:
            return self._next(claim, request + 1, None, 0, 0)
        if len(self._picked[claim]) + wanted - count > MOST_DEVICES:
            raise _TooMany
        if wish.every:
            return self._take(claim, request, alternative, count, self._wanted[id(wish)][count], 0)
        for i in range(start, len(self._candidates)):
            device = self._candidates[i]
            if self._is_busy(claim, wish, device) or not self._fits(wish, device):
                continue
            if self._take(claim, request, alternative, count, device, i + 1):
                return True
        return False

    def _any_alternative(self, claim: int, request: int) -> bool:
        alternatives = self._wishes[claim][request]
        if len(alternatives) == 1 and not alternatives[0].alternative:
            return self._next(claim, request, 0, 0, 0)
        too_many = True
        for i in range(len(alternatives)):
            try:
                found = self._next(claim, request, i, 0, 0)
            except _TooMany:
                continue
            too_many = False
            if found:
                self.chosen[claim, request] = i
                return True
        if too_many:
            raise _TooMany
        return False

    def _take(self, claim: int, request: int, alternative: int, count: int, device: Device, start: int) -> bool:
        """Take the device and go on; if that leads nowhere, nothing was taken."""
        wish = self._wishes[claim][request][alternative]
        amounts = self._room(wish, device)
        if amounts is None or self._is_busy(claim, wish, device) or not wish.tolerates(device.device.taints):
            return False
        counted = bool(device.consumes) and not (device.shared and self._is_shared_by_somebody(device))
        if counted and not self._counters_suffice(device):
            return False
        if not self._constrain(claim, wish, device):
            return False
        self._book(claim, device, amounts, counted=counted)
        self._picked[claim].append(Picked(wish, device, amounts if device.shared else None))
        done = False
        try:
            done = self._next(claim, request, alternative, count + 1, start)
        finally:
            if not done:
                self._picked[claim].pop()
                self._unbook(claim, device, counted=counted)
                for one in self._constraints[claim]:
                    one.remove(wish.request, wish.alternative)
        return done

    def _fits(self, wish: Wish, device: Device) -> bool:
        """Whether all expressions mean it."""
        for where, expression in wish.selectors:
            try:
                if not device.offer.means(expression, device):
                    return False
            except SelectorError as error:
                if str(error).startswith(("compilation failed", "must evaluate")):
                    raise AllocationError(f"{where}: CEL compile error: {error}") from error
                raise AllocationError(f"{where} on device {device.id}: CEL runtime error: {error}") from error
        return True

    def _is_busy(self, claim: int, wish: Wish, device: Device) -> bool:
        allocating = self._allocating.get(device.id)
        if wish.admin:
            return bool(allocating) and claim in (allocating or ())
        return bool(allocating) or device.id in self._taken

    def _is_shared_by_somebody(self, device: Device) -> bool:
        return self._taken.in_use(device.id) or bool(self._shares.get(device.id))

    def _room(self, wish: Wish, device: Device) -> Amounts | None:
        """What the wish would take of its capacity; None if it is not to be had."""
        taken: Amounts = {}
        if device.shared:
            for amounts in (self._taken.shared.get(device.id, {}), *self._shares.get(device.id, ())):
                for name, value in amounts.items():
                    taken[name] = taken.get(name, 0) + value
        elif not wish.capacity:
            return taken
        return consumed(device.device, device.id.driver, wish.capacity, taken)

    def _counters_suffice(self, device: Device) -> bool:
        pool = next(pool for pool, _ in self._pools if pool.id == device.offer.pool_id)
        left, counting = self._ledger.left(pool), self._counting.get(pool.id, {})
        return all(
            left[name][counter] - counting.get(name, {}).get(counter, 0) >= value
            for name, counters in device.consumes.items()
            for counter, value in counters.items()
        )

    def _constrain(self, claim: int, wish: Wish, device: Device) -> bool:
        added: list[Constraint] = []
        for one in self._constraints[claim]:
            if one.add(wish.request, wish.alternative, device):
                added.append(one)
                continue
            if wish.every:
                raise AllocationError(
                    f"claim {self._key(claim)}, request {wish.alternative or wish.request}: cannot add device "
                    f"{device.id} because a claim constraint would not be satisfied"
                )
            for other in added:
                other.remove(wish.request, wish.alternative)
            return False
        return True

    def _book(self, claim: int, device: Device, amounts: Amounts, *, counted: bool) -> None:
        if device.shared:
            self._shares.setdefault(device.id, []).append(amounts)
        else:
            self._allocating.setdefault(device.id, set()).add(claim)
        if counted:
            self._count(device, 1)

    def _unbook(self, claim: int, device: Device, *, counted: bool) -> None:
        if device.shared:
            self._shares[device.id].pop()
        else:
            self._allocating[device.id].discard(claim)
        if counted:
            self._count(device, -1)

    def _count(self, device: Device, sign: int) -> None:
        counting = self._counting.setdefault(device.offer.pool_id, {})
        for name, counters in device.consumes.items():
            sums = counting.setdefault(name, {})
            for counter, value in counters.items():
                sums[counter] = sums.get(counter, 0) + sign * value
