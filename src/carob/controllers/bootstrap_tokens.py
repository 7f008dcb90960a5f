"""Bootstrap tokens: those that have expired are removed, and those that may sign vouch for `kube-public/cluster-info`.

A node that knows nothing but a token can fetch that ConfigMap without a credential, and trust the kubeconfig in it
because its signature was made with the token's secret part.

Source: kube-controller-manager bootstrap/bootstrapsigner.go and tokencleaner.go; RFC 7515 appendix F (detached content).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.clock import parse_rfc3339
from carob.client.informer import Informer
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from carob.base.clock import Clock
    from carob.client.rest import Client

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
INFO_NAMESPACE, INFO_NAME = "kube-public", "cluster-info"
SIGNATURE_PREFIX = "jws-kubeconfig-"
_SIGN = "sign"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def detached_signature(content: str, token_id: str, token_secret: str) -> str:
    """A JSON web signature (HS256) without the content that it signs."""
    header = _encode(f'{{"alg":"HS256","kid":"{token_id}"}}'.encode())
    signed = f"{header}.{_encode(content.encode())}".encode()
    return f"{header}..{_encode(hmac.digest(token_secret.encode(), signed, hashlib.sha256))}"


def text(secret: core_v1.Secret, key: str) -> str:
    """A field of a Secret as text; empty when it is none."""
    try:
        return base64.b64decode(secret.data.get(key, "")).decode()
    except ValueError:
        return ""


def expires(secret: core_v1.Secret) -> float | None:
    """When the token ends, seconds since 1970; None: never. A time that cannot be read has passed."""
    stamp = text(secret, "expiration")
    if not stamp:
        return None
    try:
        return parse_rfc3339(stamp)
    except ValueError:
        return 0.0


def signers(secrets: list[core_v1.Secret], now: float) -> dict[str, str]:
    """Secret parts by token id, of all tokens that may sign now."""
    found: dict[str, str] = {}
    for secret in secrets:
        token_id, end = text(secret, "token-id"), expires(secret)
        if secret.metadata.name != f"bootstrap-token-{token_id}" or not text(secret, "token-secret"):
            continue
        if text(secret, "usage-bootstrap-signing") == "true" and (end is None or end > now):
            found[token_id] = text(secret, "token-secret")
    return found


def signed(info: core_v1.ConfigMap, tokens: dict[str, str]) -> dict[str, str | None]:
    """What to change in the data of `cluster-info`: signatures to add, to make anew (a value), to remove (None)."""
    content = info.data.get("kubeconfig")
    wanted: dict[str, str] = {}
    if content:
        for token_id, secret in tokens.items():
            wanted[SIGNATURE_PREFIX + token_id] = detached_signature(content, token_id, secret)
    changes: dict[str, str | None] = {name: value for name, value in wanted.items() if info.data.get(name) != value}
    return changes | {name: None for name in info.data if name.startswith(SIGNATURE_PREFIX) and name not in wanted}


class BootstrapTokenController:
    """Keys are those of the tokens' Secrets, and one for the signing."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        selector = f"type={TYPE}"
        self._secrets = Informer(
            client, core_v1.Secret, clock, namespace=NAMESPACE, field_selector=selector, name="bootstrap tokens"
        )
        by_name = f"metadata.name={INFO_NAME}"
        self._infos = Informer(
            client, core_v1.ConfigMap, clock, namespace=INFO_NAMESPACE, field_selector=by_name, name=INFO_NAME
        )
        self._queue = WorkQueue(clock)
        self.informers: list[Informer[Any]] = [self._secrets, self._infos]

    async def run(self) -> None:
        """Until cancelled."""
        await self._secrets.wait_synced()
        await self._infos.wait_synced()
        self._secrets.subscribe(lambda key, old, new: self._changed(key))
        self._infos.subscribe(lambda key, old, new: self._queue.add(_SIGN))
        await self._queue.work(self._sync, 1, "bootstrap tokens")

    def _changed(self, key: str) -> None:
        self._queue.add(key)
        self._queue.add(_SIGN)

    async def _sync(self, key: str) -> None:
        try:
            await (self._sign() if key == _SIGN else self._clean(key))
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):
                raise

    async def _sign(self) -> None:
        info = self._infos.get(f"{INFO_NAMESPACE}/{INFO_NAME}")
        if info is None:
            return
        changes = signed(info, signers(list(self._secrets.items()), self._clock.now()))
        if changes:
            patch = {"metadata": {"resourceVersion": info.metadata.resource_version}, "data": changes}
            await self._client.patch(core_v1.ConfigMap, INFO_NAME, INFO_NAMESPACE, patch=patch)

    async def _clean(self, key: str) -> None:
        secret = self._secrets.get(key)
        end = expires(secret) if secret is not None else None
        if secret is None or end is None:
            return
        left = end - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
            return
        await self._client.delete(core_v1.Secret, secret.metadata.name, NAMESPACE, uid=secret.metadata.uid)
