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

import argparse
import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from carob.cli import clusters
from carob.cli.durations import parse_duration
from carob.cli.errors import CommandError
from carob.cli.printers.columns import Columns
from carob.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of `carob image`."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, help_text in (
        ("ls", "what is on the node"),
        ("pull", "fetch from a registry"),
        ("load", "from a docker-archive or OCI tar"),
        ("build", "one layer made of a folder, and a configuration"),
        ("rm", "remove by name or id"),
    ):
        sub = verbs.add_parser(verb, help=help_text)
        clusters.add_name_argument(sub)
        sub.add_argument("--node", default="node-0", metavar="NODE", help="which node (default: %(default)s)")
        sub.add_argument("--timeout", default="0s", metavar="T", help="give up after this time (0: never)")
        _ARGUMENTS[verb](sub)


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("--username", default="", help="for the registry")
    parser.add_argument("--password-stdin", action="store_true", help="read the registry's password from stdin")


def _load_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archives", nargs="+", metavar="FILE")


def _build_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", nargs="?", metavar="FOLDER", help="what the image's file system holds")
    parser.add_argument("-t", "--tag", required=True, metavar="NAME", help="the image's name")
    parser.add_argument("--web", action="store_true", help="instead of a folder: a web server from busybox")
    parser.add_argument("--cmd", default="", metavar="JSON", help='such as \'["/app", "-v"]\'')
    parser.add_argument("--entrypoint", default="", metavar="JSON", help="such as '[\"/entry\"]'")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--workdir", default="", metavar="DIR", help="the working directory")
    parser.add_argument("--user", default="", metavar="USER[:GROUP]", help="who runs it")


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")


_ARGUMENTS = {
    "ls": lambda parser: None,
    "pull": _pull_arguments,
    "load": _load_arguments,
    "build": _build_arguments,
    "rm": _remove_arguments,
}


def run(arguments: argparse.Namespace) -> int:
    """Ask the node."""
    cluster = clusters.existing(arguments)
    try:
        timeout = parse_duration(arguments.timeout)
    except ValueError as error:
        raise CommandError(f"error: --timeout: {error}") from error
    node = Node(str(cluster.node_run_dir(arguments.node) / "images.sock"), timeout or None)
    return _RUN[arguments.verb](node, arguments)


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


def _lines(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := response.readline():
        yield json.loads(line)


def _ls(node: Node, arguments: argparse.Namespace) -> int:
    rows = [["IMAGE", "ID", "SIZE"]]
    for image in node.ask("GET", "/images"):
        for name in image.get("tags") or image.get("digests") or ["<none>"]:
            rows.append([name, image["id"].removeprefix("sha256:")[:12], human_size(image.get("size_bytes", 0))])
    for line in Columns().lines(rows):
        print(line)
    return 0


def _pull(node: Node, arguments: argparse.Namespace) -> int:
    auth = None
    if arguments.username:
        import sys

        password = sys.stdin.readline().rstrip("\n") if arguments.password_stdin else ""
        auth = {"username": arguments.username, "password": password}
    for name in arguments.images:
        with Progress().step(f"pulling {name}"):
            node.ask("POST", "/images/pull", {"name": name, "auth": auth})
    return 0


def _load(node: Node, arguments: argparse.Namespace) -> int:
    for archive in arguments.archives:
        if not os.path.exists(archive):
            raise CommandError(f'error: the path "{archive}" does not exist')
        with Progress().step(f"loading {archive}"):
            images = node.ask("POST", "/images/load", {"archive": os.path.abspath(archive)})
        for image in images:
            print("\n".join(image.get("tags") or [image["id"]]))
    return 0


def _build(node: Node, arguments: argparse.Namespace) -> int:
    if bool(arguments.root) == arguments.web:
        raise CommandError("error: name either a FOLDER or --web")
    request: dict[str, Any] = {"tag": arguments.tag, "web": arguments.web}
    if arguments.root:
        if not os.path.isdir(arguments.root):
            raise CommandError(f'error: the folder "{arguments.root}" does not exist')
        request["root"] = os.path.abspath(arguments.root)
        request["config"] = _config(arguments)
    with Progress().step(f"building {arguments.tag}"):
        node.ask("POST", "/images/build", request)
    return 0


def _config(arguments: argparse.Namespace) -> dict[str, Any]:
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


def _rm(node: Node, arguments: argparse.Namespace) -> int:
    for name in arguments.images:
        node.ask("POST", "/images/remove", {"name": name})
    return 0


_RUN = {"ls": _ls, "pull": _pull, "load": _load, "build": _build, "rm": _rm}


def human_size(count: int) -> str:
    """`1.4MB`, as image tools print sizes (powers of ten)."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.3g}{unit}" if unit != "B" else f"{count}B"
        size /= 1000
    raise AssertionError("unreachable")
