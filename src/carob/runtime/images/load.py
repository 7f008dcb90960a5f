"""Images out of an archive: what `docker save`, `podman save` or `skopeo copy` to a file wrote. Blocking.

Two forms, both tar, both possibly packed, and some archives are both at once: a docker-archive has `manifest.json`
(which names its images, so it is preferred), an OCI archive has `index.json`. Blobs are copied into the store by digest;
each is checked against the digest that the archive claims for it, layers again when they are unpacked.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from typing import IO, TYPE_CHECKING

import msgspec
from msgspec import Struct

from carob.runtime.images import manifests, names, unpack
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.host.types import Host
    from carob.runtime.images.manifests import Descriptor
    from carob.runtime.images.store import ImageRecord, ImageStore

COPY_BYTES = 1 << 20
MAX_JSON_BYTES = 8 << 20
MAX_NESTED_INDEXES = 3

# What containerd and docker write the whole name to, and what OCI tools write a tag or a whole name to.
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _DockerImage(Struct):
    """An entry of a docker-archive's `manifest.json`; the paths are inside of the archive."""

    config: str = msgspec.field(name="Config")
    layers: list[str] = msgspec.field(name="Layers")
    repo_tags: list[str] | None = msgspec.field(name="RepoTags", default=None)


def load(
    host: Host, store: ImageStore, path: str, environment: Mapping[str, str]
) -> list[tuple[ImageRecord, list[str]]]:
    """Copy the blobs of every image into the store; the records, and the names that the archive gives them.

    Raises: RuntimeFailure for a damaged archive or one that holds no images; OSError. Blobs that were copied by then
    are named by no record, so the next sweep takes them.
    """
    with store.staging() as place, _unpacked(host, path, place, environment) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                archive = _Archive(tar, store, place)
                if archive.has("manifest.json"):
                    return archive.docker_images()
                if archive.has("index.json"):
                    return archive.oci_images()
        except tarfile.TarError as error:
            raise RuntimeFailure(f"the archive is damaged: {error}") from error
    raise RuntimeFailure("it is neither a docker-archive (manifest.json) nor an OCI archive (index.json)")


def _unpacked(host: Host, path: str, place: str, environment: Mapping[str, str]) -> IO[bytes]:
    """The archive as a file that can be read in any order."""
    packed = open(path, "rb")  # noqa: SIM115 - handed out to be closed by the caller
    magic = packed.read(4)
    packed.seek(0)
    if not magic.startswith(unpack.GZIP_MAGIC) and magic != unpack.ZSTD_MAGIC:
        return packed
    with packed, open(f"{place}/archive", "xb") as plain:
        for piece in unpack.plain(host, packed, environment):
            plain.write(piece)
    return open(f"{place}/archive", "rb")


