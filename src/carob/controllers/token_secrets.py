"""Secrets of type `kubernetes.io/service-account-token`: filled with a token that does not expire, and gone with their account.

Nobody makes such Secrets by himself any more; who writes one by hand (`kubernetes.io/service-account.name` in its
annotations) gets its token. Source: kube-controller-manager serviceaccount/tokens_controller.go, `pkg/serviceaccount/legacy.go`.
"""

from __future__ import annotations

import base64
from functools import cached_property
from typing import TYPE_CHECKING, Any

from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.base.jws import SigningKey
from carob.client.informer import Informer, split_key
from carob.client.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.client.rest import Client

TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
LEGACY_ISSUER = "kubernetes/serviceaccount"
_PRIVATE = "kubernetes.io/serviceaccount/"
WORKERS = 2


def claims(account: core_v1.ServiceAccount, secret: str) -> dict[str, str]:
    """What a token without an end says."""
    namespace, name = account.metadata.namespace, account.metadata.name
    private = {
        "namespace": namespace,
        "secret.name": secret,
        "service-account.name": name,
        "service-account.uid": account.metadata.uid,
    }
    public = {"iss": LEGACY_ISSUER, "sub": f"system:serviceaccount:{namespace}:{name}"}
    return public | {_PRIVATE + key: value for key, value in private.items()}


def is_stale(secret: core_v1.Secret, account: core_v1.ServiceAccount | None) -> bool:
    """Whether the account of the Secret is not there, or is another one of the same name."""
    uid = secret.metadata.annotations.get(ACCOUNT_UID, "")
    return account is None or bool(uid and uid != account.metadata.uid)


def missing(
    secret: core_v1.Secret, account: core_v1.ServiceAccount, certificate: bytes, key: SigningKey
) -> dict[str, Any] | None:
    """A patch with what the Secret lacks; None when it lacks nothing."""
    data: dict[str, str] = {}
    wanted = {"ca.crt": certificate, "namespace": account.metadata.namespace.encode()}
    for name, value in wanted.items():
        encoded = base64.b64encode(value).decode()
        if secret.data.get(name) != encoded:
            data[name] = encoded
    if not secret.data.get("token"):
        data["token"] = base64.b64encode(key.sign(claims(account, secret.metadata.name)).encode()).decode()
    if not data and secret.metadata.annotations.get(ACCOUNT_UID) == account.metadata.uid:
        return None
    metadata = {"resourceVersion": secret.metadata.resource_version, "annotations": {ACCOUNT_UID: account.metadata.uid}}
    return {"metadata": metadata, "data": data}


class TokenSecretController:
    """Keys are those of Secrets."""

    def __init__(
        self,
        client: Client,
        accounts: Informer[core_v1.ServiceAccount],
        key_file: Path,
        certificate: bytes,
        clock: Clock,
    ) -> None:
        self._client = client
        self._key_file = key_file
        self._certificate = certificate
        self._secrets = Informer(client, core_v1.Secret, clock, field_selector=f"type={TYPE}", name="token secrets")
        self._accounts = accounts
        self._queue = WorkQueue(clock)
        self._secrets.add_index("account", _account_of)
        self.informers: list[Informer[Any]] = [self._secrets]

    @cached_property
    def _key(self) -> SigningKey:
        return SigningKey(self._key_file.read_bytes())

    async def run(self) -> None:
        """Until cancelled."""
        await self._secrets.wait_synced()
        await self._accounts.wait_synced()
        self._secrets.subscribe(lambda key, old, new: self._queue.add(key))
        self._accounts.subscribe(lambda key, old, new: self._account_changed(key, old, new))
        await self._queue.work(self._sync, WORKERS, "token secrets")

    def _account_changed(
        self, key: str, old: core_v1.ServiceAccount | None, new: core_v1.ServiceAccount | None
    ) -> None:
        if old is None or new is None or old.metadata.uid != new.metadata.uid:
            for secret in self._secrets.by_index("account", key):
                self._queue.add(f"{secret.metadata.namespace}/{secret.metadata.name}")

    async def _sync(self, key: str) -> None:
        secret = self._secrets.get(key)
        if secret is None or secret.metadata.deletion_timestamp:
            return
        account = await self._account(secret)
        namespace, name = split_key(key)
        try:
            if account is None or is_stale(secret, account):
                await self._client.delete(core_v1.Secret, name, namespace, uid=secret.metadata.uid)
                return
            patch = missing(secret, account, self._certificate, self._key)
            if patch is not None:
                await self._client.patch(core_v1.Secret, name, namespace, patch=patch)
        except ApiError as error:
            if error.reason not in ("NotFound", "Conflict"):  # what changed meanwhile comes by itself
                raise

    async def _account(self, secret: core_v1.Secret) -> core_v1.ServiceAccount | None:
        """From the copy; before a Secret is taken away, from the server itself."""
        key = next(iter(_account_of(secret)))
        account = self._accounts.get(key)
        if not is_stale(secret, account):
            return account
        namespace, name = split_key(key)
        try:
            return await self._client.get(core_v1.ServiceAccount, name, namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None


def _account_of(secret: core_v1.Secret) -> Iterable[str]:
    return [f"{secret.metadata.namespace}/{secret.metadata.annotations.get(ACCOUNT_NAME, '')}"]
