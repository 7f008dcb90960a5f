"""`carob image` on a node whose runtime is somebody else's: what the CRI can, and words for what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from carob.runtime.types import Image, RegistryAuth, Runtime, RuntimeFailure

ELSEWHERE = (
    "the node's container runtime cannot take images from files by the CRI; use its own tool, such as"
    " `ctr --namespace k8s.io images import FILE`"
)


class RuntimeImages:
    """The images of a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def start(self) -> None:
        """Nothing to take over."""

    async def list_images(self) -> list[Image]:
        return await self._runtime.list_images()

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image:
        return await self._runtime.pull_image(name, auth, progress)

    async def remove_image(self, name: str) -> None:
        await self._runtime.remove_image(name)

    async def load(self, archive: str) -> list[Image]:
        """Raises: RuntimeFailure: the CRI knows registries only."""
        raise RuntimeFailure(ELSEWHERE)

    async def build(self, root: str, tag: str, config: Mapping[str, Any]) -> Image:
        """Raises: RuntimeFailure."""
        raise RuntimeFailure(ELSEWHERE)
