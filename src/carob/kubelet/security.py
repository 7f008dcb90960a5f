"""From the Pod's and the container's securityContext to what the runtime enforces. Pure.

The container's fields win over the Pod's. Source: kubelet `kuberuntime/security_context.go`,
`securitycontext/util.go`; the messages are upstream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.api.types import core_v1
from carob.kubelet.failures import CREATE_CONTAINER_CONFIG_ERROR, StepFailure
from carob.runtime.types import NamespaceMode, SeccompProfile, SecurityContext, SELinuxOptions

if TYPE_CHECKING:
    from carob.runtime.types import Image

_MERGED = ("run_as_user", "run_as_group", "run_as_non_root", "seccomp_profile", "app_armor_profile", "se_linux_options")


def effective(pod: core_v1.Pod, container: core_v1.Container) -> core_v1.SecurityContext:
    """The container's securityContext with the Pod's fields where it has none."""
    own = container.security_context or core_v1.SecurityContext()
    of_pod = pod.spec.security_context or core_v1.PodSecurityContext()
    merged = core_v1.SecurityContext(
        capabilities=own.capabilities,
        privileged=own.privileged,
        read_only_root_filesystem=own.read_only_root_filesystem,
        allow_privilege_escalation=own.allow_privilege_escalation,
        proc_mount=own.proc_mount,
    )
    for name in _MERGED:
        value = getattr(own, name)
        setattr(merged, name, getattr(of_pod, name) if value is None else value)
    return merged


def security_context(
    pod: core_v1.Pod,
    container: core_v1.Container,
    image: Image,
    *,
    seccomp_default: str = "RuntimeDefault",
    seccomp_root: str = "",
    target_container_id: str = "",
) -> SecurityContext:
    """What the runtime is told.

    Shape: `seccomp_default` is the kind of profile where the Pod names none (upstream's `--seccomp-default`);
    below `seccomp_root` lie the profiles of the type Localhost.
    Raises: StepFailure when runAsNonRoot does not hold.
    """
    merged = effective(pod, container)
    verify_run_as_non_root(pod, container, merged, image)
    of_pod = pod.spec.security_context or core_v1.PodSecurityContext()
    groups = list(of_pod.supplemental_groups)
    if of_pod.fs_group is not None:
        groups.append(of_pod.fs_group)
    capabilities = merged.capabilities or core_v1.Capabilities()
    privileged = bool(merged.privileged)
    return SecurityContext(
        add_capabilities=list(capabilities.add),
        drop_capabilities=list(capabilities.drop),
        privileged=privileged,
        run_as_user=merged.run_as_user,
        run_as_group=merged.run_as_group,
        supplemental_groups=list(dict.fromkeys(groups)),
        strict_groups=of_pod.supplemental_groups_policy == "Strict",
        readonly_rootfs=bool(merged.read_only_root_filesystem),
        # a privileged container and one that adds CAP_SYS_ADMIN can always escalate; validation refuses the mix
        no_new_privileges=merged.allow_privilege_escalation is False,
        seccomp=_seccomp(merged.seccomp_profile, privileged, seccomp_default, seccomp_root),
        apparmor_profile=_apparmor(merged.app_armor_profile),
        selinux=selinux_options(merged.se_linux_options),
        unmasked_proc=merged.proc_mount == "Unmasked",
        pid=pid_mode(pod, target_container_id),
        target_container_id=target_container_id,
    )


def pid_mode(pod: core_v1.Pod, target_container_id: str = "") -> NamespaceMode:
    """Whose processes a container sees."""
    if target_container_id:
        return NamespaceMode.TARGET
    if pod.spec.host_pid:
        return NamespaceMode.NODE
    return NamespaceMode.POD if pod.spec.share_process_namespace else NamespaceMode.CONTAINER


def verify_run_as_non_root(
    pod: core_v1.Pod, container: core_v1.Container, merged: core_v1.SecurityContext, image: Image
) -> None:
    """Refuse a container that would run as root although it says that it does not.

    Raises: StepFailure with upstream's words. Source: `verifyRunAsNonRoot`.
    """
    if not merged.run_as_non_root:
        return
    where = f'(pod: "{pod_description(pod)}", container: {container.name})'
    if merged.run_as_user is not None:
        if merged.run_as_user == 0:
            raise StepFailure(
                CREATE_CONTAINER_CONFIG_ERROR,
                f"container's runAsUser breaks non-root policy {where}",
            )
        return
    if image.uid == 0 or (image.uid is None and not image.username):
        raise StepFailure(
            CREATE_CONTAINER_CONFIG_ERROR, f"container has runAsNonRoot and image will run as root {where}"
        )
    if image.uid is None:
        raise StepFailure(
            CREATE_CONTAINER_CONFIG_ERROR,
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}",
        )


def pod_description(pod: core_v1.Pod) -> str:
    """`name_namespace(uid)`: how the kubelet names a Pod in its messages. Source: `format.Pod`."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"


def _seccomp(profile: core_v1.SeccompProfile | None, privileged: bool, default: str, root: str) -> SeccompProfile:
    if privileged:
        return SeccompProfile(kind="Unconfined")
    if profile is None or not profile.type:
        return SeccompProfile(kind=default)
    local = f"{root}/{profile.localhost_profile}" if profile.localhost_profile else ""
    return SeccompProfile(kind=profile.type, localhost_path=local)


def _apparmor(profile: core_v1.AppArmorProfile | None) -> str:
    if profile is None or profile.type == "":
        return ""
    if profile.type == "Localhost":
        return f"localhost/{profile.localhost_profile or ''}"
    return "runtime/default" if profile.type == "RuntimeDefault" else "unconfined"


def selinux_options(asked: core_v1.SELinuxOptions | None) -> SELinuxOptions | None:
    """The parts of a label in the runtime's words."""
    if asked is None:
        return None
    return SELinuxOptions(user=asked.user, role=asked.role, type=asked.type, level=asked.level)
