"""Registry credentials out of image pull secrets. Pure.

Source: kubernetes `credentialprovider` (config.go, keyring.go): `.dockerconfigjson` and the older `.dockercfg`;
entries match by host (with `*` in its parts) and path prefix, the longest first.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import hashlib
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from carob.runtime.types import RegistryAuth

if TYPE_CHECKING:
    from carob.api.types import core_v1

DOCKER_HUB = "docker.io"
_HUB_NAMES = ("index.docker.io", "registry-1.docker.io", "docker.io")


class PullSecret(Struct, frozen=True):
    """Credentials for a registry, and the Secret that has them."""

    namespace: str
    name: str
    uid: str
    auth: RegistryAuth

    @property
    def digest(self) -> str:
        """The same for the same credentials."""
        auth = self.auth
        return hashlib.sha256(orjson.dumps([auth.username, auth.password, auth.identity_token])).hexdigest()


def pull_secrets_of(secret: core_v1.Secret, image: str) -> list[PullSecret]:
    """The credentials of `secret` for the registry of `image`, the best match first; a broken secret has none."""
    entries = _entries(secret)
    found = [(key, auth) for key, auth in entries.items() if _matches(_without_scheme(key), repository(image))]
    found.sort(key=lambda item: len(item[0]), reverse=True)
    own = secret.metadata
    return [PullSecret(own.namespace, own.name, own.uid, _auth(entry)) for _, entry in found]


def _entries(secret: core_v1.Secret) -> dict[str, Any]:
    text = secret.data.get(".dockerconfigjson") or secret.data.get(".dockercfg")
    if not text:
        return {}
    try:
        tree = orjson.loads(base64.b64decode(text))
    except (orjson.JSONDecodeError, binascii.Error):
        return {}
    if ".dockerconfigjson" in secret.data:
        tree = tree.get("auths") if isinstance(tree, dict) else None
    return {k: v for k, v in tree.items() if isinstance(v, dict)} if isinstance(tree, dict) else {}


def _auth(entry: dict[str, Any]) -> RegistryAuth:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    packed = entry.get("auth")
    if isinstance(packed, str) and packed and not username:
        with contextlib.suppress(binascii.Error):
            username, _, password = base64.b64decode(packed).decode("utf-8", "replace").partition(":")
    return RegistryAuth(username=username, password=password, identity_token=str(entry.get("identitytoken", "")))


def repository(image: str) -> str:
    """`busybox` is `docker.io/library/busybox`; without tag and digest."""
    name = image.partition("@")[0]
    head, slash, rest = name.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost"):
        rest = name if slash else f"library/{name}"
        head = DOCKER_HUB
    elif head in _HUB_NAMES:
        head = DOCKER_HUB
    return f"{head}/{rest.partition(':')[0]}"


def _without_scheme(key: str) -> str:
    key = key.removeprefix("https://").removeprefix("http://").strip("/")
    for suffix in ("/v1", "/v2"):
        key = key.removesuffix(suffix)
    host, slash, path = key.partition("/")
    return (DOCKER_HUB if host in _HUB_NAMES else host) + slash + path


def _matches(pattern: str, repository: str) -> bool:
    host, _, path = pattern.partition("/")
    own_host, _, own_path = repository.partition("/")
    parts, own_parts = host.split("."), own_host.split(".")
    if len(parts) != len(own_parts):
        return False
    if not all(fnmatch.fnmatchcase(own, part) for part, own in zip(parts, own_parts, strict=True)):
        return False
    return not path or own_path == path or own_path.startswith(path + "/")
