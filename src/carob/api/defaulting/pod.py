"""Defaults of Pods and of everything that contains a Pod template.

A Pod gets more than a template: requests that follow from limits, host ports of the host network, service links.

Source: `pkg/apis/core/v1/defaults.go`.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from carob.api import quantity
from carob.api.images import default_pull_policy
from carob.api.qos import aggregate_requests
from carob.api.types import core_v1

if TYPE_CHECKING:
    from carob.api.scalars import Quantity

OVERCOMMITTED = ("cpu", "memory")

_VOLUME_SOURCES = tuple(name for name in core_v1.Volume.__struct_fields__ if name != "name")
_volume_sources = attrgetter(*_VOLUME_SOURCES)
# sources whose fields have defaults; the others need no look
_RARE_SOURCES = ("iscsi", "rbd", "azure_disk", "scale_io")


def pod(obj: core_v1.Pod) -> None:
    """Defaults of a Pod."""
    spec = obj.spec
    for containers in (spec.containers, spec.init_containers):
        for container in containers:
            limits, requests = container.resources.limits, container.resources.requests
            if limits:
                for name, value in limits.items():
                    if name not in requests:
                        requests[name] = value
    if spec.resources is not None:
        _pod_level_resources(obj)
    if spec.enable_service_links is None:
        spec.enable_service_links = True
    if spec.host_network:
        for containers in (spec.containers, spec.init_containers):
            for container in containers:
                for port in container.ports:
                    port.host_port = port.host_port or port.container_port
    pod_spec(spec)


def pod_template(template: core_v1.PodTemplateSpec) -> None:
    """Defaults of a Pod template."""
    pod_spec(template.spec)


def pod_spec(spec: core_v1.PodSpec) -> None:
    """Defaults that Pods and templates share."""
    if not spec.dns_policy:
        spec.dns_policy = "ClusterFirst"
    if not spec.restart_policy:
        spec.restart_policy = "Always"
    if spec.security_context is None:
        spec.security_context = core_v1.PodSecurityContext()
    if spec.termination_grace_period_seconds is None:
        spec.termination_grace_period_seconds = 30
    if not spec.scheduler_name:
        spec.scheduler_name = "default-scheduler"
    # what a ServiceAccount is called was changed once; both fields are kept equal
    if spec.service_account_name or spec.service_account:
        spec.service_account_name = spec.service_account_name or spec.service_account
        spec.service_account = spec.service_account_name
    for volume in spec.volumes:
        _volume(volume)
    for init_container in spec.init_containers:
        _container(init_container)
    for container in spec.containers:
        _container(container)
    for ephemeral_container in spec.ephemeral_containers:
        _container(ephemeral_container)
    if spec.overhead:
        round_up(spec.overhead)
    if spec.resources is not None:
        round_up(spec.resources.limits)
        round_up(spec.resources.requests)


def round_up(resources: dict[str, Quantity]) -> None:
    """Resource lists know nothing smaller than a thousandth."""
    for name, value in resources.items():
        rounded = quantity.rounded_to_milli(value)
        if rounded != value:
            resources[name] = rounded


def _container(container: core_v1.Container | core_v1.EphemeralContainer) -> None:
    if not container.image_pull_policy:
        container.image_pull_policy = default_pull_policy(container.image)
    if not container.termination_message_path:
        container.termination_message_path = "/dev/termination-log"
    if not container.termination_message_policy:
        container.termination_message_policy = "File"
    for port in container.ports:
        if not port.protocol:
            port.protocol = "TCP"
    resources = container.resources
    if resources.limits:
        round_up(resources.limits)
    if resources.requests:
        round_up(resources.requests)
    for variable in container.env:
        if variable.value_from is not None:
            _env_source(variable.value_from)
    for probe in (container.liveness_probe, container.readiness_probe, container.startup_probe):
        if probe is not None:
            _probe(probe)
    if container.lifecycle is not None:
        for handler in (container.lifecycle.post_start, container.lifecycle.pre_stop):
            if handler is not None and handler.http_get is not None:
                _http_get(handler.http_get)


def _env_source(source: core_v1.EnvVarSource) -> None:
    if source.field_ref is not None and not source.field_ref.api_version:
        source.field_ref.api_version = "v1"
    if source.file_key_ref is not None and source.file_key_ref.optional is None:
        source.file_key_ref.optional = False


def _probe(probe: core_v1.Probe) -> None:
    probe.timeout_seconds = probe.timeout_seconds or 1
    probe.period_seconds = probe.period_seconds or 10
    probe.success_threshold = probe.success_threshold or 1
    probe.failure_threshold = probe.failure_threshold or 3
    if probe.http_get is not None:
        _http_get(probe.http_get)
    if probe.grpc is not None and probe.grpc.service is None:
        probe.grpc.service = ""


def _http_get(action: core_v1.HTTPGetAction) -> None:
    action.path = action.path or "/"
    action.scheme = action.scheme or "HTTP"


def _volume(volume: core_v1.Volume) -> None:
    if not any(_volume_sources(volume)):
        volume.empty_dir = core_v1.EmptyDirVolumeSource()
        return
    if volume.config_map is not None:
        volume.config_map.default_mode = (
            420 if volume.config_map.default_mode is None else volume.config_map.default_mode
        )
    if volume.secret is not None:
        volume.secret.default_mode = 420 if volume.secret.default_mode is None else volume.secret.default_mode
    if volume.projected is not None:
        _projected(volume.projected)
    if volume.downward_api is not None:
        downward = volume.downward_api
        downward.default_mode = 420 if downward.default_mode is None else downward.default_mode
        _downward_items(downward.items)
    if volume.host_path is not None and volume.host_path.type is None:
        volume.host_path.type = ""
    if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is not None:
        claim_spec(volume.ephemeral.volume_claim_template.spec)
    if volume.image is not None and not volume.image.pull_policy:
        volume.image.pull_policy = default_pull_policy(volume.image.reference)
    for name in _RARE_SOURCES:
        storage_source(name, getattr(volume, name))


def _projected(projected: core_v1.ProjectedVolumeSource) -> None:
    if projected.default_mode is None:
        projected.default_mode = 420
    for source in projected.sources:
        if source.service_account_token is not None and source.service_account_token.expiration_seconds is None:
            source.service_account_token.expiration_seconds = 3600
        if source.downward_api is not None:
            _downward_items(source.downward_api.items)
        if source.pod_certificate is not None and source.pod_certificate.max_expiration_seconds is None:
            source.pod_certificate.max_expiration_seconds = 86400


def _downward_items(items: list[core_v1.DownwardAPIVolumeFile]) -> None:
    for item in items:
        if item.field_ref is not None and not item.field_ref.api_version:
            item.field_ref.api_version = "v1"


def claim_spec(spec: core_v1.PersistentVolumeClaimSpec) -> None:
    """Defaults of a claim, alone or as a template."""
    if spec.volume_mode is None:
        spec.volume_mode = "Filesystem"
    round_up(spec.resources.limits)
    round_up(spec.resources.requests)


def storage_source(name: str, source: object) -> None:
    """Defaults of a network volume source, which Pods and PersistentVolumes share."""
    if source is None:
        return
    wanted = _STORAGE_DEFAULTS[name]
    for attribute, value in wanted.items():
        if getattr(source, attribute) in ("", None):
            setattr(source, attribute, value)


_STORAGE_DEFAULTS: dict[str, dict[str, object]] = {
    "iscsi": {"iscsi_interface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azure_disk": {"caching_mode": "ReadWrite", "kind": "Shared", "fs_type": "ext4", "read_only": False},
    "scale_io": {"storage_mode": "ThinProvisioned", "fs_type": "xfs"},
}


def _pod_level_resources(obj: core_v1.Pod) -> None:
    """Requests of the whole Pod follow from those of its containers, else from the Pod's limits.

    Source: KEP-2837, pod-level resources.
    """
    resources = obj.spec.resources
    assert resources is not None
    for container in (*obj.spec.containers, *obj.spec.init_containers):
        for name, value in container.resources.limits.items():
            if name.startswith("hugepages-") and name not in resources.limits:
                total = quantity.canonical("0")
                for one in obj.spec.containers:
                    total = quantity.add(total, one.resources.limits.get(name, "0"))
                resources.limits[name] = max((total, value), key=quantity.nano)
    if not resources.limits:
        return
    for name, value in aggregate_requests(obj.spec).items():
        if name not in resources.requests and name in OVERCOMMITTED:
            resources.requests[name] = value
    for name, value in resources.limits.items():
        if name not in resources.requests and (name in OVERCOMMITTED or name.startswith("hugepages-")):
            resources.requests[name] = value
