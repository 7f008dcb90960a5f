"""Profiles of AppArmor: which the kernel knows, how one is loaded and forgotten. Blocking.

Loading takes the distribution's `apparmor_parser`, which compiles profiles; whoever lacks it has profiles by other means.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from carob.host.types import Host

_KERNEL = "/sys/kernel/security/apparmor"
_PARSERS = ("/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser")


def is_on(host: Host) -> bool:
    """Whether this machine confines anybody by AppArmor, and we may see it."""
    return host.exists(f"{_KERNEL}/profiles")


def known(host: Host) -> set[str]:
    """Names of the profiles that the kernel has. Raises: OSError."""
    return {line.rpartition(" (")[0] for line in host.read(f"{_KERNEL}/profiles").splitlines()}


def load(text: str) -> None:
    """Give the kernel the profile of this text, or replace it. Raises: OSError without a parser, or when it refuses."""
    parser = next((path for path in _PARSERS if os.access(path, os.X_OK)), "")
    if not parser:
        raise FileNotFoundError("apparmor_parser is not installed")
    with subprocess.Popen(
        [parser, "--skip-cache", "--replace"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        _, errors = child.communicate(text)
    if child.returncode:
        raise OSError(errors.strip() or f"apparmor_parser ended with {child.returncode}")


def forget(host: Host, name: str) -> None:
    """Raises: OSError, also when the kernel does not know it."""
    host.write(f"{_KERNEL}/.remove", name)
