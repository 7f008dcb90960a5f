"""Copy files and directories to and from containers. The container needs `tar`.

Examples:
  carob cp ./site hello-pod:/www             # a folder into a Pod
  carob cp hello-pod:/var/log/app.log ./     # a file out of it
  carob cp ./a.txt staging/web-0:/tmp/b.txt -c web
"""

from __future__ import annotations

import os
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, NamedTuple

from carob.api.status import ApiError
from carob.cli.connection import add_connection_flags, connect
from carob.cli.errors import CommandError
from carob.cli.failures import server_error
from carob.cli.pods import find_container, get_pod

if TYPE_CHECKING:
    from typing import IO

    from carob.cli.connection import Connection
    from carob.cli.flags import Arguments, Flags

FORMAT = "filespec must match the canonical format: [[namespace/]pod:]file/path"


def add_flags(flags: Flags) -> None:
    """kubectl cp's flags."""
    flags.usage = "SOURCE DESTINATION [flags]      where one of both is [NAMESPACE/]POD:PATH"
    flags.text("container", "c", meta="NAME", help="which container (default: the annotated or the first one)")
    flags.switch("no-preserve", help="do not keep owners and permissions in the container")
    flags.number("retries", help="tries to go on with a copy that was cut")
    add_connection_flags(flags)


class Place(NamedTuple):
    """A path, here or in a Pod."""

    namespace: str
    pod: str
    path: str


def run(arguments: Arguments) -> int:
    """Copy in the direction that the words say."""
    if len(arguments.words) != 2:
        raise CommandError("error: source and destination are required")
    source, target = (_place(word) for word in arguments.words)
    if source.pod and target.pod:
        raise CommandError("error: one of src or dest must be a local file specification")
    if not source.path or not target.path:
        raise CommandError("error: filepath can not be empty")
    connection = connect(arguments)
    try:
        if source.pod:
            return Copy(connection, arguments, source).out(source.path, target.path)
        if target.pod:
            return Copy(connection, arguments, target).into(source.path, target.path)
        raise CommandError("error: one of src or dest must be a remote file specification")
    except ApiError as error:
        raise server_error(error) from error
    finally:
        connection.close()


def _place(word: str) -> Place:
    pod, colon, path = word.partition(":")
    if not colon:
        return Place("", "", word)
    parts = pod.split("/")
    if not pod or len(parts) > 2:
        raise CommandError(f"error: {FORMAT}")
    return Place(parts[0] if len(parts) == 2 else "", parts[-1], path)


