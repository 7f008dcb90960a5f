"""A small web image from this machine's own static busybox, for when no registry can be reached.

It serves a page on port 8080, ends at once on SIGTERM, and has a shell and the usual small tools, so it also does as the
file synchronizer that stands beside a web server in one Pod.
"""

from __future__ import annotations

import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

from carob.runtime.images import child
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.host.types import Host

BUSYBOX = "/bin/busybox"
PORT = 8080

CONFIG: dict[str, Any] = {
    "Cmd": ["/bin/web"],
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"PORT={PORT}", "ROOT=/www"],
    "ExposedPorts": {f"{PORT}/tcp": {}},
    "WorkingDir": "/",
}

# busybox httpd has no handler for SIGTERM, and the first process of a container ignores what it does not handle.
_WEB = """#!/bin/sh
trap 'exit 0' TERM INT
httpd -f -v -p "$PORT" -h "$ROOT" &
wait
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Hello from a Pod</title></head>
<body>
<h1>Hello from a Pod</h1>
<p>This page comes out of a container that carob runs.</p>
</body>
</html>
"""

_FILES = {
    "bin/web": (_WEB, 0o755),
    "www/index.html": (_PAGE, 0o644),
    "etc/passwd": ("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644),
    "etc/group": ("root:x:0:\nnogroup:x:65534:\n", 0o644),
}
_FOLDERS = {
    **dict.fromkeys(("bin", "dev", "etc", "proc", "sys", "var", "www"), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
}
_PT_INTERP = 3


async def make_root(host: Host, folder: str, environment: Mapping[str, str], busybox: str = BUSYBOX) -> None:
    """Lay the image's root file system into an empty folder; `Images.build` with `CONFIG` makes an image of it.

    Raises: RuntimeFailure when the machine has no static busybox, and says how to get it; OSError.
    """
    _check(busybox)
    ended = await child.run(host, [busybox, "--list"], environment)
    if ended.code:
        raise RuntimeFailure(f"{busybox} cannot be run: {ended.errors.strip() or ended.code}")
    _lay(folder, busybox, [name for name in ended.output.decode().split() if name != "busybox"])


def _check(busybox: str) -> None:
    try:
        with open(busybox, "rb") as file:
            head = file.read(64)
            offset, size, count = *struct.unpack_from("<32xQ", head), *struct.unpack_from("<54xHH", head)
            file.seek(offset)
            segments = file.read(size * count)
    except (OSError, struct.error) as error:
        raise RuntimeFailure(f"{busybox} is missing; the package busybox-static has it") from error
    kinds = [struct.unpack_from("<I", segments, at)[0] for at in range(0, len(segments), size)] if size else []
    if _PT_INTERP in kinds or not kinds:
        raise RuntimeFailure(f"{busybox} needs shared libraries; the package busybox-static has one that does not")


def _lay(folder: str, busybox: str, applets: list[str]) -> None:
    for name, mode in _FOLDERS.items():
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        os.chmod(f"{folder}/{name}", mode)
    shutil.copyfile(busybox, f"{folder}/bin/busybox")
    os.chmod(f"{folder}/bin/busybox", 0o755)
    for applet in applets:
        # hard links: a symbolic link is an inode of its own, and three hundred of those take a tenth of a second
        os.link(f"{folder}/bin/busybox", f"{folder}/bin/{applet}")
    for name, (text, mode) in _FILES.items():
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{folder}/{name}", mode)
