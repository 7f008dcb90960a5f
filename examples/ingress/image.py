"""Lays the root of an image with this machine's nginx and Python, and the controller, into a new folder.

Argument: the folder. `carob image build` makes the image of it; ingress.yml says how.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

NGINX = "/usr/sbin/nginx"
PYTHON = pathlib.Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
HERE = pathlib.Path(__file__).resolve().parent
LEFT_OUT = ("__pycache__", "config-*", "ensurepip", "idlelib", "lib2to3", "*-packages", "pydoc_data", "test", "tkinter")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}


def libraries(*programs: pathlib.Path) -> set[str]:
    """The shared libraries that they need, and the loader."""
    shown = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True)
    return set(re.findall(r"(/\S+) \(0x", shown.stdout))


def lay(root: pathlib.Path) -> None:
    """Everything at its own place, so that nothing needs to be told where it is."""
    standard = pathlib.Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, _at(root, standard), ignore=shutil.ignore_patterns(*LEFT_OUT))
    extensions = standard.joinpath("lib-dynload").glob("*.so")
    for path in {NGINX, str(PYTHON), *libraries(pathlib.Path(NGINX), PYTHON, *extensions)}:
        target = _at(root, pathlib.Path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name in ("proc", "sys", "dev", "tmp", "conf", "etc", "app"):
        root.joinpath(name).mkdir(exist_ok=True)
    for name in ("controller.py", "rules.py"):
        shutil.copy(HERE / name, root / "app")
    root.joinpath("app", "python").symlink_to(PYTHON)
    for name, text in FILES.items():
        root.joinpath(name).write_text(text)


def _at(root: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    return root / path.relative_to("/")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lay(folder)
