"""How skopeo is asked, and what its answers mean in the words that users of containerd know. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from carob.runtime.images.names import ImageName
from carob.runtime.types import RegistryAuth, RuntimeFailure

_MESSAGE = re.compile(r'level=(?:fatal|error) msg="((?:[^"\\]|\\.)*)"')
_PREFIX = re.compile(r'(?:Error parsing image name "[^"]*"|initializing source \S+): ')
_NOT_FOUND = ("manifest unknown", "name unknown", "not found", "repository name not known", "StatusCode: 404")
_DENIED = ("unauthorized", "authentication required", "access to the resource is denied", "denied:", "forbidden")
_LOCAL = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


class Mirror(Struct, frozen=True):
    """Where to ask instead of a registry: `127.0.0.1:5000`, or with a path. `insecure` allows http and any certificate."""

    location: str
    insecure: bool = False


class Source(Struct, frozen=True):
    """One place to pull from."""

    repository: str
    insecure: bool
    own: bool
    """True for the registry of the image's own name, which alone gets the credentials."""


def sources(name: ImageName, mirrors: Mapping[str, Sequence[Mirror]]) -> list[Source]:
    """The mirrors of the longest matching prefix in order, then the registry itself.

    A registry on this machine may speak http, as with containerd.
    """
    found: list[Source] = []
    matching = [prefix for prefix in mirrors if f"{name.repository}/".startswith(f"{prefix}/")]
    own = name.repository
    insecure = _LOCAL.fullmatch(name.domain) is not None
    for mirror in mirrors[max(matching, key=len)] if matching else ():
        repository = mirror.location + own.removeprefix(max(matching, key=len))
        if repository == own:
            # a registry that is its own mirror only says how to speak to it
            insecure = mirror.insecure
        else:
            found.append(Source(repository, mirror.insecure, own=False))
    return [*found, Source(own, insecure, own=True)]


def auth_file(name: ImageName, auth: RegistryAuth) -> bytes:
    """The file in which skopeo looks for credentials."""
    entry: dict[str, Any] = {}
    if auth.username or auth.password:
        entry["auth"] = base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()
    if auth.identity_token:
        entry["identitytoken"] = auth.identity_token
    return msgspec.json.encode({"auths": {name.domain: entry}})


def inspect(source: Source, reference: str, credentials: str) -> list[str]:
    """Print the raw manifest behind `reference` (`:tag` or `@digest`)."""
    secrets = ["--authfile", credentials] if credentials and source.own else ["--no-creds"]
    verify = f"--tls-verify={'false' if source.insecure else 'true'}"
    return ["inspect", "--raw", *secrets, verify, f"docker://{source.repository}{reference}"]


def copy(source: Source, digest: str, credentials: str, layout: str, blobs: str) -> list[str]:
    """Fetch an image for this machine's platform into an OCI layout whose blobs go to a shared folder."""
    secrets = ["--src-authfile", credentials] if credentials and source.own else ["--src-no-creds"]
    verify = f"--src-tls-verify={'false' if source.insecure else 'true'}"
    shared = ["--dest-shared-blob-dir", blobs, "--dest-oci-accept-uncompressed-layers"]
    return ["copy", *secrets, verify, *shared, f"docker://{source.repository}@{digest}", f"oci:{layout}:image"]


def failure(name: ImageName, errors: str) -> RuntimeFailure:
    """The error of a pull, from what skopeo printed. Its form is containerd's."""
    said = _MESSAGE.findall(errors)
    text = said[-1].replace('\\"', '"').replace("\\n", " ") if said else errors.strip()[-500:]
    text = _PREFIX.sub("", text, count=1)
    lowered = text.lower()
    if any(sign.lower() in lowered for sign in _DENIED):
        why = (
            "pull access denied, repository does not exist or may require authorization: server message: "
            f"insufficient_scope: authorization failed: {text}"
        )
    elif any(sign.lower() in lowered for sign in _NOT_FOUND):
        why = f"{name}: not found"
    else:
        why = f"failed to do request: {text or 'skopeo failed without a word'}"
    return unresolved(name, why)


def unresolved(name: ImageName, why: str) -> RuntimeFailure:
    """The pull failed before anything came."""
    return pull_failure(name, f'failed to resolve reference "{name}": {why}')


def pull_failure(name: ImageName, why: str) -> RuntimeFailure:
    """The one form of every failed pull."""
    return RuntimeFailure(f'failed to pull and unpack image "{name}": {why}', "ErrImagePull")
