"""Who may use an image that is on the node already: whoever could have pulled it.

What the kubelet pulled is written down with the secret that opened its registry. A Pod that brings that secret, or one
with the same credentials, uses the image as it lies there; any other has to ask the registry, as if the image were not
there. What somebody else brought to the node (`carob image load`) is everybody's. An intent is on the disk before a
pull begins: an agent that is killed in the middle leaves no private image for everybody.

Touches its own folder of the node; small files, read once.
Source: KEP-2535; kubelet `images/pullmanager`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct, field

from carob.base.log import get_logger, pairs
from carob.kubelet.credentials import repository

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from carob.kubelet.credentials import PullSecret

_log = get_logger("kubelet.images")
NEVER_VERIFY, PRELOADED, ALLOW_LISTED, ALWAYS_VERIFY = POLICIES = (
    "NeverVerify",
    "NeverVerifyPreloadedImages",
    "NeverVerifyAllowlistedImages",
    "AlwaysVerify",
)
MOST_SECRETS = 100
"""Of one image: those that come later ask the registry again."""


class Secret(Struct, frozen=True):
    """One that opened a registry. `digest` is of the credentials in it."""

    namespace: str
    name: str
    uid: str
    digest: str


class Access(Struct):
    everybody: bool = False
    """The registry asked for nothing."""
    secrets: list[Secret] = field(default_factory=list)


class PullRecord(Struct):
    """One image of the node, by the repositories that it was pulled from."""

    image_id: str
    repositories: dict[str, Access] = field(default_factory=dict)


class PullRecords:
    """`accessible` may be asked at any time; `begin` and what follows it belong to one pull of an image at a time."""

    def __init__(self, folder: str, must_verify: Callable[[str, bool], bool]) -> None:
        self._pulled, self._pulling = f"{folder}/pulled", f"{folder}/pulling"
        self._must_verify = must_verify
        self._records: dict[str, PullRecord] = {}
        self._intents: set[str] = set()
        self._read()

    def _read(self) -> None:
        for text in _texts(self._pulling):
            self._intents.add(text.decode())
        for text in _texts(self._pulled):
            try:
                record = msgspec.json.decode(text, type=PullRecord)
            except msgspec.DecodeError as error:
                _log.warning("a pull record is broken %s", pairs(folder=self._pulled, error=error))
                continue
            self._records[record.image_id] = record

    def accessible(self, image: str, image_id: str, secrets: Sequence[PullSecret]) -> bool:
        """Whether a Pod with these secrets may use what lies on the node under this name."""
        record = self._records.get(image_id)
        if not self._must_verify(image, record is not None or image in self._intents):
            return True
        access = record.repositories.get(repository(image)) if record is not None else None
        if access is None:
            return False
        return access.everybody or any(_opens(access, secret) for secret in secrets)

    def begin(self, image: str) -> None:
        """It is pulled now. Raises: OSError."""
        _write(self._pulling, image, image.encode())
        self._intents.add(image)

    def failed(self, image: str) -> None:
        """Nothing came of it."""
        _remove(self._pulling, image)
        self._intents.discard(image)

    def pulled(self, image: str, image_id: str, secret: PullSecret | None) -> None:
        """It came, with this secret or without any. Raises: OSError."""
        record = self._records.setdefault(image_id, PullRecord(image_id))
        access = record.repositories.setdefault(repository(image), Access())
        if secret is None:
            access.everybody, access.secrets = True, []
        elif not access.everybody:
            found = Secret(secret.namespace, secret.name, secret.uid, secret.digest)
            others = [one for one in access.secrets if one.uid != secret.uid]
            access.secrets = [*others[: MOST_SECRETS - 1], found]
        _write(self._pulled, image_id, msgspec.json.encode(record))
        self.failed(image)

    def keep(self, image_ids: Collection[str]) -> None:
        """Forget what is no longer on the node."""
        for image_id in [one for one in self._records if one not in image_ids]:
            del self._records[image_id]
            _remove(self._pulled, image_id)


def policy(name: str, allowed: Iterable[str] = ()) -> Callable[[str, bool], bool]:
    """Whether the access to an image must be verified, from its name and whether the kubelet has pulled it.

    `allowed` are repositories, or with `/*` all below one. Source: `image_pull_policies.go`.
    """
    patterns = tuple(allowed)

    def listed(image: str) -> bool:
        own = repository(image)
        return any(own.startswith(p[:-1]) if p.endswith("/*") else own == repository(p) for p in patterns)

    return {
        NEVER_VERIFY: lambda _image, _pulled: False,
        PRELOADED: lambda _image, pulled: pulled,
        ALLOW_LISTED: lambda image, _pulled: not listed(image),
        ALWAYS_VERIFY: lambda _image, _pulled: True,
    }[name]


def _opens(access: Access, secret: PullSecret) -> bool:
    """The same credentials, or the same secret with newer ones in it: those it is trusted to have."""
    for known in access.secrets:
        if known.digest == secret.digest:
            return True
        if (known.uid, known.namespace, known.name) == (secret.uid, secret.namespace, secret.name):
            return True
    return False


def _path(folder: str, key: str) -> str:
    return f"{folder}/sha256-{hashlib.sha256(key.encode()).hexdigest()}"


def _texts(folder: str) -> list[bytes]:
    out = []
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith("sha256-"):
                with open(f"{folder}/{name}", "rb") as stream:
                    out.append(stream.read())
    return out


def _write(folder: str, key: str, content: bytes) -> None:
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = _path(folder, key)
    temporary = f"{folder}/.new"
    with open(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as stream:
        stream.write(content)
    os.replace(temporary, path)


def _remove(folder: str, key: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(folder, key))
