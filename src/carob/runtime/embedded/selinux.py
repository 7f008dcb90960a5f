"""The labels of SELinux that a container gets where its Pod names one. Where the kernel has no SELinux it gets none, as upstream.

Source: containerd's `initLabelsFromOpt` and go-selinux `InitLabels`: what is not named comes from the policy, and files share
user and level with the processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.host import selinux
from carob.runtime.types import RuntimeFailure

if TYPE_CHECKING:
    from carob.host.types import Host
    from carob.runtime.types import SecurityContext, SELinuxOptions


class Labels(NamedTuple):
    """Empty: none."""

    process: str = ""
    files: str = ""


def labels_of(host: Host, security: SecurityContext) -> Labels:
    """A privileged container's processes have none of their own. Raises: RuntimeFailure when the policy knows no containers."""
    asked = security.selinux
    if asked is None or not selinux.is_on(host):
        return Labels()
    usual = selinux.contexts(host)
    if usual is None:
        text = "failed to generate SELinux labels: the policy of this node has no label for containers (lxc_contexts)"
        raise RuntimeFailure(text, "CreateContainerError")
    process = _label(usual.process, asked)
    files = _label(usual.file, type(asked)(user=asked.user, level=asked.level))
    return Labels("" if security.privileged else process, files)


def _label(usual: str, asked: SELinuxOptions) -> str:
    # a level has colons of its own
    parts = usual.split(":", 3)
    wanted = (asked.user, asked.role, asked.type, asked.level)
    return ":".join(mine or (parts[at] if at < len(parts) else "s0") for at, mine in enumerate(wanted))
