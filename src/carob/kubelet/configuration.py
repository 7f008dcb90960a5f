"""What users set of a kubelet: a KubeletConfiguration's fields, checked, as changes to `KubeletOptions`. Pure.

Fields that upstream knows and that change nothing here are named by `without_effect`, so that whoever brings a file
from elsewhere is told; a field that nobody knows is a mistake.
Source: kubelet `apis/config/v1beta1`, `apis/config/validation`, `eviction/helpers.go` (ParseThresholdConfig),
`sysctl/allowlist.go`; the words are upstream's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from carob.api import quantity
from carob.kubelet.eviction.thresholds import CONDITIONS, DEFAULT_HARD
from carob.kubelet.pull_records import ALLOW_LISTED, POLICIES, PRELOADED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
RESERVED = ("cpu", "memory", "ephemeral-storage", "pid")
_IPC = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

_NAMES = frozenset(
    (
        "kubeReserved",
        "systemReserved",
        "evictionHard",
        "evictionSoft",
        "evictionSoftGracePeriod",
        "evictionMinimumReclaim",
        "evictionMaxPodGracePeriod",
        "evictionPressureTransitionPeriod",
        "mergeDefaultEvictionSettings",
        "maxPods",
        "podsPerCore",
        "podPidsLimit",
        "allowedUnsafeSysctls",
        "containerLogMaxSize",
        "containerLogMaxFiles",
        "imageGCHighThresholdPercent",
        "imageGCLowThresholdPercent",
        "imageMinimumGCAge",
        "imagePullCredentialsVerificationPolicy",
        "preloadedImagesVerificationAllowlist",
        "maxParallelImagePulls",
        "serializeImagePulls",
        "seccompDefault",
        "singleProcessOOMKill",
    )
)
_UNUSED = frozenset(
    [
        "address",
        "allowedTopologies",
        "authentication",
        "authorization",
        "cgroupDriver",
        "cgroupRoot",
        "cgroupsPerQOS",
        "clusterDNS",
        "clusterDomain",
        "configMapAndSecretChangeDetectionStrategy",
        "containerLogMaxWorkers",
        "containerLogMonitorInterval",
        "containerRuntimeEndpoint",
        "contentType",
        "cpuCFSQuota",
        "cpuCFSQuotaPeriod",
        "cpuManagerPolicy",
        "cpuManagerPolicyOptions",
        "cpuManagerReconcilePeriod",
        "crashLoopBackOff",
        "enableContentionProfiling",
        "enableControllerAttachDetach",
        "enableDebugFlagsHandler",
        "enableDebuggingHandlers",
        "enableProfilingHandler",
        "enableServer",
        "enableSystemLogHandler",
        "enableSystemLogQuery",
        "enforceNodeAllocatable",
        "eventBurst",
        "eventRecordQPS",
        "failCgroupV1",
        "failSwapOn",
        "featureGates",
        "fileCheckFrequency",
        "hairpinMode",
        "healthzBindAddress",
        "healthzPort",
        "httpCheckFrequency",
        "imageMaximumGCAge",
        "imageServiceEndpoint",
        "iptablesDropBit",
        "iptablesMasqueradeBit",
        "kernelMemcgNotification",
        "kubeAPIBurst",
        "kubeAPIQPS",
        "kubeReservedCgroup",
        "kubeletCgroups",
        "localStorageCapacityIsolation",
        "logging",
        "makeIPTablesUtilChains",
        "maxOpenFiles",
        "memoryManagerPolicy",
        "memorySwap",
        "memoryThrottlingFactor",
        "nodeLeaseDurationSeconds",
        "nodeStatusMaxImages",
        "nodeStatusReportFrequency",
        "nodeStatusUpdateFrequency",
        "oomScoreAdj",
        "podCIDR",
        "podLogsDir",
        "port",
        "protectKernelDefaults",
        "providerID",
        "qosReserved",
        "readOnlyPort",
        "registerNode",
        "registerWithTaints",
        "registryBurst",
        "registryPullQPS",
        "reservedMemory",
        "reservedSystemCPUs",
        "resolvConf",
        "rotateCertificates",
        "runOnce",
        "runtimeRequestTimeout",
        "serverTLSBootstrap",
        "showHiddenMetricsForVersion",
        "shutdownGracePeriod",
        "shutdownGracePeriodByPodPriority",
        "shutdownGracePeriodCriticalPods",
        "staticPodPath",
        "staticPodURL",
        "staticPodURLHeader",
        "streamingConnectionIdleTimeout",
        "syncFrequency",
        "systemCgroups",
        "systemReservedCgroup",
        "tlsCertFile",
        "tlsCipherSuites",
        "tlsCurvePreferences",
        "tlsMinVersion",
        "tlsPrivateKeyFile",
        "topologyManagerPolicy",
        "topologyManagerPolicyOptions",
        "topologyManagerScope",
        "tracing",
        "userNamespaces",
        "volumePluginDir",
        "volumeStatsAggPeriod",
    ]
)


class ConfigurationError(ValueError):
    """The configuration is no good, and why; `field` is its name in a KubeletConfiguration."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}" if field else why)
        self.field = field
        self.why = why


