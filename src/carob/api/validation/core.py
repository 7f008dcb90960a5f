"""Rules of the core group's kinds other than Pods and Services. Pure. Source: `pkg/apis/core/validation`."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from carob.api import go_json
from carob.api.types import core_v1
from carob.api.validation import counts, events, field, meta, names, pod, resources, scheduling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from carob.api.validation.field import Cause

MAX_SECRET_BYTES = 1024 * 1024
SERVICE_ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"
_SET_IN_STONE = "field is immutable when `immutable` is set"
_CIDR_SET = 'node updates may not change podCIDR except from "" to valid'


def namespace(out: list[Cause], obj: core_v1.Namespace) -> None:
    """A new Namespace."""
    meta.core(out, obj.metadata, False, names.dns_label)
    for finalizer in obj.spec.finalizers:
        _namespace_finalizer(out, "spec.finalizers", finalizer)


def _namespace_finalizer(out: list[Cause], path: str, finalizer: str) -> None:
    meta.wrong_name(out, path, finalizer, names.qualified_name(finalizer))
    meta.standard_finalizer(out, path, finalizer)


def namespace_update(out: list[Cause], new: core_v1.Namespace, old: core_v1.Namespace) -> None:
    """A changed Namespace."""
    meta.core_updated(out, new.metadata, old.metadata)


def namespace_status(out: list[Cause], new: core_v1.Namespace, old: core_v1.Namespace) -> None:
    """The phase follows the deletion timestamp."""
    meta.core_updated(out, new.metadata, old.metadata)
    wanted, state = ("Active", "empty") if new.metadata.deletion_timestamp is None else ("Terminating", "not empty")
    if new.status.phase != wanted:
        words = f"may only be '{wanted}' if `deletionTimestamp` is {state}"
        out.append(field.invalid("status.Phase", new.status.phase, words))


def namespace_finalize(out: list[Cause], new: core_v1.Namespace, old: core_v1.Namespace) -> None:
    """The finalizers of the content."""
    meta.core_updated(out, new.metadata, old.metadata)
    for i, finalizer in enumerate(new.spec.finalizers):
        _namespace_finalizer(out, f"spec.finalizers[{i}]", finalizer)


def config_map(out: list[Cause], obj: core_v1.ConfigMap) -> None:
    """Keys, and the size of all values."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    size = 0
    for key, text in obj.data.items():
        meta.wrong_name(out, f"data[{key}]", key, names.config_key(key))
        if key in obj.binary_data:
            out.append(field.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    for key, encoded in obj.binary_data.items():
        meta.wrong_name(out, f"binaryData[{key}]", key, names.config_key(key))
        size += _decoded_size(encoded)
    if size > MAX_SECRET_BYTES:
        out.append(field.too_long("[]", MAX_SECRET_BYTES))


def config_map_update(out: list[Cause], new: core_v1.ConfigMap, old: core_v1.ConfigMap) -> None:
    """An immutable ConfigMap stays as it is."""
    meta.core_updated(out, new.metadata, old.metadata)
    if old.immutable:
        if not new.immutable:
            out.append(field.forbidden("immutable", _SET_IN_STONE))
        if new.data != old.data:
            out.append(field.forbidden("data", _SET_IN_STONE))
        if new.binary_data != old.binary_data:
            out.append(field.forbidden("binaryData", _SET_IN_STONE))
    config_map(out, new)


def _decoded_size(encoded: str) -> int:
    return len(encoded) * 3 // 4 - encoded[-2:].count("=")


def secret(out: list[Cause], obj: core_v1.Secret) -> None:
    """Keys, the size of all values, and what each type of Secret must hold."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    size = 0
    for key, encoded in obj.data.items():
        meta.wrong_name(out, f"data[{key}]", key, names.config_key(key))
        size += _decoded_size(encoded)
    if size > MAX_SECRET_BYTES:
        out.append(field.too_long("data", MAX_SECRET_BYTES))
    kind = obj.type
    if kind == "kubernetes.io/service-account-token":
        if not obj.metadata.annotations.get(SERVICE_ACCOUNT_ANNOTATION):
            out.append(field.required(f"metadata.annotations[{SERVICE_ACCOUNT_ANNOTATION}]"))
    elif kind == "kubernetes.io/dockercfg":
        _json_value(out, obj.data, ".dockercfg")
    elif kind == "kubernetes.io/dockerconfigjson":
        _json_value(out, obj.data, ".dockerconfigjson")
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in obj.data and "password" not in obj.data:
            out += [field.required("data[username]"), field.required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth":
        if not obj.data.get("ssh-privatekey"):
            out.append(field.required("data[ssh-privatekey]"))
    elif kind == "kubernetes.io/tls":
        out += [field.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in obj.data]


def _json_value(out: list[Cause], data: Mapping[str, str], key: str) -> None:
    path = f"data[{key}]"
    if key not in data:
        out.append(field.required(path))
        return
    try:
        value = go_json.parse(base64.b64decode(data[key]))
    except (go_json.JsonError, binascii.Error) as error:
        out.append(field.invalid(path, _REDACTED, str(error)))
        return
    if value is not None and not isinstance(value, go_json.Pairs):
        kind = "array" if isinstance(value, list) else "bool" if isinstance(value, bool) else "string"
        kind = "number" if isinstance(value, go_json.Number) else kind
        words = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        out.append(field.invalid(path, _REDACTED, words))


def secret_update(out: list[Cause], new: core_v1.Secret, old: core_v1.Secret) -> None:
    """The type never changes; an immutable Secret stays as it is."""
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "type", new.type, old.type)
    if old.immutable:
        if not new.immutable:
            out.append(field.forbidden("immutable", _SET_IN_STONE))
        if new.data != old.data:
            out.append(field.forbidden("data", _SET_IN_STONE))
    secret(out, new)


def service_account(out: list[Cause], obj: core_v1.ServiceAccount) -> None:
    """A ServiceAccount."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)


def node(out: list[Cause], obj: core_v1.Node) -> None:
    """A new Node."""
    meta.core(out, obj.metadata, False, names.dns_subdomain)
    if obj.spec.taints:
        scheduling.taints(out, "metadata.taints", obj.spec.taints)
    _node_resources(out, obj)
    if obj.spec.pod_cidrs:
        _pod_cidrs(out, obj.spec.pod_cidrs)


def _pod_cidrs(out: list[Cause], ranges: list[str]) -> None:
    for i, text in enumerate(ranges):
        out += [field.invalid(f"spec.podCIDRs[{i}]", text, words) for words in names.cidr(text)]
    if len(ranges) > 1:
        parsed = [names.parse_cidr(text) for text in ranges]
        families = {p.version for p in parsed if p is not None}
        if families != {4, 6} or len(ranges) > 2:
            words = "may specify no more than one CIDR for each IP family"
            out.append(field.invalid("spec.podCIDRs", ranges, words))
        again = field.repeated(ranges)
        for i, text in enumerate(ranges):
            if again[i]:
                out.append(field.duplicate(f"spec.podCIDRs[{i}]", text))


def _node_resources(out: list[Cause], obj: core_v1.Node) -> None:
    for name, found in (("capacity", obj.status.capacity), ("allocatable", obj.status.allocatable)):
        for key, amount in found.items():
            resources.value(out, f"status.{name}.{key}", key, amount)


def node_update(out: list[Cause], new: core_v1.Node, old: core_v1.Node) -> None:
    """A changed Node, or its status: what was assigned once stays."""
    meta.core_updated(out, new.metadata, old.metadata)
    _node_resources(out, new)
    seen: set[tuple[str, str]] = set()
    for i, place in enumerate(new.status.addresses):
        key = (place.type, place.address)
        if key in seen:
            shown = {"Type": place.type, "Address": place.address}
            out.append(field.duplicate(f"status.addresses[{i}]", shown))
        seen.add(key)
    if old.spec.pod_cidrs:
        if len(old.spec.pod_cidrs) != len(new.spec.pod_cidrs):
            out.append(field.forbidden("spec.podCIDRs", _CIDR_SET))
        else:
            for was, now in zip(old.spec.pod_cidrs, new.spec.pod_cidrs, strict=True):
                if was != now:
                    out.append(field.forbidden("spec.podCIDRs", _CIDR_SET))
    if old.spec.provider_id and old.spec.provider_id != new.spec.provider_id:
        words = 'node updates may not change providerID except from "" to valid'
        out.append(field.forbidden("spec.providerID", words))
    if new.spec.taints:
        scheduling.taints(out, "metadata.taints", new.spec.taints)
    if new.spec.external_id != old.spec.external_id:
        out.append(field.forbidden("spec.externalID", "may not be updated"))


def pod_template(out: list[Cause], obj: core_v1.PodTemplate) -> None:
    """A PodTemplate."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    pod.template(out, "template", obj.template)


def pod_template_update(out: list[Cause], new: core_v1.PodTemplate, old: core_v1.PodTemplate) -> None:
    """A changed PodTemplate."""
    meta.core_updated(out, new.metadata, old.metadata)
    pod.template(out, "template", new.template)


def replication_controller(out: list[Cause], obj: core_v1.ReplicationController) -> None:
    """A new ReplicationController."""
    meta.core(out, obj.metadata, True, names.dns_subdomain)
    _controller_spec(out, obj.spec)


def replication_controller_update(
    out: list[Cause], new: core_v1.ReplicationController, old: core_v1.ReplicationController
) -> None:
    """A changed ReplicationController."""
    meta.core_updated(out, new.metadata, old.metadata)
    _controller_spec(out, new.spec)


def _controller_spec(out: list[Cause], spec: core_v1.ReplicationControllerSpec) -> None:
    meta.non_negative(out, "spec.minReadySeconds", spec.min_ready_seconds)
    if not spec.selector:
        out.append(field.required("spec.selector"))
    meta.non_negative(out, "spec.replicas", spec.replicas or 0)
    template = spec.template
    if template is None:
        out.append(field.required("spec.template"))
        return
    labels = template.metadata.labels
    if spec.selector and any(labels.get(k) != v for k, v in spec.selector.items()):
        words = "`selector` does not match template `labels`"
        out.append(field.invalid("spec.template.metadata.labels", field.map_or_null(labels), words))
    pod.template(out, "spec.template", template)
    if template.spec.restart_policy != "Always":
        out.append(field.not_supported("spec.template.spec.restartPolicy", template.spec.restart_policy, ("Always",)))
    if template.spec.active_deadline_seconds is not None:
        words = "activeDeadlineSeconds in ReplicationController is not Supported"
        out.append(field.forbidden("spec.template.spec.activeDeadlineSeconds", words))


def _controller_status(
    out: list[Cause], new: core_v1.ReplicationController, old: core_v1.ReplicationController
) -> None:
    meta.core_updated(out, new.metadata, old.metadata)
    counts.replicas(out, new.status, "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def binding(out: list[Cause], obj: core_v1.Binding) -> None:
    """A Binding to a node."""
    from carob.api.validation import pod_update

    pod_update.binding(out, obj)


def _updated_like_created(create: Any) -> Any:
    def update(out: list[Cause], new: Any, old: Any) -> None:
        meta.core_updated(out, new.metadata, old.metadata)
        create(out, new)

    return update


CREATE: dict[type[Any], Any] = {
    core_v1.Pod: pod.create,
    core_v1.Namespace: namespace,
    core_v1.ConfigMap: config_map,
    core_v1.Secret: secret,
    core_v1.ServiceAccount: service_account,
    core_v1.Node: node,
    core_v1.Event: events.core_event,
    core_v1.PodTemplate: pod_template,
    core_v1.ReplicationController: replication_controller,
    core_v1.Binding: binding,
}


def _pod_update(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
    from carob.api.validation import pod_update

    pod_update.update(out, new, old)


def _pod_subresource(name: str) -> Any:
    def run(out: list[Cause], new: core_v1.Pod, old: core_v1.Pod) -> None:
        from carob.api.validation import pod_update

        getattr(pod_update, name)(out, new, old)

    return run


UPDATE: dict[tuple[type[Any], str], Any] = {
    (core_v1.Pod, ""): _pod_update,
    (core_v1.Pod, "status"): _pod_subresource("status"),
    (core_v1.Pod, "ephemeralcontainers"): _pod_subresource("ephemeral_containers"),
    (core_v1.Pod, "resize"): _pod_subresource("resize"),
    (core_v1.Namespace, ""): namespace_update,
    (core_v1.Namespace, "status"): namespace_status,
    (core_v1.Namespace, "finalize"): namespace_finalize,
    (core_v1.ConfigMap, ""): config_map_update,
    (core_v1.Secret, ""): secret_update,
    (core_v1.ServiceAccount, ""): _updated_like_created(service_account),
    (core_v1.Node, ""): node_update,
    (core_v1.Node, "status"): node_update,
    (core_v1.Event, ""): events.core_event_update,
    (core_v1.PodTemplate, ""): pod_template_update,
    (core_v1.ReplicationController, ""): replication_controller_update,
    (core_v1.ReplicationController, "status"): _controller_status,
}
