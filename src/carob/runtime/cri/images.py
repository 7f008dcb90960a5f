"""Images and what file systems hold, in the seam's words and in the wire's, either way. Pure."""

from __future__ import annotations

import base64
import binascii

import msgspec

from carob.runtime.cri import image_messages as wire
from carob.runtime.cri.sandbox_messages import Int64Value, UInt64Value
from carob.runtime.cri.sandboxes import nanoseconds
from carob.runtime.types import FilesystemUsage, Image, RegistryAuth


def to_wire(image: Image) -> wire.Image:
    """The user who runs its commands is a number or a name, never both."""
    user = str(image.config.get("User") or "").partition(":")[0]
    number = image.uid if image.uid is not None else int(user) if user.isdigit() else None
    return wire.Image(
        id=image.id,
        repo_tags=image.tags,
        repo_digests=image.digests,
        size=image.size_bytes,
        uid=None if number is None else Int64Value(value=number),
        username="" if number is not None else image.username or user,
        pinned=image.pinned,
    )


def info(image: Image) -> dict[str, str]:
    """What who asks for more is told: the image's own config."""
    spec = {"chainID": "", "imageSpec": {"config": image.config}}
    return {"info": msgspec.json.encode(spec).decode()}


def from_wire(image: wire.Image, info: dict[str, str]) -> Image:
    """`info`: what a runtime adds for who asks for more; containerd's has the config."""
    config: dict[str, object] = {}
    try:
        told = msgspec.json.decode(info.get("info") or "{}")
        config = (told.get("imageSpec") or {}).get("config") or {}
    except (msgspec.DecodeError, AttributeError):
        pass  # another runtime's own words: everything needed is in the message
    user = str(image.uid.value) if image.uid is not None else image.username
    if user and "User" not in config:
        config = {**config, "User": user}
    return Image(
        id=image.id,
        tags=image.repo_tags,
        digests=image.repo_digests,
        size_bytes=image.size,
        uid=image.uid.value if image.uid is not None else None,
        username=image.username,
        pinned=image.pinned,
        config=config,
    )


def to_wire_auth(auth: RegistryAuth | None) -> wire.AuthConfig | None:
    """None: nobody in particular."""
    if auth is None:
        return None
    return wire.AuthConfig(username=auth.username, password=auth.password, identity_token=auth.identity_token)


def from_wire_auth(auth: wire.AuthConfig | None) -> RegistryAuth | None:
    """`auth` is base64 of `user:password`, for clients that have it so. Raises: ValueError."""
    if auth is None or not (auth.username or auth.auth or auth.identity_token or auth.registry_token):
        return None
    if auth.registry_token:
        raise ValueError("registry tokens are not supported")
    if auth.auth and not auth.username:
        try:
            username, colon, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"auth is not base64 of user:password: {error}") from error
        if not colon:
            raise ValueError("auth is not base64 of user:password")
        return RegistryAuth(username=username, password=password.rstrip("\0"))
    return RegistryAuth(username=auth.username, password=auth.password, identity_token=auth.identity_token)


def to_wire_usage(usage: FilesystemUsage, now: float) -> wire.FilesystemUsage:
    """At `now`."""
    return wire.FilesystemUsage(
        timestamp=nanoseconds(now),
        fs_id=wire.FilesystemIdentifier(mountpoint=usage.mountpoint),
        used_bytes=UInt64Value(value=usage.used_bytes),
        inodes_used=UInt64Value(value=usage.inodes_used),
    )
