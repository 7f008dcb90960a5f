"""What the embedded runtime asks of the node's images: a constructor argument, so that the store is a room of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from carob.runtime.types import FilesystemUsage, Image, RegistryAuth


class ImageStore(Protocol):
    """Images that are unpacked on this node, and how more of them come."""

    async def image_status(self, name: str) -> Image | None:
        """By id, digest or any form of the name."""
        ...

    def layers(self, image_id: str) -> AsyncIterator[str]:
        """Folders of the unpacked layers, topmost first; they stay while a container uses them."""
        ...

    async def list_images(self) -> list[Image]: ...

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image: ...

    async def remove_image(self, name: str) -> None: ...

    async def image_filesystem(self) -> FilesystemUsage: ...
