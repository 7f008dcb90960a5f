"""The CRI's ImageService over a runtime: a method an rpc."""

from __future__ import annotations

from carob.base.clock import Clock
from carob.runtime.cri import image_messages as wire
from carob.runtime.cri import images
from carob.runtime.cri.sandbox_messages import Empty
from carob.runtime.types import Runtime


class ImageService:
    """The node's images."""

    def __init__(self, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def list_images(self, request: wire.ListImagesRequest) -> wire.Images:
        every = await self._runtime.list_images()
        wanted = request.filter.image if request.filter is not None else None
        if wanted is not None and wanted.image:
            found = await self._runtime.image_status(wanted.image)
            every = [one for one in every if found is not None and one.id == found.id]
        return wire.Images(images=[images.to_wire(one) for one in every])

    async def image_status(self, request: wire.ImageStatusRequest) -> wire.ImageStatusResponse:
        """An image that is not there is no error: the answer is empty."""
        found = await self._runtime.image_status(_name(request.image))
        if found is None:
            return wire.ImageStatusResponse()
        return wire.ImageStatusResponse(image=images.to_wire(found), info=images.info(found) if request.verbose else {})

    async def pull_image(self, request: wire.PullImageRequest) -> wire.PullImageResponse:
        pulled = await self._runtime.pull_image(_name(request.image), images.from_wire_auth(request.auth))
        return wire.PullImageResponse(image_ref=pulled.id)

    async def remove_image(self, request: wire.RemoveImageRequest) -> Empty:
        """By any of its names it is gone whole, as the CRI wants it."""
        found = await self._runtime.image_status(_name(request.image))
        if found is not None:
            await self._runtime.remove_image(found.id)
        return Empty()

    async def image_filesystem(self, request: Empty) -> wire.ImageFsInfoResponse:
        usage = images.to_wire_usage(await self._runtime.image_filesystem(), self._clock.now())
        return wire.ImageFsInfoResponse(image_filesystems=[usage], container_filesystems=[usage])


def _name(spec: wire.ImageSpec | None) -> str:
    if spec is None or not spec.image:
        raise ValueError("an image must be named")
    return spec.image
