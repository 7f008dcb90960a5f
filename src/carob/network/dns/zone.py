"""The names of the cluster: records by owner, so that one changed Service costs only its own records.

Pure. Names are lower case without the last dot. A name exists if it or a name below it has records: then a type that
it lacks is answered with nothing, not with "no such domain".
Source: Kubernetes DNS-Based Service Discovery specification 1.1.0.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NO_ERROR, NO_SUCH_NAME = 0, 3
TTL_SECONDS = 5
SCHEMA_VERSION = "1.1.0"
MAX_ALIASES = 8
ADDRESS_KINDS = ("A", "AAAA")


class Record(NamedTuple):
    """One record. `data` by `kind`: A and AAAA an address, CNAME and PTR a name, TXT a text, SRV
    `priority weight port target`."""

    name: str
    kind: str
    data: str


class Answer(NamedTuple):
    """What the zone says. `target` is set if the answer ends in an alias to a name outside the zone."""

    code: int
    records: tuple[Record, ...] = ()
    extra: tuple[Record, ...] = ()
    target: str = ""


def turned(records: tuple[Record, ...], turn: int) -> tuple[Record, ...]:
    """The records with another address first at each turn: many clients take the first. Aliases stay in front.

    Source: CoreDNS, plugin `loadbalance`, which shuffles.
    """
    addresses = [record for record in records if record.kind in ADDRESS_KINDS]
    if len(addresses) < 2:
        return records
    at = turn % len(addresses)
    return (*(r for r in records if r.kind not in ADDRESS_KINDS), *addresses[at:], *addresses[:at])


def reverse_name(address: str) -> str:
    """Under which name an address's PTR record stands."""
    return ipaddress.ip_address(address).reverse_pointer


def dashed(address: str) -> str:
    """An address as one label."""
    return address.replace(".", "-").replace(":", "-")


def _address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Whose reverse name it is."""
    try:
        if name.endswith(".in-addr.arpa"):
            return ipaddress.IPv4Address(".".join(reversed(name.removesuffix(".in-addr.arpa").split("."))))
        if name.endswith(".ip6.arpa"):
            digits = "".join(reversed(name.removesuffix(".ip6.arpa").split(".")))
            # a name of fewer labels is a whole range's
            return ipaddress.IPv6Address(bytes.fromhex(digits)) if len(name) == _REVERSE6_LENGTH else None
    except ValueError:
        pass
    return None


_REVERSE6_LENGTH = len(ipaddress.IPv6Address("::").reverse_pointer)
_DASHED = re.compile(r"(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})")


class Zone:
    """All records; `lookup` answers what `covers` says is ours."""

    def __init__(self, domain: str, ranges: Sequence[str] = ()) -> None:
        """`ranges`: the cluster's own addresses, whose reverse names are never asked elsewhere."""
        self.domain = domain.lower().rstrip(".")
        self.generation = 0
        """Grows with every change."""
        self._ranges = [ipaddress.ip_network(text) for text in ranges]
        self._owned: dict[str, tuple[Record, ...]] = {}
        self._names: dict[str, dict[str, list[Record]]] = {}
        self._below: dict[str, int] = {}
        """How many names with records stand below a name."""
        self.put("", [Record(f"dns-version.{self.domain}", "TXT", SCHEMA_VERSION)])

    def put(self, owner: str, records: Iterable[Record]) -> None:
        """Let an owner have these records, and no others."""
        fresh = tuple(dict.fromkeys(records))
        old = self._owned.get(owner, ())
        if fresh == old:
            return
        self.generation += 1
        for name in {record.name for record in old}:
            owners = self._names[name]
            del owners[owner]
            if not owners:
                del self._names[name]
                self._count(name, -1)
        self._owned.pop(owner, None)
        if fresh:
            self._owned[owner] = fresh
        for record in fresh:
            if record.name not in self._names:
                self._names[record.name] = {}
                self._count(record.name, 1)
            self._names[record.name].setdefault(owner, []).append(record)

    def _count(self, name: str, change: int) -> None:
        for above in _ancestors(name):
            left = self._below.get(above, 0) + change
            if left:
                self._below[above] = left
            else:
                self._below.pop(above, None)

    def covers(self, name: str) -> bool:
        """Whether only this zone knows the name."""
        if name == self.domain or name.endswith(f".{self.domain}"):
            return True
        address = _address_of(name)
        return address is not None and (name in self._names or any(address in one for one in self._ranges))

    def lookup(self, name: str, kind: str) -> Answer:
        """The answer for a name that `covers` said yes to. `kind` may be ANY."""
        records: list[Record] = []
        for _ in range(MAX_ALIASES):
            here = self._records(name)
            if not here:
                # nobody is behind an alias into our own zone: it is told all the same
                known = bool(records) or name in self._below or name in self._standing()
                return Answer(NO_ERROR if known else NO_SUCH_NAME, tuple(records))
            alias = next((r for r in here if r.kind == "CNAME"), None)
            if alias is None or kind in ("CNAME", "ANY"):
                records += [r for r in here if kind in ("ANY", r.kind)]
                return Answer(NO_ERROR, tuple(records), self._extra(records))
            records.append(alias)
            name = alias.data
            if not self.covers(name):
                return Answer(NO_ERROR, tuple(records), (), name)
        return Answer(NO_ERROR, tuple(records))

    def _standing(self) -> tuple[str, ...]:
        return self.domain, f"svc.{self.domain}", f"pod.{self.domain}"

    def _records(self, name: str) -> list[Record]:
        owners = self._names.get(name)
        if owners is not None:
            return [record for records in owners.values() for record in records]
        return list(self._pod(name))

    def _pod(self, name: str) -> Iterator[Record]:
        """`10-42-0-7.<namespace>.pod.<domain>` says its own answer; whether there is such a Pod is not looked up."""
        suffix = f".pod.{self.domain}"
        if not name.endswith(suffix):
            return
        label, _, namespace = name.removesuffix(suffix).partition(".")
        found = _DASHED.fullmatch(label)
        if not namespace or "." in namespace:
            return
        if found and all(int(part) < 256 for part in found.groups()):
            yield Record(name, "A", ".".join(str(int(part)) for part in found.groups()))
        elif not found and "%" not in label:
            try:
                yield Record(name, "AAAA", str(ipaddress.IPv6Address(label.replace("-", ":"))))
            except ValueError:
                return

    def _extra(self, records: Iterable[Record]) -> tuple[Record, ...]:
        """The addresses of what SRV records lead to."""
        targets = {r.data.rpartition(" ")[2] for r in records if r.kind == "SRV"}
        return tuple(r for target in sorted(targets) for r in self._records(target) if r.kind in ADDRESS_KINDS)


def _ancestors(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name
