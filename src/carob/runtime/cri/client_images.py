"""Images of somebody else's runtime, by the CRI's ImageService."""

from __future__ import annotations

import os

from carob.runtime.cri import image_messages as wire
from carob.runtime.cri import images
from carob.runtime.cri.channel import Channel
from carob.runtime.cri.sandbox_messages import Empty
from carob.runtime.types import FilesystemUsage, Image, NotFound, RegistryAuth, RuntimeFailure


class ImageClient:
    """The node's images."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def status(self, name: str) -> Image | None:
        """None where it is not there; a name that cannot be one is not there either."""
        request = wire.ImageStatusRequest(image=wire.ImageSpec(image=name), verbose=True)
        answer = await self._channel.image("ImageStatus", request, wire.ImageStatusResponse)
        return None if answer.image is None else images.from_wire(answer.image, answer.info)

    async def every(self) -> list[Image]:
        """All of them."""
        answer = await self._channel.image("ListImages", wire.ListImagesRequest(), wire.Images)
        return [images.from_wire(image, {}) for image in answer.images]

    async def pull(self, name: str, auth: RegistryAuth | None) -> Image:
        """Raises: RuntimeFailure (ErrImagePull)."""
        request = wire.PullImageRequest(image=wire.ImageSpec(image=name), auth=images.to_wire_auth(auth))
        try:
            answer = await self._channel.image("PullImage", request, wire.PullImageResponse, None)
        except NotFound as error:
            raise RuntimeFailure(str(error), "ErrImagePull") from error
        except RuntimeFailure as error:
            raise RuntimeFailure(str(error), error.reason or "ErrImagePull") from error
        pulled = await self.status(answer.image_ref)
        if pulled is None:
            raise RuntimeFailure(f'image "{name}" was pulled and is gone', "ErrImagePull")
        return pulled

    async def remove(self, name: str) -> None:
        """Idempotent."""
        await self._channel.image("RemoveImage", wire.RemoveImageRequest(image=wire.ImageSpec(image=name)), Empty)

    async def filesystem(self) -> FilesystemUsage:
        """How large the disk is the CRI does not tell: it is this machine's, so we look."""
        answer = await self._channel.image("ImageFsInfo", Empty(), wire.ImageFsInfoResponse)
        used = inodes = 0
        mountpoint = "/"
        for one in answer.image_filesystems[:1]:
            used = one.used_bytes.value if one.used_bytes is not None else 0
            inodes = one.inodes_used.value if one.inodes_used is not None else 0
            mountpoint = (one.fs_id.mountpoint if one.fs_id is not None else "") or "/"
        try:
            there = os.statvfs(mountpoint)
        except OSError:
            there = os.statvfs("/")
        return FilesystemUsage(
            mountpoint=mountpoint,
            used_bytes=used,
            capacity_bytes=there.f_blocks * there.f_frsize,
            available_bytes=there.f_bavail * there.f_frsize,
            inodes_used=inodes,
            inodes=there.f_files,
        )
