"""Pulling an image: ask what the name means now, fetch what is missing, and nothing when nothing is.

skopeo speaks to the registry; blobs land by rename in the folder that all images share, and skopeo does not fetch what
lies there. What is fetched is named by digest, so a tag that moves between two steps does no harm.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from carob.base.log import get_logger, pairs
from carob.runtime.images import child, manifests, skopeo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from carob.host.types import Host
    from carob.runtime.images.names import ImageName
    from carob.runtime.images.skopeo import Mirror, Source
    from carob.runtime.images.store import ImageRecord, ImageStore
    from carob.runtime.types import RegistryAuth

# A registry that does not answer in this time is taken for gone.
RESOLVE_TIMEOUT = "30s"

_log = get_logger("runtime.images")


class Puller:
    """Fetches images into a store's blobs; it changes no record."""

    def __init__(
        self, host: Host, store: ImageStore, mirrors: Mapping[str, Sequence[Mirror]], environment: Mapping[str, str]
    ) -> None:
        self._host = host
        self._store = store
        self._mirrors = mirrors
        self._environment = environment

    async def resolve(self, name: ImageName, auth: RegistryAuth | None) -> tuple[Source, str]:
        """Which source has the image, and the digest of its manifest (or of the index of its platforms).

        Raises: RuntimeFailure with the words of the registry itself, when no mirror has it either.
        """
        *mirrors, own = skopeo.sources(name, self._mirrors)
        for mirror in mirrors:
            ended = await self._inspect(name, mirror, auth)
            if ended.code == 0:
                return mirror, self._digest(name, ended.output)
            _log.info("mirror failed: %s", pairs(image=name, mirror=mirror.repository, error=ended.errors.strip()))
        ended = await self._inspect(name, own, auth)
        if ended.code == 0:
            return own, self._digest(name, ended.output)
        raise skopeo.failure(name, ended.errors)

    async def _inspect(self, name: ImageName, source: Source, auth: RegistryAuth | None) -> child.Ended:
        reference = f"@{name.digest}" if name.digest else f":{name.tag}"
        with self._store.staging() as place:
            arguments = skopeo.inspect(source, reference, self._credentials(place, name, auth))
            return await self._run(name, ["--command-timeout", RESOLVE_TIMEOUT, *arguments])

    def _digest(self, name: ImageName, manifest: bytes) -> str:
        digest = manifests.digest_of(manifest)
        if name.digest and digest != name.digest:
            raise skopeo.unresolved(name, f"the registry answered with {digest}")
        return digest

    async def fetch(
        self, name: ImageName, source: Source, digest: str, auth: RegistryAuth | None, progress: Callable[[str], None]
    ) -> ImageRecord:
        """Bring every blob of the image into the store and describe it. Raises: RuntimeFailure."""
        with self._store.staging() as place:
            layout = f"{place}/layout"
            credentials = self._credentials(place, name, auth)
            arguments = skopeo.copy(source, digest, credentials, layout, self._store.blobs)
            ended = await self._run(name, ["--tmpdir", place, *arguments], progress)
            if ended.code != 0:
                raise skopeo.failure(name, ended.errors)
            (chosen,) = self._index(f"{layout}/index.json").manifests
            manifest = self._bytes(chosen.digest)
            config, layers = manifests.parts(manifest)
            return manifests.describe(
                self._bytes(config.digest),
                [layer.digest for layer in layers],
                sum(layer.size for layer in layers) + len(manifest),
                [chosen.digest],
            )

    def _index(self, path: str) -> manifests.Index:
        with open(path, "rb") as file:
            found = manifests.index(file.read())
        assert found is not None
        return found

    def _bytes(self, digest: str) -> bytes:
        with open(self._store.blob(digest), "rb") as file:
            return file.read()

    def _credentials(self, place: str, name: ImageName, auth: RegistryAuth | None) -> str:
        """A file that is gone with the staging folder: secrets never stand on a command line."""
        if auth is None:
            return ""
        path = f"{place}/auth.json"
        self._host.write_atomic(path, skopeo.auth_file(name, auth))
        return path

    async def _run(
        self, name: ImageName, arguments: Sequence[str], progress: Callable[[str], None] | None = None
    ) -> child.Ended:
        tool = shutil.which("skopeo", path=self._environment.get("PATH", os.defpath))
        if tool is None:
            raise skopeo.pull_failure(name, "skopeo is not installed; without it no image can be pulled")
        return await child.run(self._host, [tool, *arguments], self._environment, progress)
