"""`Images`: every verb about images that the runtime offers, over one folder of the node.

Verbs of one image wait for each other; those of different images run side by side and share layers: of two pulls that
need the same layer one unpacks it and the other waits. What no image needs any more is swept when nothing is being
made.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from carob.base.log import get_logger, pairs
from carob.runtime.images import names, skopeo, unpack
from carob.runtime.images.pull import Puller
from carob.runtime.images.store import ImageRecord, ImageStore, Layer
from carob.runtime.types import FilesystemUsage, Image, NotFound, RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from carob.host.threads import Threads
    from carob.host.types import Host
    from carob.runtime.images.skopeo import Mirror
    from carob.runtime.types import RegistryAuth

T = TypeVar("T")

_log = get_logger("runtime.images")

_ENVIRONMENT = ("PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def tools_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of our environment that skopeo, tar and zstd get."""
    kept = {name: environment[name] for name in (*_ENVIRONMENT, *_CERTIFICATES) if name in environment}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", **kept}


class Images:
    """The image verbs of `Runtime`, and `ImageSource`.

    `used_by` names a container that uses an image, or is empty: such an image cannot be removed.
    """

    def __init__(
        self,
        host: Host,
        threads: Threads,
        folder: str,
        *,
        mirrors: Mapping[str, Sequence[Mirror]],
        environment: Mapping[str, str],
        used_by: Callable[[str], str],
    ) -> None:
        self._host = host
        self._threads = threads
        self._store = ImageStore(host, folder)
        self._environment = tools_environment(environment)
        self._puller = Puller(host, self._store, mirrors, self._environment)
        self._used_by = used_by
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._making = 0
        self._sweeping = asyncio.Lock()
        self._sweep_due = False
        self._syncing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find what is there and clear away what an earlier run left; call once, first."""
        await self._threads.run(self._store.open)
        for image_id in self._store.unsynced():
            self._begin_sync(image_id)

    async def close(self) -> None:
        """Wait until the disk has what was added."""
        while self._syncing:
            await asyncio.wait(self._syncing)

    # -- looking ----------------------------------------------------------------------------------------------------

    async def image_status(self, name: str) -> Image | None:
        """By id, digest or any form of the name. Raises: RuntimeFailure (InvalidImageName)."""
        record = self._store.find(name)
        return None if record is None else self._image(record)

    async def list_images(self) -> list[Image]:
        """All images of the node."""
        return sorted(map(self._image, self._store.images()), key=lambda image: (image.tags, image.id))

    async def image_filesystem(self) -> FilesystemUsage:
        """What images take, and what is left where they lie."""
        used, inodes = await self._threads.run(self._store.usage)
        there = os.statvfs(self._store.folder)
        return FilesystemUsage(
            mountpoint=self._store.folder,
            used_bytes=used,
            capacity_bytes=there.f_blocks * there.f_frsize,
            available_bytes=there.f_bavail * there.f_frsize,
            inodes_used=inodes,
            inodes=there.f_files,
        )

    def layer_folders(self, image_id: str) -> list[str]:
        """Folders of the unpacked layers, topmost first, as overlayfs wants them. Raises: NotFound."""
        record = self._store.find(image_id)
        if record is None:
            raise NotFound(f"no such image: {image_id}")
        # a layer that comes twice is mounted once: overlayfs refuses a folder in two places
        return list(dict.fromkeys(self._store.layer(layer.diff_id) for layer in reversed(record.layers)))

    async def layers(self, image_id: str) -> AsyncIterator[str]:
        """The same, one by one."""
        for folder in self.layer_folders(image_id):
            yield folder

    def _image(self, record: ImageRecord) -> Image:
        tags, digests = self._store.names_of(record.id)
        user = str(record.config.get("User") or "").partition(":")[0]
        return Image(
            id=record.id,
            tags=tags,
            digests=digests,
            size_bytes=record.size_bytes,
            uid=int(user) if user.isdigit() else None,
            username="" if user.isdigit() else user,
            config=record.config,
        )

    # -- making -----------------------------------------------------------------------------------------------------

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        """Bring the image to the node; quick where it is there and unchanged.

        Raises: RuntimeFailure (ErrImagePull, InvalidImageName); what was fetched by then is gone again.
        """
        tell = progress or (lambda _: None)
        wanted = names.parse(name)
        async with self._lock(f"name {wanted.key}"), self._keeping():
            source, digest = await self._puller.resolve(wanted, auth)
            pinned = f"{wanted.repository}@{digest}"
            full_names = [pinned, wanted.tagged] if wanted.tagged else [pinned]
            record = self._store.find(pinned)
            if record is None:
                try:
                    record = await self._puller.fetch(wanted, source, digest, auth, tell)
                    await self._unpack_all(record, tell)
                except RuntimeFailure as error:
                    raise error if error.reason else skopeo.pull_failure(wanted, str(error)) from error
                except OSError as error:
                    raise skopeo.pull_failure(wanted, str(error)) from error
                self._add(record, full_names)
            else:
                self._store.name(record.id, full_names)
            return self._image(record)

    async def load(self, archive: str) -> list[Image]:
        """From a docker-archive or OCI tar, packed or not; all of its images or none.

        Raises: RuntimeFailure.
        """
        from carob.runtime.images import load

        async with self._keeping():
            try:
                loaded = await self._threads.run(lambda: load.load(self._host, self._store, archive, self._environment))
                for record, _ in loaded:
                    await self._unpack_all(record, lambda _: None)
                for record, full_names in loaded:
                    self._add(record, full_names)
            except RuntimeFailure as error:
                raise RuntimeFailure(f"cannot load {archive}: {error}", error.reason) from error
            except OSError as error:
                raise RuntimeFailure(f"cannot load {archive}: {error.strerror or error}") from error
            return [self._image(record) for record, _ in loaded]

    async def build(self, root: str, tag: str, config: Mapping[str, Any]) -> Image:
        """One layer made of the folder `root`, owned by root, with the OCI config given. The same folder and config
        make the same image.

        Raises: RuntimeFailure.
        """
        from carob.runtime.images import build

        wanted = names.parse(tag)
        if not wanted.tag:
            raise RuntimeFailure(f"{tag} is no name with a tag")
        async with self._keeping():
            try:
                record = await self._finish(lambda _: build.build(self._store, root, config))
                await self._unpack_all(record, lambda _: None)
            except OSError as error:
                raise RuntimeFailure(f"cannot build {tag}: {error}") from error
            self._add(record, [wanted.tagged])
            return self._image(record)

    def _add(self, record: ImageRecord, full_names: list[str]) -> None:
        self._store.add(record, full_names)
        self._begin_sync(record.id)

    def _begin_sync(self, image_id: str) -> None:
        # an image can be used before the disk has it; the store knows what that means for a power cut
        task = asyncio.get_running_loop().create_task(self._sync(image_id), name="sync images")
        self._syncing.add(task)
        task.add_done_callback(self._syncing.discard)

    async def _sync(self, image_id: str) -> None:
        try:
            await self._threads.run(self._store.sync)
            self._store.synced(image_id)
        except OSError as error:
            _log.warning("image may not be on the disk: %s", pairs(image=image_id, error=error))

    async def _unpack_all(self, record: ImageRecord, tell: Callable[[str], None]) -> None:
        for layer in record.layers:
            async with self._lock(f"layer {layer.diff_id}"):
                if not self._store.has_layer(layer.diff_id):
                    tell(f"Unpacking layer {layer.diff_id}")
                    await self._finish(partial(self._unpack, layer))

    def _unpack(self, layer: Layer, stop: Callable[[], bool]) -> None:
        with self._store.staging() as home:
            blob = self._store.blob(layer.blob)
            measured = unpack.unpack(self._host, blob, home, layer.diff_id, self._environment, stop)
            self._store.add_layer(layer.diff_id, home, measured)
            # the folder itself has become the layer
            self._host.mkdir(home)

    async def _finish(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """Run in a thread. Being cancelled asks the work to give up and waits until it has: nobody else may touch its
        files before."""
        stop = threading.Event()
        task = asyncio.get_running_loop().create_task(self._threads.run(lambda: work(stop.is_set)))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.set()
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise

    # -- removing ---------------------------------------------------------------------------------------------------

    async def remove_image(self, name: str) -> None:
        """Forget the image with all its names, and free what only it needed; succeeds when there is none.

        Raises: RuntimeFailure while a container uses it.
        """
        record = self._store.find(name)
        if record is None:
            return
        user = self._used_by(record.id)
        if user:
            raise RuntimeFailure(f"image {name} is in use by container {user}")
        self._store.remove(record.id)
        self._sweep_due = True
        await self._sweep()

    @asynccontextmanager
    async def _keeping(self) -> AsyncIterator[None]:
        """Nothing is swept while something is being made; what a failure left is swept after it."""
        async with self._sweeping:
            self._making += 1
        try:
            yield
        except BaseException:
            self._sweep_due = True
            raise
        finally:
            self._making -= 1
            await self._sweep()

    async def _sweep(self) -> None:
        if self._may_sweep():
            async with self._sweeping:
                if self._may_sweep():
                    self._sweep_due = False
                    await self._threads.run(self._store.sweep)

    def _may_sweep(self) -> bool:
        return self._sweep_due and not self._making

    @asynccontextmanager
    async def _lock(self, name: str) -> AsyncIterator[None]:
        """A lock by name, forgotten when nobody holds it or waits for it."""
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = (lock, users - 1)
