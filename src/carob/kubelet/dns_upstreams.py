"""Who is asked about names that are not the cluster's: the node's own resolvers, unless a ConfigMap says otherwise.

The ConfigMap is `kube-system/kube-dns`, in the form that clusters have used since stub domains exist: `stubDomains` is a
JSON object of lists (`{"acme.local": ["10.0.0.7"]}`), `upstreamNameservers` a JSON list; an address may have a port.

Source: Kubernetes documentation, "Customizing DNS Service".
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import orjson

from carob.api.types import core_v1
from carob.base.log import get_logger, pairs
from carob.client.informer import Informer
from carob.network.dns.forward import PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from carob.base.clock import Clock
    from carob.client.rest import Client
    from carob.network.dns.forward import Resolver

NAMESPACE, NAME = "kube-system", "kube-dns"
MAX_SERVERS = 16
_log = get_logger("dns")


class Upstreams:
    """`servers_of` says whom to ask; `run` follows the ConfigMap until cancelled."""

    def __init__(self, client: Client, own: Callable[[], Sequence[str]], clock: Clock) -> None:
        self._own = own
        self._stubs: dict[str, list[Resolver]] = {}
        self._upstream: list[Resolver] = []
        selector = f"metadata.name={NAME}"
        self._maps = Informer(client, core_v1.ConfigMap, clock, namespace=NAMESPACE, field_selector=selector, name=NAME)
        self._maps.subscribe(lambda key, old, new: self.use(new))

    async def run(self) -> None:
        """Follow what changes."""
        await self._maps.run()

    def servers_of(self, name: str) -> Sequence[Resolver]:
        """The resolvers of a name (lower case, no last dot), best first: those of its longest domain that has some."""
        labels = name.split(".") if self._stubs else ()
        for start in range(len(labels)):
            found = self._stubs.get(".".join(labels[start:]))
            if found:
                return found
        return self._upstream or [(address, PORT) for address in self._own()]

    def use(self, found: core_v1.ConfigMap | None) -> None:
        """From now on it is as this ConfigMap says; None: there is none."""
        data = found.data if found is not None else {}
        self._stubs = {
            domain.strip(".").lower(): servers
            for domain, texts in _read(data, "stubDomains", dict).items()
            if (servers := resolvers(texts))
        }
        self._upstream = resolvers(_read(data, "upstreamNameservers", list))


def _read(data: dict[str, str], key: str, kind: type[Any]) -> Any:
    """The field's JSON; an empty one when it is none of its kind, which is said once a change."""
    text = data.get(key, "")
    if text.strip():
        try:
            tree = orjson.loads(text)
        except orjson.JSONDecodeError:
            tree = None
        if isinstance(tree, kind):
            return tree
        _log.warning("a setting of the DNS cannot be read: %s", pairs(configmap=f"{NAMESPACE}/{NAME}", field=key))
    return kind()


def resolvers(texts: object) -> list[Resolver]:
    """Those of `10.0.0.7` and `10.0.0.7:5353` that are addresses."""
    found: list[Resolver] = []
    for text in texts if isinstance(texts, list) else ():
        host, _, port = str(text).partition(":")
        try:
            address = str(ipaddress.IPv4Address(host))
        except ValueError:
            continue
        if not port or (port.isdigit() and 0 < int(port) < 65536):
            found.append((address, int(port) if port else PORT))
    return found[:MAX_SERVERS]
