"""One packed layer becomes a folder that overlayfs can use. Blocking; called in a pool's thread.

Our thread unpacks the compression and computes the digest while it feeds a GNU tar child, which knows setuid bits,
extended attributes, hard links and sparse files. tar itself refuses `..` and never writes through a symbolic link that
leaves the folder (it makes such links last). What it made is then walked once: whiteouts take overlayfs' form, device
nodes are refused, and sizes are counted.

Source: OCI image-spec layer.md (whiteouts, opaque whiteouts); the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import zlib
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from carob.host.types import Host, Redirect
from carob.runtime.images.store import LayerRecord
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CHUNK_BYTES = 1 << 18
PIPE_BYTES = 1 << 20
MAX_COMPLAINT_CHARACTERS = 500
_F_SETPIPE_SZ = 1031

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
AUFS_METADATA = ".wh..wh."

# trusted.* is overlayfs' own language: a layer that speaks it could make a mount show what it should not
_TAR = (
    *("-x", "-f", "-", "-p", "--numeric-owner", "--same-owner"),
    *("--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.*"),
    *("--warning=no-timestamp", "--warning=no-unknown-keyword"),
)


def unpack(
    host: Host, blob: str, home: str, diff_id: str, environment: Mapping[str, str], stop: Callable[[], bool]
) -> LayerRecord:
    """Unpack the file `blob` into the new folder `home`/fs. `stop` is asked again and again whether to give up.

    Raises: RuntimeFailure when the archive is damaged, is not what `diff_id` says, or holds what a layer may not.
    The caller owns `home` and removes it then.
    """
    folder = f"{home}/fs"
    host.mkdir(folder, 0o755)
    with open(blob, "rb") as packed:
        found = _extract(host, packed, home, folder, environment, stop)
    if found != diff_id:
        raise RuntimeFailure(f"layer {os.path.basename(blob)} unpacks to {found}, but the image says {diff_id}")
    return settle(folder)


def _extract(
    host: Host, packed: IO[bytes], home: str, folder: str, environment: Mapping[str, str], stop: Callable[[], bool]
) -> str:
    """Through tar; the digest of the unpacked archive."""
    complaints = f"{home}/complaints"
    outlet, inlet = os.pipe2(os.O_CLOEXEC)
    try:
        pid = host.spawn(
            [_tool("tar", environment), *_TAR, "-C", folder],
            {**environment, "LC_ALL": "C"},
            [Redirect(0, outlet), Redirect(2, path=complaints, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC)],
        )
    except BaseException:
        os.close(inlet)
        raise
    finally:
        os.close(outlet)
    failure: RuntimeFailure | None = None
    digest = hashlib.sha256()
    try:
        _feed(plain(host, packed, environment), inlet, digest, stop)
    except RuntimeFailure as error:
        failure = error
    finally:
        os.close(inlet)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if failure is not None:
        raise failure
    if code:
        raise RuntimeFailure(
            f"layer {os.path.basename(packed.name)} cannot be unpacked: {_complaint(complaints, code)}"
        )
    return f"sha256:{digest.hexdigest()}"


def _feed(pieces: Iterator[bytes], inlet: int, digest: hashlib._Hash, stop: Callable[[], bool]) -> None:
    with suppress(OSError):
        # an unprivileged user may have used up what the kernel allows
        fcntl.fcntl(inlet, _F_SETPIPE_SZ, PIPE_BYTES)
    reading = True
    for piece in pieces:
        if stop():
            raise RuntimeFailure("given up")
        digest.update(piece)
        rest = memoryview(piece)
        while reading and rest:
            try:
                rest = rest[os.write(inlet, rest) :]
            except BrokenPipeError:
                # tar has seen the archive's end, or has failed and will say why; the digest is of all bytes
                reading = False


def plain(host: Host, packed: IO[bytes], environment: Mapping[str, str]) -> Iterator[bytes]:
    """The uncompressed bytes of a file that is gzip, zstd or neither. Raises: RuntimeFailure when it is damaged."""
    magic = packed.read(4)
    packed.seek(0)
    if magic.startswith(GZIP_MAGIC):
        return _gunzip(packed)
    if magic == ZSTD_MAGIC:
        return _unzstd(host, packed, environment)
    return iter(lambda: packed.read(CHUNK_BYTES), b"")


def _gunzip(packed: IO[bytes]) -> Iterator[bytes]:
    """One or several gzip members, in pieces of bounded size however well they were compressed."""
    name = os.path.basename(packed.name)
    member = zlib.decompressobj(wbits=31)
    data = packed.read(CHUNK_BYTES)
    while data:
        try:
            piece = member.decompress(data, CHUNK_BYTES * 4)
        except zlib.error as error:
            raise RuntimeFailure(f"{name} is damaged: {error}") from error
        if piece:
            yield piece
        data = member.unconsumed_tail
        if member.eof:
            data = member.unused_data or packed.read(CHUNK_BYTES)
            # zeros behind the end are padding
            data = data.lstrip(b"\0")
            if data:
                member = zlib.decompressobj(wbits=31)
        elif not data:
            data = packed.read(CHUNK_BYTES)
    if not member.eof:
        raise RuntimeFailure(f"{name} is damaged: it ends too early")


def _unzstd(host: Host, packed: IO[bytes], environment: Mapping[str, str]) -> Iterator[bytes]:
    # the child reads from where the descriptor stands, which a buffered seek has not moved
    os.lseek(packed.fileno(), 0, os.SEEK_SET)
    outlet, inlet = os.pipe2(os.O_CLOEXEC)
    try:
        pid = host.spawn(
            [_tool("zstd", environment), "-dcq"], environment, [Redirect(0, packed.fileno()), Redirect(1, inlet)]
        )
    except BaseException:
        os.close(outlet)
        raise
    finally:
        os.close(inlet)
    try:
        while piece := os.read(outlet, CHUNK_BYTES):
            yield piece
    finally:
        os.close(outlet)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise RuntimeFailure(f"{os.path.basename(packed.name)} is damaged: zstd exited with {code}")


def _tool(name: str, environment: Mapping[str, str]) -> str:
    path = shutil.which(name, path=environment.get("PATH"))
    if path is None:
        raise RuntimeFailure(f"{name} is not installed; images cannot be unpacked without it")
    return path


def _complaint(path: str, code: int) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(4 * MAX_COMPLAINT_CHARACTERS)
    except OSError:
        text = ""
    lines = [line.removeprefix("tar: ") for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith(("Removing leading", "Exiting with failure"))]
    return "; ".join(said)[:MAX_COMPLAINT_CHARACTERS] or f"tar exited with {code}"


def settle(folder: str) -> LayerRecord:
    """Give whiteouts overlayfs' form, refuse device nodes, count. Nobody else may be at work in the folder.

    Raises: RuntimeFailure.
    """
    size = inodes = 0
    linked: set[int] = set()
    folders = [folder]
    while folders:
        here = folders.pop()
        whiteouts: list[str] = []
        with os.scandir(here) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.name.startswith(WHITEOUT):
                    whiteouts.append(entry.name)
                elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                    raise RuntimeFailure(
                        f"the layer holds a device node, which is refused: {entry.path[len(folder) :]}"
                    )
                elif stat.S_ISDIR(status.st_mode):
                    folders.append(entry.path)
                if status.st_ino in linked:
                    continue
                if status.st_nlink > 1:
                    linked.add(status.st_ino)
                size += status.st_blocks * 512
                inodes += 1
        for name in whiteouts:
            _white_out(here, name)
    return LayerRecord(size, inodes)


def _white_out(folder: str, name: str) -> None:
    marker = f"{folder}/{name}"
    if os.path.isdir(marker) and not os.path.islink(marker):
        shutil.rmtree(marker)
    else:
        os.unlink(marker)
    if name == OPAQUE:
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
        return
    hidden = f"{folder}/{name[len(WHITEOUT) :]}"
    if name.startswith(AUFS_METADATA) or name == WHITEOUT:
        return
    try:
        status = os.lstat(hidden)
    except FileNotFoundError:
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))
        return
    # the layer replaces what it hides: a file does so by being there, a folder must not let the lower one through
    if stat.S_ISDIR(status.st_mode):
        os.setxattr(hidden, "trusted.overlay.opaque", b"y")
