"""What this machine lacks to run Pods, and how to get it.

--fix installs the missing system packages with the distribution's package manager (Debian, Ubuntu).

Examples:
  carob doctor
  carob doctor --fix
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from carob.base.description import Description
from carob.cli import clusters, ranges
from carob.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carob.cli.flags import Arguments, Flags

# command -> Debian package, what for
TOOLS: dict[str, tuple[str, str]] = {
    "crun": ("crun", "runs containers"),
    "conmon": ("conmon", "keeps a container's log and exit code when carob restarts"),
    "catatonit": ("catatonit", "the pause process of a Pod"),
    "skopeo": ("skopeo", "fetches images from registries"),
    "nft": ("nftables", "address translation for Pods and services"),
    "tar": ("tar", "unpacks image layers"),
}


class Finding(Description):
    """One line of the report. `fix` is what to do, empty when all is well; `warning` does not stop Pods."""

    subject: str
    well: bool
    detail: str
    fix: str = ""
    warning: bool = False


_WRITABLE = "give the container --privileged, or mount it read-write"


def missing_packages() -> list[str]:
    """The Debian packages whose commands are not on this machine."""
    return [package for tool, (package, _) in TOOLS.items() if not _is_there(tool)]


def _is_there(tool: str) -> bool:
    # `shutil` would load three compressions for every `carob up`
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/sbin"]
    return any(os.path.isfile(f"{one}/{tool}") and os.access(f"{one}/{tool}", os.X_OK) for one in folders if one)


def need_tools() -> None:
    """Raises: CommandError when this machine cannot run Pods for what it lacks."""
    missing = missing_packages()
    if missing:
        raise CommandError(
            f"error: this machine lacks {', '.join(missing)}; `carob doctor --fix` installs what is missing"
        )
    if _cannot_limit():
        raise CommandError(f"error: /sys/fs/cgroup is mounted read-only; {_WRITABLE}")
    if not os.path.ismount("/"):
        raise CommandError(
            "error: the root directory is no mount point, as in a plain chroot, and a mount namespace cannot be entered "
            "from there; use a container, or pivot_root into a folder that is bound on itself"
        )


def add_flags(flags: Flags) -> None:
    """The verb's flags."""
    flags.switch("fix", help="install what is missing")


def run(arguments: Arguments) -> int:
    """Report, and repair when asked to."""
    clusters.need_no_words(arguments, "carob doctor")
    if arguments.fix:
        _install(missing_packages())
    findings = examine()
    for finding in findings:
        mark = "✓" if finding.well else "!" if finding.warning else "✗"
        print(f"  {mark} {finding.subject:16} {finding.detail}")
        if finding.fix:
            print(f"    {'':16} → {finding.fix}")
    lacking = [f for f in findings if not f.well and not f.warning]
    if lacking:
        print(f"\n{len(lacking)} thing{'s' if len(lacking) > 1 else ''} to mend before Pods can run here.")
        return 1
    print("\nThis machine can run Pods.")
    return 0


def examine() -> list[Finding]:
    """Everything that carob needs of the machine, in the order of its report."""
    return [_privilege(), _python(), *_tools(), _cgroups(), *_kernel(), _second_family(), _capabilities()]


def _privilege() -> Finding:
    well = os.geteuid() == 0
    return Finding("root", well, "yes" if well else "no", "" if well else "run carob up with sudo")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    well = sys.version_info >= (3, 11)
    return Finding("python", well, version, "" if well else "carob needs Python 3.11 or newer")


def _tools() -> list[Finding]:
    missing = set(missing_packages())
    return [
        Finding(tool, package not in missing, use, f"apt-get install {package}" if package in missing else "")
        for tool, (package, use) in TOOLS.items()
    ]


def _cannot_limit() -> bool:
    """As in a container that may not change its own groups. Of version 1 only the folder of the mounts is read-only."""
    root = "/sys/fs/cgroup"
    return os.path.exists(f"{root}/cgroup.controllers") and bool(os.statvfs(root).f_flag & os.ST_RDONLY)


def _cgroups() -> Finding:
    root = Path("/sys/fs/cgroup")
    if _cannot_limit():
        return Finding("cgroups", False, "version 2, mounted read-only", _WRITABLE)
    if (root / "cgroup.controllers").exists():
        controllers = (root / "cgroup.controllers").read_text().split()
        lacking = [c for c in ("cpu", "memory", "pids") if c not in controllers]
        detail = "version 2: " + " ".join(controllers)
        fix = f"enable {', '.join(lacking)} on the kernel's command line" if lacking else ""
        return Finding("cgroups", not lacking, detail, fix)
    lacking = [c for c in ("cpu", "memory", "pids") if not (root / c / "cgroup.procs").exists()]
    if lacking:
        return Finding(
            "cgroups", False, f"no {', '.join(lacking)}", "mount the cgroup hierarchies (cgroup2 or version 1)"
        )
    return Finding("cgroups", True, "version 1" + (" beside version 2" if (root / "unified").exists() else ""))


def _kernel() -> list[Finding]:
    filesystems = Path("/proc/filesystems").read_text()
    overlay = "\toverlay\n" in filesystems or _module_exists("overlay")
    namespaces = all(Path(f"/proc/self/ns/{kind}").exists() for kind in ("net", "uts", "ipc", "pid", "mnt", "user"))
    return [
        Finding("overlayfs", overlay, os.uname().release, "" if overlay else "modprobe overlay"),
        Finding("namespaces", namespaces, "net uts ipc pid mnt user", "" if namespaces else "a kernel with namespaces"),
    ]


def _second_family() -> Finding:
    if ranges.has_ipv6():
        return Finding("ipv6", True, "there, for dual-stack clusters")
    fix = "sysctl net.ipv6.conf.all.disable_ipv6=0" if ranges.NO_IPV6.exists() else ""
    return Finding("ipv6", False, "none: clusters of one family", fix, warning=True)


def _module_exists(name: str) -> bool:
    index = Path("/lib/modules") / os.uname().release / "modules.dep"
    return index.exists() and f"/{name}.ko" in index.read_text()


def _capabilities() -> Finding:
    status = Path("/proc/self/status").read_text()
    bounding = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    if bounding >> 24 & 1:  # CAP_SYS_RESOURCE
        return Finding("capabilities", True, "all that Pods can ask for")
    detail = "no CAP_SYS_RESOURCE: raised rlimits and lowered OOM scores are clamped"
    return Finding("capabilities", False, detail, warning=True)


def _install(packages: list[str]) -> None:
    if not packages:
        return
    clusters.need_root("carob doctor --fix")
    if not _is_there("apt-get"):
        raise CommandError(f"error: no apt-get on this machine; please install: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        print("+", " ".join(command), file=sys.stderr)
        status = subprocess.call(command, env=environment)
        if status != 0:
            raise CommandError(f"error: {command[0]} {command[1]} ended with {status}")
