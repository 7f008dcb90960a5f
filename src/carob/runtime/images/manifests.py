"""What a manifest and a config say of an image. Pure: JSON bytes in, a description out.

Source: OCI image-spec (manifest.md, config.md, image-index.md) and Docker's image manifest v2 schema 2, which differ in
media types only as far as running an image goes.
"""

from __future__ import annotations

import hashlib
import platform
from typing import Any

import msgspec
from msgspec import Struct

from carob.runtime.images.store import ImageRecord, Layer
from carob.runtime.types import RuntimeFailure

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class Descriptor(Struct, rename="camel"):
    """A blob as manifests name it."""

    digest: str
    size: int = 0
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: dict[str, Any] | None = None


class _Manifest(Struct, rename="camel"):
    config: Descriptor
    layers: list[Descriptor]


class Index(Struct, rename="camel"):
    """A list of manifests: of one image for several platforms, or of an archive's images."""

    manifests: list[Descriptor]


class _RootFilesystem(Struct):
    diff_ids: list[str]


class _Config(Struct):
    rootfs: _RootFilesystem
    config: dict[str, Any] | None = None


def digest_of(data: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def architecture() -> str:
    """This machine's architecture in Go's words."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def index(data: bytes) -> Index | None:
    """The index, if these bytes are one."""
    try:
        kind = msgspec.json.decode(data, type=dict[str, Any])
        if kind.get("mediaType") in _INDEXES or ("manifests" in kind and "config" not in kind):
            return msgspec.convert(kind, Index)
    except msgspec.MsgspecError as error:
        raise RuntimeFailure(f"the manifest is no JSON of a manifest: {error}") from error
    return None


def for_platform(choices: Index, wanted: str) -> Descriptor:
    """The manifest for Linux on an architecture; one that says nothing of platforms suits all.

    Raises: RuntimeFailure.
    """
    for manifest in choices.manifests:
        runs_on = manifest.platform
        if runs_on is None or (runs_on.get("os"), runs_on.get("architecture")) == ("linux", wanted):
            return manifest
    raise RuntimeFailure(f"no match for platform in manifest: linux/{wanted}")


def parts(manifest: bytes) -> tuple[Descriptor, list[Descriptor]]:
    """The config and the layers, bottom first. Raises: RuntimeFailure for what is no image."""
    try:
        parsed = msgspec.json.decode(manifest, type=_Manifest)
    except msgspec.MsgspecError as error:
        raise RuntimeFailure(f"the manifest is no manifest of an image: {error}") from error
    return parsed.config, parsed.layers


def describe(config: bytes, layers: list[str], sizes: int, others: list[str]) -> ImageRecord:
    """The record of an image.

    Shape: `layers` are the digests of its packed layers, bottom first; `sizes` their bytes together; `others` what else
    it keeps (its manifest). Raises: RuntimeFailure.
    """
    try:
        parsed = msgspec.json.decode(config, type=_Config)
    except msgspec.MsgspecError as error:
        raise RuntimeFailure(f"the config is no config of an image: {error}") from error
    diff_ids = parsed.rootfs.diff_ids
    if len(diff_ids) != len(layers):
        raise RuntimeFailure(f"the image has {len(layers)} layers, but its config names {len(diff_ids)}")
    for diff_id in diff_ids:
        algorithm, _, value = diff_id.partition(":")
        if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise RuntimeFailure(f"the config names a layer that is no sha256 digest: {diff_id[:100]}")
    own = digest_of(config)
    return ImageRecord(
        id=own,
        layers=[Layer(*pair) for pair in zip(layers, diff_ids, strict=True)],
        blobs=list(dict.fromkeys([own, *layers, *others])),
        size_bytes=sizes + len(config),
        config=parsed.config or {},
    )
