"""Images on the node.

Examples:
  carob image ls
  carob image pull busybox:1.36
  carob image load web.tar                          # a docker-archive or OCI tar
  carob image build -t carob.local/app:v1 --cmd '["/app"]' ./rootfs
  carob image build --web -t carob.local/web:v1     # a small web server from this machine's busybox
  carob image rm busybox:1.36
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from carob.cli import clusters
from carob.cli.errors import CommandError
from carob.cli.printers.columns import Columns
from carob.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.cli.flags import Arguments, Flags


VERBS = {
    "ls": ("image:Ls", "What is on the node"),
    "pull": ("image:Pull", "Fetch from a registry"),
    "load": ("image:Load", "From a docker-archive or OCI tar"),
    "build": ("image:Build", "One layer made of a folder, and a configuration"),
    "rm": ("image:Remove", "Remove by name or id"),
}


def _node_flags(flags: Flags) -> None:
    flags.section = "Which node"
    clusters.add_name_flags(flags)
    flags.text("node", meta="NODE", help="which node (default: all nodes of this machine)")
    flags.duration("timeout", help="give up after this time (default: never)")


def _nodes(arguments: Arguments) -> dict[str, Node]:
    """Those that are meant and run, by name."""
    cluster = clusters.existing(arguments)
    names = [arguments.node] if arguments.node else [node.name for node in cluster.nodes]
    sockets = {name: cluster.node_run_dir(name) / "images.sock" for name in names}
    alive = {name: socket for name, socket in sockets.items() if socket.exists()} or sockets
    return {name: Node(str(socket), arguments.timeout or None) for name, socket in alive.items()}


def _node(arguments: Arguments) -> Nodes:
    return Nodes(list(_nodes(arguments).values()))


def _need(words: list[str], what: str) -> list[str]:
    if not words:
        raise CommandError(f"error: {what}")
    return words


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Node:
    """The image socket of one node."""

    def __init__(self, path: str, timeout_seconds: float | None) -> None:
        self._path = path
        self._timeout = timeout_seconds

    def ask(self, method: str, path: str, tree: Any = None) -> list[dict[str, Any]]:
        """The images that the request is about. Raises: CommandError with the node's words."""
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request(method, path, json.dumps(tree) if tree is not None else None)
            for answer in _lines(connection.getresponse()):
                if "error" in answer:
                    raise CommandError(f"error: {answer['error']}")
                if "images" in answer:
                    images: list[dict[str, Any]] = answer["images"]
                    return images
        except TimeoutError:
            raise CommandError("error: gave up: the time is over") from None
        except (FileNotFoundError, ConnectionError) as error:
            raise CommandError(f"error: the node does not answer ({error}); is the cluster up?") from error
        finally:
            connection.close()
        raise CommandError("error: the node closed the connection before it had answered")


class Nodes:
    """The same request to several nodes, one after the other."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes

    def ask(self, method: str, path: str, tree: Any = None) -> list[dict[str, Any]]:
        """The images that the first node's answer is about. Raises: CommandError with the words of the first that failed."""
        answers = [node.ask(method, path, tree) for node in self._nodes]
        return answers[0]