def of_file(text: str) -> dict[str, Any]:
    """The fields of a file's text (YAML or JSON). Raises: ConfigurationError."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError("", f"no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError("", "no object")
    found = (tree.pop("apiVersion", ""), tree.pop("kind", ""))
    if found != (API_VERSION, KIND):
        raise ConfigurationError("", f'apiVersion "{found[0]}", kind "{found[1]}" is not {API_VERSION}, {KIND}')
    for name in tree:
        if name not in _NAMES and name not in _UNUSED:
            raise ConfigurationError("", f'strict decoding error: unknown field "{name}"')
    return {name: value for name, value in tree.items() if value is not None}


def without_effect(tree: Mapping[str, Any]) -> list[str]:
    """The fields that change nothing here, by name."""
    return sorted(name for name in tree if name in _UNUSED)


def changes(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What to replace in `KubeletOptions`, by its fields' names. Raises: ConfigurationError."""
    out: dict[str, Any] = {}
    for name, part in (("kubeReserved", "kube_reserved"), ("systemReserved", "system_reserved")):
        amounts = _reserved(name, _texts(tree, name))
        out[f"{part}_cpu_millicores"] = quantity.cpu_millicores(amounts.get("cpu", "0"))
        out[f"{part}_memory_bytes"] = quantity.whole(amounts.get("memory", "0"))
        out[f"{part}_disk_bytes"] = quantity.whole(amounts.get("ephemeral-storage", "0"))
        out["reserved_pids"] = out.get("reserved_pids", 0) + quantity.whole(amounts.get("pid", "0"))
    out |= _eviction(tree)
    for name, field, least in (
        ("maxPods", "max_pods", 0),
        ("podsPerCore", "pods_per_core", 0),
        ("containerLogMaxFiles", "log_max_files", 2),
        ("maxParallelImagePulls", "max_parallel_pulls", 1),
        ("evictionMaxPodGracePeriod", "eviction_max_pod_grace_seconds", 0),
    ):
        if name in tree:
            out[field] = _number(tree, name, least)
    if tree.get("serializeImagePulls") is True:
        if out.get("max_parallel_pulls", 1) != 1:
            raise ConfigurationError(
                "maxParallelImagePulls",
                "cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) set to false",
            )
        out["max_parallel_pulls"] = 1
    if "podPidsLimit" in tree:
        # upstream's -1 stands for the node's own limit
        out["pod_pids_limit"] = max(0, _number(tree, "podPidsLimit", -1))
    if "containerLogMaxSize" in tree:
        out["log_max_bytes"] = _amount("containerLogMaxSize", tree["containerLogMaxSize"])
    if "seccompDefault" in tree:
        out["seccomp_default"] = "RuntimeDefault" if tree["seccompDefault"] is True else "Unconfined"
    if "singleProcessOOMKill" in tree:
        out["single_process_oom_kill"] = tree["singleProcessOOMKill"] is True
    out |= _image_collection(tree)
    out |= _image_verification(tree)
    if "allowedUnsafeSysctls" in tree:
        out["allowed_unsafe_sysctls"] = _sysctls(tree["allowedUnsafeSysctls"])
    return out


def _reserved(name: str, amounts: Mapping[str, str]) -> Mapping[str, str]:
    for resource, amount in amounts.items():
        if resource not in RESERVED:
            raise ConfigurationError(name, f'cannot reserve "{resource}" resource')
        if quantity.compare(_quantity(f"{name}[{resource}]", amount), "0") < 0:
            raise ConfigurationError(name, f'resource quantity for "{resource}" cannot be negative: {amount}')
    return amounts


# -- eviction


