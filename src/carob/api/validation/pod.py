"""Rules of Pods and Pod templates: create, and what an update of the Pod or of one of its subresources may change.

Pure. Causes come in upstream's order, the same rule as often as upstream applies it.

Source: `pkg/apis/core/validation` (ValidatePodCreate, ValidatePodUpdate, ValidatePodStatusUpdate and so on).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import msgspec

from carob.api import qos, quantity
from carob.api.types import core_v1
from carob.api.validation import containers, field, meta, names, paths, proven, resources, scheduling, security, volumes
from carob.api.validation.containers import Surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carob.api.types import meta_v1
    from carob.api.validation.field import Cause

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER_PREFIX = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
MAX_INT32 = 2**31 - 1
MAX_NAMESERVERS, MAX_SEARCH_PATHS, MAX_SEARCH_CHARACTERS = 3, 32, 2048


def create(out: list[Cause], pod: core_v1.Pod) -> None:
    """A new Pod."""
    metadata_and_spec(out, pod)
    spec = pod.spec
    if spec.ephemeral_containers:
        out.append(field.forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.node_name and spec.scheduling_gates:
        words = "cannot be set until all schedulingGates have been cleared"
        out.append(field.forbidden("spec.nodeName", words))
    if pod.metadata.annotations:
        _profiles_match(out, pod.metadata.annotations, spec, "spec")


def metadata_and_spec(out: list[Cause], pod: core_v1.Pod) -> None:
    """What holds for a Pod at any time."""
    meta.core(out, pod.metadata, True, names.dns_subdomain)
    if pod.metadata.annotations:
        annotation_rules(out, pod.metadata.annotations, pod.spec)
    key = proven.key_of(pod.spec)
    if key is not None and proven.knows(key):
        return
    before = len(out)
    _whole_spec(out, pod)
    if key is not None and len(out) == before:
        proven.remember(key)


def _whole_spec(out: list[Cause], pod: core_v1.Pod) -> None:
    spec = pod.spec
    pod_spec(out, "spec", spec, pod.metadata)
    if not spec.service_account_name:
        for i, volume in enumerate(spec.volumes):
            for j, source in enumerate(volume.projected.sources if volume.projected is not None else ()):
                if source.service_account_token is not None:
                    words = "must not be specified when serviceAccountName is not set"
                    here = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                    out.append(field.forbidden(here, words))
    for i, container in enumerate(spec.containers):
        if container.image != container.image.strip():
            containers.image_padding(out, f"spec.containers[{i}]", container)
    for i, container in enumerate(spec.init_containers):
        if container.image != container.image.strip():
            containers.image_padding(out, f"spec.initContainers[{i}]", container)


def template(out: list[Cause], path: str, found: core_v1.PodTemplateSpec) -> None:
    """The template in a workload."""
    meta.labels(out, f"{path}.labels", found.metadata.labels)
    meta.annotation_map(out, f"{path}.annotations", found.metadata.annotations)
    if found.metadata.annotations:
        annotation_rules(out, found.metadata.annotations, found.spec, f"{path}.annotations")
    pod_spec(out, f"{path}.spec", found.spec, None)
    if found.metadata.annotations:
        _profiles_match(out, found.metadata.annotations, found.spec, f"{path}.spec")
    if found.spec.ephemeral_containers:
        words = "ephemeral containers not allowed in pod template"
        out.append(field.forbidden(f"{path}.spec.ephemeralContainers", words))


def annotation_rules(
    out: list[Cause], annotations: Mapping[str, str], spec: core_v1.PodSpec, path: str = "metadata.annotations"
) -> None:
    """Annotations that mean something to the cluster."""
    if MIRROR_ANNOTATION in annotations and not spec.node_name:
        words = "must set spec.nodeName if mirror pod annotation is set"
        out.append(field.invalid(f"{path}[{MIRROR_ANNOTATION}]", annotations[MIRROR_ANNOTATION], words))
    cost = annotations.get(DELETION_COST_ANNOTATION)
    if cost is not None and not _is_cost(cost):
        out.append(field.invalid(f"{path}[{DELETION_COST_ANNOTATION}]", cost, "must be a 32bit integer"))
    for key, value in annotations.items():
        if key == SECCOMP_ANNOTATION or key.startswith(SECCOMP_CONTAINER_PREFIX):
            _seccomp_annotation(out, f"{path}.{key}", value)
        elif key.startswith(APP_ARMOR_PREFIX):
            name = key.removeprefix(APP_ARMOR_PREFIX)
            if not any(c.name == name for _, c in security.every_container(spec, "")):
                out.append(field.invalid(f"{path}[{key}]", name, "container not found"))
            if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
                words = f"invalid AppArmor profile name: {field.quoted(value)}"
                out.append(field.invalid(f"{path}[{key}]", value, words))


def _is_cost(text: str) -> bool:
    digits = text.removeprefix("-")
    good = digits.isdigit() and digits.isascii() and (digits == "0" or digits[0] != "0") and len(digits) < 11
    return good and -MAX_INT32 - 1 <= int(text) <= MAX_INT32


def _seccomp_annotation(out: list[Cause], path: str, value: str) -> None:
    if value in ("runtime/default", "docker/default", "unconfined"):
        return
    if value.startswith("localhost/"):
        paths.local_descending(out, path, value.removeprefix("localhost/"))
    else:
        out.append(field.invalid(path, value, "must be a valid seccomp profile"))


def _profiles_match(out: list[Cause], annotations: Mapping[str, str], spec: core_v1.PodSpec, path: str) -> None:
    """Where a profile is given in an annotation and in a field, they must agree."""
    context = spec.security_context
    if context is not None and context.seccomp_profile is not None and SECCOMP_ANNOTATION in annotations:
        here = f"{path}.securityContext.seccompProfile"
        _profile_matches(out, here, "seccomp", annotations[SECCOMP_ANNOTATION], context.seccomp_profile)
    own_armor = context.app_armor_profile if context is not None else None
    for here, container in security.every_container(spec, path):
        inner = container.security_context
        profile = inner.seccomp_profile if inner is not None else None
        annotation = annotations.get(SECCOMP_CONTAINER_PREFIX + container.name)
        if profile is not None and annotation is not None:
            _profile_matches(out, f"{here}.securityContext.seccompProfile", "seccomp", annotation, profile)
    if spec.os is not None and spec.os.name == "windows":
        return
    for here, container in security.every_container(spec, path):
        inner = container.security_context
        armor = inner.app_armor_profile if inner is not None and inner.app_armor_profile is not None else own_armor
        annotation = annotations.get(APP_ARMOR_PREFIX + container.name)
        if armor is not None and annotation is not None:
            _profile_matches(out, f"{here}.securityContext.appArmorProfile", "apparmor", annotation, armor)


def _profile_matches(out: list[Cause], path: str, what: str, annotation: str, profile: Any) -> None:
    default = ("runtime/default", "docker/default") if what == "seccomp" else ("runtime/default",)
    allowed = {"Unconfined": ("unconfined",), "RuntimeDefault": default}.get(profile.type)
    if allowed is not None:
        matches = annotation in allowed
    else:
        matches = profile.type != "Localhost" or annotation.startswith("localhost/")
    if not matches:
        out.append(field.forbidden(f"{path}.type", f"{what} type in annotation and field must match"))
    elif profile.type == "Localhost" and annotation.removeprefix("localhost/") != profile.localhost_profile:
        words = f"{what} profile in annotation and field must match"
        out.append(field.forbidden(f"{path}.localhostProfile", words))


def pod_spec(out: list[Cause], path: str, spec: core_v1.PodSpec, pod: meta_v1.ObjectMeta | None) -> None:
    """The spec of a Pod, or of a template (then `pod` is None)."""
    if spec.termination_grace_period_seconds is None:
        out.append(field.required(f"{path}.terminationGracePeriodSeconds"))
    known = volumes.volumes(out, f"{path}.volumes", spec.volumes, pod) if spec.volumes else {}
    claims = [claim.name for claim in spec.resource_claims if claim.name]
    if spec.resource_claims:
        _resource_claims(out, f"{path}.resourceClaims", spec.resource_claims)
    around = Surroundings(
        known, claims, spec.termination_grace_period_seconds, spec.restart_policy, spec.host_users is not False
    )
    containers.regular(out, f"{path}.containers", spec.containers, around)
    if spec.init_containers:
        containers.initial(out, f"{path}.initContainers", spec.init_containers, spec.containers, around)
    if spec.ephemeral_containers:
        others = [*spec.containers, *spec.init_containers]
        containers.ephemeral(out, f"{path}.ephemeralContainers", spec.ephemeral_containers, others, around)
    if spec.resources is not None:
        _pod_resources(out, f"{path}.resources", spec, claims)
    if spec.host_network:
        _host_network_ports(out, path, spec, is_pod=pod is not None)
    _enumeration(out, f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    _enumeration(out, f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES)
    if spec.node_selector:
        meta.labels(out, f"{path}.nodeSelector", spec.node_selector)
    security.pod_context(out, f"{path}.securityContext", spec)
    if spec.affinity is not None:
        scheduling.affinity(out, f"{path}.affinity", spec.affinity)
    if spec.dns_config is not None or spec.dns_policy == "None":
        _dns_config(out, f"{path}.dnsConfig", spec)
    for i, readiness in enumerate(spec.readiness_gates):
        here = f"{path}.readinessGates[{i}].conditionType"
        meta.wrong_name(out, here, readiness.condition_type, names.qualified_name(readiness.condition_type))
    if spec.scheduling_gates:
        _scheduling_gates(out, f"{path}.schedulingGates", spec.scheduling_gates)
    if spec.topology_spread_constraints:
        scheduling.spread(out, f"{path}.topologySpreadConstraints", spec.topology_spread_constraints)
    _windows_host_process(out, path, spec)
    security.host_users(out, path, spec)
    _references(out, path, spec)
    _rest(out, path, spec)


def _windows_host_process(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    contexts: list[Any] = [spec.security_context]
    contexts += [container.security_context for container in spec.containers]
    if spec.init_containers or spec.ephemeral_containers:
        contexts += [container.security_context for _, container in security.every_container(spec, path)]
    if any(context is not None and context.windows_options is not None for context in contexts):
        security.host_process(out, path, spec)


def _references(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    if spec.service_account_name and (wrong := names.dns_subdomain(spec.service_account_name)):
        meta.wrong_name(out, f"{path}.serviceAccountName", spec.service_account_name, wrong)
    if spec.node_name:
        meta.wrong_name(out, f"{path}.nodeName", spec.node_name, names.dns_subdomain(spec.node_name))
    seconds = spec.active_deadline_seconds
    if seconds is not None and not 1 <= seconds <= MAX_INT32:
        words = f"must be between 1 and {MAX_INT32}, inclusive"
        out.append(field.invalid(f"{path}.activeDeadlineSeconds", seconds, words))
    if spec.hostname:
        meta.wrong_name(out, f"{path}.hostname", spec.hostname, names.dns_label(spec.hostname))
    if spec.subdomain:
        meta.wrong_name(out, f"{path}.subdomain", spec.subdomain, names.dns_label(spec.subdomain))


def _rest(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    if spec.tolerations:
        scheduling.tolerations(out, f"{path}.tolerations", spec.tolerations)
    for i, alias in enumerate(spec.host_aliases):
        address(out, f"{path}.hostAliases[{i}].ip", alias.ip)
        for j, hostname in enumerate(alias.hostnames):
            here = f"{path}.hostAliases[{i}].hostnames[{j}]"
            meta.wrong_name(out, here, hostname, names.dns_subdomain(hostname))
    if spec.priority_class_name:
        wrong = names.dns_subdomain(spec.priority_class_name)
        meta.wrong_name(out, f"{path}.priorityClassName", spec.priority_class_name, wrong)
    if spec.runtime_class_name is not None:
        wrong = names.dns_subdomain(spec.runtime_class_name)
        meta.wrong_name(out, f"{path}.runtimeClassName", spec.runtime_class_name, wrong)
    if spec.preemption_policy is not None:
        supported = ("PreemptLowerPriority", "Never")
        _enumeration(out, f"{path}.preemptionPolicy", spec.preemption_policy, supported)
    if spec.overhead:
        resources.requirements(out, f"{path}.overhead", core_v1.ResourceRequirements(limits=spec.overhead))
    if spec.os is not None:
        security.operating_system(out, path, spec)
    if spec.hostname_override is not None:
        _hostname_override(out, path, spec)


def _hostname_override(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    """Source: KEP-4762."""
    here, name = f"{path}.hostnameOverride", spec.hostname_override or ""
    meta.wrong_name(out, here, name, names.dns_subdomain(name))
    if len(name) > 64:
        out.append(field.too_long(here, 64))
    if spec.host_network:
        out.append(field.invalid(here, name, "may not be set when `hostNetwork` is true"))
    if spec.set_hostname_as_fqdn:
        out.append(field.invalid(here, name, "may not be set when `setHostnameAsFQDN` is true"))


def _enumeration(out: list[Cause], path: str, value: str, supported: Sequence[str]) -> None:
    if value not in supported:
        out.append(field.not_supported(path, value, supported) if value else field.required(path))


def address(out: list[Cause], path: str, value: str) -> None:
    """An IP address."""
    out += [field.invalid(path, value, words) for words in names.ip(value)]


def _resource_claims(out: list[Cause], path: str, claims: Sequence[core_v1.PodResourceClaim]) -> None:
    taken: set[str] = set()
    for i, claim in enumerate(claims):
        here = f"{path}[{i}]"
        if not claim.name:
            out.append(field.required(f"{here}.name"))
        elif claim.name in taken:
            out.append(field.duplicate(f"{here}.name", claim.name))
        else:
            meta.wrong_name(out, f"{here}.name", claim.name, names.dns_label(claim.name))
        taken.add(claim.name)
        one, other = claim.resource_claim_name, claim.resource_claim_template_name
        shown = {"Name": claim.name, "ResourceClaimName": one, "ResourceClaimTemplateName": other}
        if one is not None and other is not None:
            words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            out.append(field.invalid(here, shown, words))
        if one is None and other is None:
            words = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            out.append(field.invalid(here, shown, words))
        if one is not None:
            meta.wrong_name(out, f"{here}.resourceClaimName", one, names.dns_subdomain(one))
        if other is not None:
            meta.wrong_name(out, f"{here}.resourceClaimTemplateName", other, names.dns_subdomain(other))


def _pod_resources(out: list[Cause], path: str, spec: core_v1.PodSpec, claims: Sequence[str]) -> None:
    """Source: KEP-2837."""
    wanted = spec.resources
    assert wanted is not None
    if wanted.claims:
        out.append(field.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level"))
    resources.requirements(out, path, wanted, claims, resources.pod_resource_name)
    for name, amount in qos.aggregate_requests(spec).items():
        if name not in ("cpu", "memory") and not resources.is_huge_page(name):
            continue
        own = wanted.requests.get(name, "0")
        if quantity.compare(amount, own) > 0:
            words = f"must be greater than or equal to aggregate container requests of {amount}"
            out.append(field.invalid(f"{path}.requests[{name}]", str(own), words))
    for i, container in enumerate(spec.containers):
        for name, amount in container.resources.limits.items():
            limit = wanted.limits.get(name)
            if limit is not None and quantity.compare(amount, limit) > 0:
                here = f"{path}.containers[{i}][{name}].limits"
                out.append(field.invalid(here, str(amount), f"must be less than or equal to pod limits of {limit}"))


def _host_network_ports(out: list[Cause], path: str, spec: core_v1.PodSpec, *, is_pod: bool) -> None:
    for i, container in enumerate(spec.containers):
        for j, port in enumerate(container.ports):
            if (is_pod or port.host_port) and port.host_port != port.container_port:
                words = "must match `containerPort` when `hostNetwork` is true"
                out.append(field.invalid(f"{path}.containers[{i}].ports[{j}].hostPort", port.host_port, words))


def _dns_config(out: list[Cause], path: str, spec: core_v1.PodSpec) -> None:
    config = spec.dns_config
    if config is None:
        out.append(field.required(path, "must provide `dnsConfig` when `dnsPolicy` is None"))
        return
    if spec.dns_policy == "None" and not config.nameservers:
        words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        out.append(field.required(f"{path}.nameservers", words))
        return
    if len(config.nameservers) > MAX_NAMESERVERS:
        words = f"must not have more than {MAX_NAMESERVERS} nameservers"
        out.append(field.invalid(f"{path}.nameservers", config.nameservers, words))
    for i, server in enumerate(config.nameservers):
        address(out, f"{path}.nameservers[{i}]", server)
    if len(config.searches) > MAX_SEARCH_PATHS:
        words = f"must not have more than {MAX_SEARCH_PATHS} search paths"
        out.append(field.invalid(f"{path}.searches", config.searches, words))
    if len(" ".join(config.searches)) > MAX_SEARCH_CHARACTERS:
        words = f"must not have more than {MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list"
        out.append(field.invalid(f"{path}.searches", config.searches, words))
    for i, search in enumerate(config.searches):
        if search != ".":
            name = search.removesuffix(".")
            meta.wrong_name(out, f"{path}.searches[{i}]", name, names.underscore_subdomain(name))
    for i, option in enumerate(config.options):
        if not option.name:
            out.append(field.required(f"{path}.options[{i}]", "must not be empty"))


def _scheduling_gates(out: list[Cause], path: str, gates: Sequence[core_v1.PodSchedulingGate]) -> None:
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        meta.wrong_name(out, f"{path}[{i}]", gate.name, names.qualified_name(gate.name))
        if gate.name in seen:
            out.append(field.duplicate(f"{path}[{i}]", gate.name))
        seen.add(gate.name)


def replace(struct: Any, **changes: Any) -> Any:
    """A shallow copy with some attributes changed; the original stays as it is."""
    return msgspec.structs.replace(struct, **changes)


def two_families(addresses: Sequence[str]) -> bool:
    """True if there are addresses of IPv4 and of IPv6."""
    parsed = [names.parse_ip(a) for a in addresses]
    return {type(a) for a in parsed} == {ipaddress.IPv4Address, ipaddress.IPv6Address}