def _lines(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := response.readline():
        yield json.loads(line)


class Ls:
    """What is on the node."""

    @staticmethod
    def add_flags(flags: Flags) -> None:
        _node_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        nodes = _nodes(arguments)
        several = len(nodes) > 1
        rows = [[*(["NODE"] if several else []), "IMAGE", "ID", "SIZE"]]
        for node, images in nodes.items():
            for image in images.ask("GET", "/images"):
                for name in image.get("tags") or image.get("digests") or ["<none>"]:
                    size = human_size(image.get("size_bytes", 0))
                    row = [name, image["id"].removeprefix("sha256:")[:12], size]
                    rows.append([node, *row] if several else row)
        for line in Columns().lines(rows):
            print(line)
        return 0


class Pull:
    """Fetch images from a registry.

    Examples:
      carob image pull busybox:1.36
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "IMAGE... [flags]"
        flags.text("username", meta="NAME", help="for the registry")
        flags.switch("password-stdin", help="read the registry's password from stdin")
        _node_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        auth = None
        if arguments.username:
            password = sys.stdin.readline().rstrip("\n") if arguments.password_stdin else ""
            auth = {"username": arguments.username, "password": password}
        node = _node(arguments)
        for name in _need(arguments.words, "name the images to pull"):
            with Progress().step(f"pulling {name}"):
                node.ask("POST", "/images/pull", {"name": name, "auth": auth})
        return 0


class Load:
    """Take images from docker-archive or OCI tar files.

    Examples:
      carob image load web.tar
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "FILE... [flags]"
        _node_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        node = _node(arguments)
        for archive in _need(arguments.words, "name the files to load"):
            if not os.path.exists(archive):
                raise CommandError(f'error: the path "{archive}" does not exist')
            with Progress().step(f"loading {archive}"):
                images = node.ask("POST", "/images/load", {"archive": os.path.abspath(archive)})
            for image in images:
                print("\n".join(image.get("tags") or [image["id"]]))
        return 0


class Build:
    """Make an image of one layer from a folder and a configuration.

    Examples:
      carob image build -t carob.local/app:v1 --cmd '["/app"]' ./rootfs
      carob image build --web -t carob.local/web:v1     # a small web server from this machine's busybox
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "(FOLDER | --web) -t NAME [flags]"
        flags.text("tag", "t", meta="NAME", help="the image's name")
        flags.switch("web", help="instead of a folder: a web server from busybox")
        flags.text("cmd", meta="JSON", help='such as \'["/app", "-v"]\'')
        flags.text("entrypoint", meta="JSON", help="such as '[\"/entry\"]'")
        flags.texts("env", meta="NAME=VALUE", help="may be repeated")
        flags.text("workdir", meta="DIR", help="the working directory")
        flags.text("user", meta="USER[:GROUP]", help="who runs it")
        _node_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        if not arguments.tag:
            raise CommandError("error: name the image with -t")
        if len(arguments.words) + arguments.web != 1:
            raise CommandError("error: name either a FOLDER or --web")
        request: dict[str, Any] = {"tag": arguments.tag, "web": arguments.web}
        if arguments.words:
            root = arguments.words[0]
            if not os.path.isdir(root):
                raise CommandError(f'error: the folder "{root}" does not exist')
            request["root"] = os.path.abspath(root)
            request["config"] = _config(arguments)
        with Progress().step(f"building {arguments.tag}"):
            _node(arguments).ask("POST", "/images/build", request)
        return 0


class Remove:
    """Remove images by name or id.

    Examples:
      carob image rm busybox:1.36
    """

    @staticmethod
    def add_flags(flags: Flags) -> None:
        flags.usage = "IMAGE... [flags]"
        _node_flags(flags)

    @staticmethod
    def run(arguments: Arguments) -> int:
        node = _node(arguments)
        for name in _need(arguments.words, "name the images to remove"):
            node.ask("POST", "/images/remove", {"name": name})
        return 0


def _config(arguments: Arguments) -> dict[str, Any]:
    """The OCI configuration that the flags ask for."""
    config: dict[str, Any] = {}
    for flag, key in (("cmd", "Cmd"), ("entrypoint", "Entrypoint")):
        text = getattr(arguments, flag)
        if text:
            try:
                words = json.loads(text)
            except ValueError as error:
                raise CommandError(f"error: --{flag}: not a JSON list of words: {error}") from error
            if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
                raise CommandError(f"error: --{flag}: not a JSON list of words")
            config[key] = words
    if arguments.env:
        config["Env"] = arguments.env
    if arguments.workdir:
        config["WorkingDir"] = arguments.workdir
    if arguments.user:
        config["User"] = arguments.user
    return config


def human_size(count: int) -> str:
    """`1.4MB`, as image tools print sizes (powers of ten)."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g}{unit}" if unit != "B" else f"{count}B"
        size /= 1000
    raise AssertionError("unreachable")