def _eviction(tree: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if "evictionHard" in tree:
        hard = _thresholds("evictionHard", _texts(tree, "evictionHard"))
        out["eviction_hard"] = {**DEFAULT_HARD, **hard} if tree.get("mergeDefaultEvictionSettings") is True else hard
    soft = _thresholds("evictionSoft", _texts(tree, "evictionSoft"))
    grace = {s: _seconds("evictionSoftGracePeriod", v) for s, v in _texts(tree, "evictionSoftGracePeriod").items()}
    for signal in grace:
        _check_signal("evictionSoftGracePeriod", signal)
    for signal in soft:
        if signal not in grace:
            raise ConfigurationError(
                "evictionSoft", f"grace period must be specified for the soft eviction threshold {signal}"
            )
    if soft:
        out["eviction_soft"], out["eviction_soft_grace_seconds"] = soft, grace
    least = _texts(tree, "evictionMinimumReclaim")
    if least:
        out["eviction_minimum_reclaim"] = _thresholds("evictionMinimumReclaim", least)
    if "evictionPressureTransitionPeriod" in tree:
        seconds = _seconds("evictionPressureTransitionPeriod", tree["evictionPressureTransitionPeriod"])
        # upstream takes zero for unset
        out["eviction_transition_seconds"] = seconds or 300.0
    return out


def _check_signal(field: str, signal: str) -> None:
    if signal not in CONDITIONS:
        raise ConfigurationError(field, f"unsupported eviction signal {signal}")


def _thresholds(field: str, texts: Mapping[str, str]) -> dict[str, str]:
    for signal, value in texts.items():
        _check_signal(field, signal)
        if value.endswith("%"):
            try:
                percent = float(value[:-1])
            except ValueError:
                raise ConfigurationError(field, f'"{value}" is no percentage') from None
            if percent < 0:
                raise ConfigurationError(field, f"eviction percentage threshold {signal} must be >= 0%: {value}")
            if percent > 100:
                raise ConfigurationError(field, f"eviction percentage threshold {signal} must be <= 100%: {value}")
        elif quantity.compare(_quantity(field, value), "0") < 0:
            raise ConfigurationError(field, f"eviction threshold {signal} must be positive: {value}")
    return dict(texts)


# -- images and sysctls


def _image_collection(tree: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    high = _percent(tree, "imageGCHighThresholdPercent", 85)
    low = _percent(tree, "imageGCLowThresholdPercent", 80)
    if low >= high:
        raise ConfigurationError(
            "imageGCLowThresholdPercent", f"{low} must be less than imageGCHighThresholdPercent {high}"
        )
    out["image_gc_high_percent"], out["image_gc_low_percent"] = high, low
    if "imageMinimumGCAge" in tree:
        out["image_gc_min_age_seconds"] = _seconds("imageMinimumGCAge", tree["imageMinimumGCAge"])
    return out


def _image_verification(tree: Mapping[str, Any]) -> dict[str, Any]:
    field, listing = "imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist"
    out: dict[str, Any] = {}
    policy = tree.get(field) or PRELOADED
    if policy not in POLICIES:
        raise ConfigurationError(field, f"unknown image pull credential verification policy: {policy}")
    allowed = tree.get(listing) or []
    if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
        raise ConfigurationError(listing, "a list of images is needed")
    if allowed and policy != ALLOW_LISTED:
        raise ConfigurationError(listing, f'can only be set with {field} "{ALLOW_LISTED}"')
    for one in allowed:
        if one != one.strip() or "*" in one.removesuffix("/*") or not one.removesuffix("/*"):
            raise ConfigurationError(listing, f"not a repository or a prefix with /*: {one}")
    out["image_verification"], out["image_verification_allowed"] = policy, tuple(allowed)
    return out


def _sysctls(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ConfigurationError("allowedUnsafeSysctls", "a list of names is needed")
    for pattern in given:
        name = pattern.replace("/", ".").removesuffix("*")
        if not name or "*" in name:
            raise ConfigurationError(
                "allowedUnsafeSysctls", f"sysctl pattern {pattern!r} is not a name or a prefix with *"
            )
        if not name.startswith((*_IPC, "net.")) and name != "kernel.sem":
            raise ConfigurationError("allowedUnsafeSysctls", f'the sysctls "{pattern}" are not known to be namespaced')
    return tuple(pattern.replace("/", ".") for pattern in given)


def allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a sysctl (dots) is among patterns such as `net.core.somaxconn` and `kernel.msg*`."""
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


# -- values


def _texts(tree: Mapping[str, Any], name: str) -> dict[str, str]:
    found = tree.get(name, {})
    if not isinstance(found, dict):
        raise ConfigurationError(name, "an object of names and values is needed")
    return {str(key): str(value) for key, value in found.items()}


def _number(tree: Mapping[str, Any], name: str, least: int) -> int:
    value = tree[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(name, f"{value!r} is no whole number")
    if value < least:
        raise ConfigurationError(name, f"invalid value {value}: must be at least {least}")
    return value


def _percent(tree: Mapping[str, Any], name: str, default: int) -> int:
    value = _number(tree, name, 0) if name in tree else default
    if value > 100:
        raise ConfigurationError(name, f"invalid value {value}: must be between 0 and 100")
    return value


def _quantity(field: str, value: Any) -> str:
    try:
        quantity.nano(str(value))
    except ValueError as error:
        raise ConfigurationError(field, f'"{value}": {error}') from error
    return str(value)


def _amount(field: str, value: Any) -> int:
    found = quantity.whole(_quantity(field, value))
    if found <= 0:
        raise ConfigurationError(field, f"invalid value {value}: must be greater than 0")
    return found


def _seconds(field: str, text: Any) -> float:
    shown, position, seconds = str(text), 0, 0.0
    for match in _DURATION.finditer(shown):
        if match.start() != position:
            break
        seconds += float(match[1]) * _SECONDS[match[2]]
        position = match.end()
    if shown != "0" and (not shown or position != len(shown)):
        raise ConfigurationError(field, f'time: invalid duration "{shown}"')
    return seconds
