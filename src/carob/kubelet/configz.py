"""`/configz`: what the kubelet is told, as the KubeletConfiguration that would tell it so. Pure.

Source: kubelet `server.go` (configz), `apis/config/v1beta1`. Fields that change nothing here are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.durations import go_duration
from carob.kubelet.configuration import API_VERSION, KIND

if TYPE_CHECKING:
    from carob.kubelet.options import KubeletOptions


def configz(options: KubeletOptions) -> dict[str, Any]:
    """The answer's tree."""
    return {"kubeletconfig": {**_configuration(options), "kind": KIND, "apiVersion": API_VERSION}}


def _configuration(options: KubeletOptions) -> dict[str, Any]:
    single = options.single_process_oom_kill
    soft_grace = {signal: go_duration(seconds) for signal, seconds in options.eviction_soft_grace_seconds.items()}
    return {
        "staticPodPath": options.static_folder,
        "port": options.server_port,
        "clusterDomain": options.cluster_domain,
        "clusterDNS": list(options.cluster_dns),
        "nodeStatusUpdateFrequency": go_duration(options.status_check_seconds),
        "nodeStatusReportFrequency": go_duration(options.status_report_seconds),
        "nodeLeaseDurationSeconds": options.lease_seconds,
        "imageMinimumGCAge": go_duration(options.image_gc_min_age_seconds),
        "imageGCHighThresholdPercent": options.image_gc_high_percent,
        "imageGCLowThresholdPercent": options.image_gc_low_percent,
        "imagePullCredentialsVerificationPolicy": options.image_verification,
        "preloadedImagesVerificationAllowlist": list(options.image_verification_allowed),
        "cgroupRoot": options.cgroup_root or "/",
        "cgroupsPerQOS": True,
        "cgroupDriver": "cgroupfs",
        "maxPods": options.max_pods,
        "podsPerCore": options.pods_per_core,
        "podPidsLimit": options.pod_pids_limit or -1,
        "podCIDR": options.pod_cidr,
        "resolvConf": options.resolv_conf,
        "serializeImagePulls": options.max_parallel_pulls == 1,
        "maxParallelImagePulls": options.max_parallel_pulls,
        "evictionHard": dict(options.eviction_hard),
        "evictionSoft": dict(options.eviction_soft),
        "evictionSoftGracePeriod": soft_grace,
        "evictionPressureTransitionPeriod": go_duration(options.eviction_transition_seconds),
        "evictionMaxPodGracePeriod": int(options.eviction_max_pod_grace_seconds),
        "evictionMinimumReclaim": dict(options.eviction_minimum_reclaim),
        "failSwapOn": False,
        "containerLogMaxSize": str(options.log_max_bytes),
        "containerLogMaxFiles": options.log_max_files,
        "systemReserved": _amounts(
            options.system_reserved_cpu_millicores,
            options.system_reserved_memory_bytes,
            options.system_reserved_disk_bytes,
            options.reserved_pids,
        ),
        "kubeReserved": _amounts(
            options.kube_reserved_cpu_millicores, options.kube_reserved_memory_bytes, options.kube_reserved_disk_bytes
        ),
        "enforceNodeAllocatable": ["pods"],
        "allowedUnsafeSysctls": list(options.allowed_unsafe_sysctls),
        "registerNode": options.register_node,
        "seccompDefault": options.seccomp_default == "RuntimeDefault",
        **({} if single is None else {"singleProcessOOMKill": single}),
    }


def _amounts(cpu: int, memory: int, disk: int, pids: int = 0) -> dict[str, str]:
    shown = {"cpu": f"{cpu}m", "memory": str(memory), "ephemeral-storage": str(disk), "pid": str(pids)}
    given = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, "pid": pids}
    return {name: text for name, text in shown.items() if given[name]}