class Copy:
    """One copy, to or from a container."""

    def __init__(self, connection: Connection, arguments: Arguments, place: Place) -> None:
        self._connection = connection
        self._arguments = arguments
        if place.namespace:
            connection.namespace = place.namespace
        self._pod = place.pod
        self._container = ""

    def _find(self) -> None:
        pod = get_pod(self._connection, self._pod)
        phase = (pod.get("status") or {}).get("phase")
        if phase in ("Succeeded", "Failed"):
            raise CommandError(f"error: cannot exec into a container in a completed pod; current phase is {phase}")
        self._container = find_container(pod, self._arguments.container)
        self._connection.close()

    def _run(self, command: list[str], *, stdin: int | None, stdout: int | None, stderr: int | None) -> int:
        """The command's exit code."""
        from carob.cli.remote import PROTOCOL, Pump
        from carob.cli.upgrade import upgrade
        from carob.wire.remotecommand import exit_code_of

        query: dict[str, str | list[str]] = {"command": command, "container": self._container}
        query |= {"stdout": "true", "stderr": "true"}
        if stdin is not None:
            query["stdin"] = "true"
        path = f"/api/v1/namespaces/{self._connection.namespace}/pods/{self._pod}/exec"
        sock, early = upgrade(self._connection, path, query, PROTOCOL)
        status = Pump(sock, early, stdin=stdin, stdout=stdout, stderr=stderr).run()
        code = exit_code_of(status)
        if code is None:
            raise CommandError(f"error: {status.get('message', 'unknown error')}")
        return code

    # --- into the container

    def into(self, source: str, target: str) -> int:
        """The exit code."""
        if not os.path.lexists(source):
            raise CommandError(f"error: {source} doesn't exist in local filesystem")
        self._find()
        target = os.path.normpath(target)
        if self._run(["test", "-d", target], stdin=None, stdout=None, stderr=None) == 0:
            target = os.path.join(target, os.path.basename(os.path.normpath(source)))
        command = ["tar", "-xmf", "-"]
        if self._arguments.no_preserve:
            command[1:1] = ["--no-same-permissions", "--no-same-owner"]
        folder, name = os.path.split(target)
        if folder:
            command += ["-C", folder]
        read, write = os.pipe()
        packer = threading.Thread(target=_pack, args=(source, name, write), daemon=True)
        packer.start()
        try:
            code = self._run(command, stdin=read, stdout=1, stderr=2)
        finally:
            os.close(read)
        packer.join()
        if code:
            raise CommandError(f"command terminated with exit code {code}", code)
        return 0

    # --- out of the container

    def out(self, source: str, target: str) -> int:
        """The exit code."""
        self._find()
        prefix = os.path.normpath(source).lstrip("/")
        while prefix.startswith("../"):
            prefix = prefix.removeprefix("../")
        if prefix in (".", ".."):
            prefix = ""
        read, write = os.pipe()
        unpacker = Unpacker(read, prefix, target)
        thread = threading.Thread(target=unpacker.run, daemon=True)
        thread.start()
        try:
            code = self._run(["tar", "cf", "-", source], stdin=None, stdout=write, stderr=2)
        finally:
            os.close(write)
            thread.join()
        if code:
            raise CommandError(f"command terminated with exit code {code}", code)
        if unpacker.problem:
            raise CommandError(f"error: {unpacker.problem}")
        return 0


def _pack(source: str, name: str, fd: int) -> None:
    """Write a tar of `source`, named `name` in it; symbolic links stay links."""
    try:
        with (
            os.fdopen(fd, "wb") as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive,
        ):
            archive.add(source, arcname=name, recursive=True)
    except BrokenPipeError:
        return  # the other side ended first, and says why


class Unpacker:
    """Takes a tar apart below `target`; nothing that the container says leads outside of it."""

    def __init__(self, fd: int, prefix: str, target: str) -> None:
        self._fd = fd
        self._prefix = prefix
        self._target = target
        self._warned = False
        self.problem = ""

    def run(self) -> None:
        """Until the end of the archive."""
        try:
            with os.fdopen(self._fd, "rb") as stream:
                try:
                    self._all(stream)
                finally:
                    while stream.read(1 << 16):
                        pass  # the sender must not get stuck
        except (OSError, tarfile.TarError) as error:
            self.problem = str(error)

    def _all(self, stream: IO[bytes]) -> None:
        try:
            archive = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115 - closed with the stream
        except tarfile.ReadError:
            return  # nothing came; the exit code says why
        # as tar(1): a file goes to the target's name, or into the target if that is a folder
        if os.path.isdir(self._target):
            base = os.path.basename(self._prefix)
            self._target = os.path.join(self._target, base) if base else self._target
        for member in archive:
            name = member.name.lstrip("/")
            if name != self._prefix and not name.startswith(self._prefix and self._prefix + "/"):
                self.problem = "tar contents corrupted"
                return
            self._one(archive, member, name[len(self._prefix) :].lstrip("/"))

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo, rest: str) -> None:
        path = os.path.normpath(os.path.join(self._target, rest)) if rest else self._target
        inside = os.path.normpath(self._target)
        if path != inside and rest and not path.startswith(inside.rstrip("/") + "/") and inside != ".":
            print(f'warning: file "{path}" is outside target destination, skipping', file=sys.stderr)
            return
        if member.isdir():
            os.makedirs(path, exist_ok=True)
            return
        if member.issym() or member.islnk():
            if not self._warned:
                print(f'warning: skipping symlink: "{path}" -> "{member.linkname}"', file=sys.stderr)
                self._warned = True
            return
        source = archive.extractfile(member)
        if source is None:
            return
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            while block := source.read(1 << 20):
                file.write(block)
