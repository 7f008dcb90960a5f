"""An image of one layer, made from a folder. Blocking. The same files and config always make the same bytes.

So that they do, entries come in order of their names, belong to root, and carry one time; what is kept of a file is its
content, its mode (setuid too), its links and its security.* and user.* attributes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from typing import IO, TYPE_CHECKING, Any

import msgspec

from carob.runtime.images import manifests
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from carob.runtime.images.store import ImageRecord, ImageStore

# Any fixed time would do; zero makes some tools warn.
FILE_TIME = 315_532_800
_KEPT_ATTRIBUTES = ("user.", "security.capability")


def build(store: ImageStore, root: str, config: Mapping[str, Any]) -> ImageRecord:
    """Pack `root` and describe it; `config` is the OCI config object (Cmd, Env, WorkingDir, …).

    Raises: RuntimeFailure when there is no such folder or it holds what an image may not; OSError.
    """
    if not os.path.isdir(root):
        raise RuntimeFailure(f"{root} is no folder")
    with store.staging() as place:
        path = f"{place}/layer.tar"
        with open(path, "xb") as file:
            digest = _Digest(file)
            pack(root, digest)
        layer = f"sha256:{digest.hexdigest()}"
        size = os.stat(path).st_size
        os.rename(path, store.blob(layer))
        image = {
            "architecture": manifests.architecture(),
            "os": "linux",
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created_by": "carob image build"}],
        }
        data = msgspec.json.encode(image, order="sorted")
        with open(f"{place}/config", "xb") as file:
            file.write(data)
        os.rename(f"{place}/config", store.blob(manifests.digest_of(data)))
    return manifests.describe(data, [layer], size, [])


class _Digest:
    """A file that is only written to, and the digest of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def pack(root: str, out: _Digest) -> None:
    """Write the folder as a tar. Raises: RuntimeFailure for device nodes and sockets; OSError."""
    seen: dict[tuple[int, int], str] = {}
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for path, name in _walk(root):
            entry, status = _entry(path, name)
            first = seen.setdefault((status.st_dev, status.st_ino), name)
            if entry.isreg() and first != name:
                entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, first, 0
            if entry.isreg():
                with open(path, "rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)


def _walk(root: str) -> Iterator[tuple[str, str]]:
    """Every path below the folder and its name in the archive, a folder before what is in it."""
    folders = [""]
    yield root, "."
    while folders:
        folder = folders.pop()
        names = sorted(os.listdir(f"{root}/{folder}"))
        for name in names:
            inner = f"{folder}/{name}" if folder else name
            yield f"{root}/{inner}", inner
            if stat.S_ISDIR(os.lstat(f"{root}/{inner}").st_mode):
                folders.append(inner)


def _entry(path: str, name: str) -> tuple[tarfile.TarInfo, os.stat_result]:
    status = os.lstat(path)
    entry = tarfile.TarInfo(name)
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.mtime = FILE_TIME
    if stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
    elif stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif stat.S_ISFIFO(status.st_mode):
        entry.type = tarfile.FIFOTYPE
    else:
        raise RuntimeFailure(f"{path} is a device node or a socket, which an image cannot hold")
    entry.pax_headers = {
        f"SCHILY.xattr.{attribute}": os.getxattr(path, attribute, follow_symlinks=False).decode(
            "utf-8", "surrogateescape"
        )
        for attribute in sorted(os.listxattr(path, follow_symlinks=False))
        if attribute.startswith(_KEPT_ATTRIBUTES)
    }
    return entry, status
