"""The node's images over a unix socket that only root may open: what `carob image` speaks to.

Requests are HTTP with a JSON body; an answer is lines of JSON: any number of `{"progress": text}`, then one
`{"images": [...]}` or `{"error": text}`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import orjson

from carob.base.log import get_logger
from carob.runtime.images.images import tools_environment
from carob.runtime.types import RegistryAuth, RuntimeFailure
from carob.transport.http import Response
from carob.transport.server import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from carob.base.clock import Clock
    from carob.host.types import Host
    from carob.runtime.types import Image
    from carob.transport.http import Request, Sink

_log = get_logger("images")


class NodeImages(Protocol):
    """A node's images: carob's own store, or those of another runtime."""

    async def start(self) -> None: ...

    async def list_images(self) -> list[Image]: ...

    async def pull_image(
        self, name: str, auth: RegistryAuth | None = None, progress: Callable[[str], None] | None = None
    ) -> Image: ...

    async def load(self, archive: str) -> list[Image]: ...

    async def build(self, root: str, tag: str, config: Mapping[str, Any]) -> Image: ...

    async def remove_image(self, name: str) -> None: ...


class ImageServer:
    """Serves one image store on one socket."""

    def __init__(self, host: Host, images: NodeImages, socket: Path, clock: Clock) -> None:
        self._host = host
        self._images = images
        self._socket = socket
        self._server = Server(self._handle, clock)
        self._verbs: dict[tuple[str, str], Callable[[Any, Callable[[str], None]], Awaitable[list[Image]]]] = {
            ("GET", "/images"): self._list,
            ("POST", "/images/pull"): self._pull,
            ("POST", "/images/load"): self._load,
            ("POST", "/images/build"): self._build,
            ("POST", "/images/remove"): self._remove,
        }

    async def listen(self) -> None:
        """Open the socket, replacing one that a killed agent left."""
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._socket.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            await self._server.listen_unix(str(self._socket))
        finally:
            os.umask(previous)

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close()
        self._socket.unlink(missing_ok=True)

    def _handle(self, request: Request) -> Response:
        verb = self._verbs.get((request.method, request.path))
        if verb is None:
            return Response(404, b'{"error":"no such request"}\n')
        tree = orjson.loads(request.body) if request.body else {}

        def stream(sink: Sink) -> None:
            self._server.spawn(self._answer(verb, tree, sink))

        return Response(200, stream=stream, content_type="application/x-ndjson")

    @staticmethod
    async def _answer(
        verb: Callable[[Any, Callable[[str], None]], Awaitable[list[Image]]], tree: Any, sink: Sink
    ) -> None:
        def say(text: str) -> None:
            sink.write(orjson.dumps({"progress": text}) + b"\n")

        try:
            images = await verb(tree, say)
            sink.write(msgspec.json.encode({"images": images}) + b"\n")
        except (RuntimeFailure, OSError, TimeoutError) as error:
            sink.write(orjson.dumps({"error": str(error) or type(error).__name__}) + b"\n")
        except Exception:  # noqa: BLE001 - whatever it was, the asker gets an answer
            _log.exception("an image request failed")
            sink.write(b'{"error":"the node failed; see its log"}\n')
        finally:
            sink.close()

    async def _list(self, tree: Any, say: Callable[[str], None]) -> list[Image]:
        return await self._images.list_images()

    async def _pull(self, tree: Any, say: Callable[[str], None]) -> list[Image]:
        auth = RegistryAuth(**tree["auth"]) if tree.get("auth") else None
        return [await self._images.pull_image(tree["name"], auth, say)]

    async def _load(self, tree: Any, say: Callable[[str], None]) -> list[Image]:
        return list(await self._images.load(tree["archive"]))

    async def _build(self, tree: Any, say: Callable[[str], None]) -> list[Image]:
        if tree.get("web"):
            return [await self._build_web(tree["tag"])]
        return [await self._images.build(tree["root"], tree["tag"], tree.get("config") or {})]

    async def _build_web(self, tag: str) -> Image:
        import tempfile

        from carob.runtime.images import demo

        with tempfile.TemporaryDirectory(prefix="carob-web-") as folder:
            await demo.make_root(self._host, folder, tools_environment(os.environ))
            return await self._images.build(folder, tag, demo.CONFIG)

    async def _remove(self, tree: Any, say: Callable[[str], None]) -> list[Image]:
        await self._images.remove_image(tree["name"])
        return []