class _Archive:
    """One open tar: members by their cleaned names, and copies of them into the store."""

    def __init__(self, tar: tarfile.TarFile, store: ImageStore, place: str) -> None:
        self._tar = tar
        self._store = store
        self._place = place
        self._members = {posixpath.normpath(member.name).lstrip("/"): member for member in tar}
        self._copied: dict[str, tuple[str, int]] = {}

    def has(self, name: str) -> bool:
        return name in self._members

    def _open(self, name: str) -> tuple[IO[bytes], int]:
        member = self._members.get(posixpath.normpath(name))
        if member is not None and member.issym():
            # old docker-archives write a layer that comes again as a link to the first
            member = self._members.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
        file = self._tar.extractfile(member) if member is not None and (member.isfile() or member.islnk()) else None
        if file is None or member is None:
            raise RuntimeFailure(f"the archive is damaged: {name} is missing")
        return file, member.size

    def _json(self, name: str, digest: str = "") -> bytes:
        file, size = self._open(name)
        if size > MAX_JSON_BYTES:
            raise RuntimeFailure(f"the archive is damaged: {name} has {size} bytes")
        data = file.read()
        if digest and manifests.digest_of(data) != digest:
            raise RuntimeFailure(f"the archive is damaged: {name} has digest {manifests.digest_of(data)}")
        return data

    def _keep(self, data: bytes) -> str:
        """Put a small blob into the store."""
        digest = manifests.digest_of(data)
        scratch = f"{self._place}/blob"
        with open(scratch, "wb") as blob:
            blob.write(data)
        os.rename(scratch, self._store.blob(digest))
        return digest

    def _copy(self, name: str) -> tuple[str, int]:
        """Put a member into the store: its digest and size."""
        if name in self._copied:
            return self._copied[name]
        file, size = self._open(name)
        digest = hashlib.sha256()
        scratch = f"{self._place}/blob"
        with open(scratch, "wb") as blob:
            copied = 0
            while piece := file.read(COPY_BYTES):
                digest.update(piece)
                copied += blob.write(piece)
        if copied != size:
            raise RuntimeFailure(f"the archive is damaged: {name} ends after {copied} of {size} bytes")
        found = f"sha256:{digest.hexdigest()}"
        os.rename(scratch, self._store.blob(found))
        self._copied[name] = (found, size)
        return self._copied[name]

    # -- docker-archive ---------------------------------------------------------------------------------------------

    def docker_images(self) -> list[tuple[ImageRecord, list[str]]]:
        """Every image of `manifest.json`."""
        try:
            entries = msgspec.json.decode(self._json("manifest.json"), type=list[_DockerImage])
        except msgspec.MsgspecError as error:
            raise RuntimeFailure(f"the archive is damaged: manifest.json: {error}") from error
        if not entries:
            raise RuntimeFailure("the archive holds no image")
        return [(self._docker_image(entry), _full_names(entry.repo_tags or [])) for entry in entries]

    def _docker_image(self, entry: _DockerImage) -> ImageRecord:
        config = self._json(entry.config)
        layers = [self._copy(layer) for layer in entry.layers]
        self._keep(config)
        return manifests.describe(config, [digest for digest, _ in layers], sum(size for _, size in layers), [])

    # -- OCI --------------------------------------------------------------------------------------------------------

    def oci_images(self) -> list[tuple[ImageRecord, list[str]]]:
        """Every image of `index.json`, each for this machine's platform where it has several."""
        index = manifests.index(self._json("index.json"))
        if index is None or not index.manifests:
            raise RuntimeFailure("the archive holds no image")
        return [(self._oci_image(descriptor), _annotated_names(descriptor)) for descriptor in index.manifests]

    def _oci_image(self, descriptor: Descriptor) -> ImageRecord:
        digest, kept = descriptor.digest, list[str]()
        for _ in range(MAX_NESTED_INDEXES):
            data = self._json(_path(digest), digest)
            choices = manifests.index(data)
            kept.append(self._keep(data))
            if choices is None:
                break
            digest = manifests.for_platform(choices, manifests.architecture()).digest
        else:
            raise RuntimeFailure("the archive's indexes are nested too deeply")
        config, layers = manifests.parts(data)
        config_data = self._json(_path(config.digest), config.digest)
        self._keep(config_data)
        copied = [self._copy(_path(layer.digest)) for layer in layers]
        for layer, (found, _) in zip(layers, copied, strict=True):
            if layer.digest != found:
                raise RuntimeFailure(f"the archive is damaged: the layer {layer.digest} has digest {found}")
        sizes = sum(size for _, size in copied) + len(data)
        return manifests.describe(config_data, [found for found, _ in copied], sizes, kept)


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _full_names(tags: list[str]) -> list[str]:
    return [name.tagged for name in map(names.parse, tags) if name.tagged]


def _annotated_names(descriptor: Descriptor) -> list[str]:
    """The first annotation that is a name; a bare tag (`latest`) is none."""
    for key in _NAME_ANNOTATIONS:
        text = (descriptor.annotations or {}).get(key, "")
        if "/" in text or ":" in text:
            return _full_names([text])
    return []
