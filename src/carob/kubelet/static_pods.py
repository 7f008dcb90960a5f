"""Static Pods: Pods that this node runs because a file says so, whether or not anybody put them into the API.

Pure. A file's Pod gets a uid from what the file says, so that a changed file is another Pod and a file that was only
written again is the same. In the API it shows as a mirror Pod, which nobody can change the real one by.
Source: kubelet `config/{file,common}.go`, `pod/mirror_client.go`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from carob.api import codec
from carob.api.types import core_v1, meta_v1
from carob.base.clock import rfc3339_micro

if TYPE_CHECKING:
    from collections.abc import Iterator

    from carob.api.validation.field import Cause

SOURCE = "kubernetes.io/config.source"
HASH = "kubernetes.io/config.hash"
SEEN = "kubernetes.io/config.seen"
MIRROR = "kubernetes.io/config.mirror"


class BadManifest(ValueError):
    """The file is no Pod that can run here; the message says why."""


def is_static(pod: core_v1.Pod) -> bool:
    """Whether it comes from a file."""
    return pod.metadata.annotations.get(SOURCE) == "file" and MIRROR not in pod.metadata.annotations


def is_mirror(pod: core_v1.Pod) -> bool:
    """Whether it only shows a static Pod."""
    return MIRROR in pod.metadata.annotations


def static_pod(text: bytes, path: str, node_name: str, now: float) -> core_v1.Pod:
    """The Pod of a file's content. Raises: BadManifest."""
    # only nodes with static Pods need these
    from carob.api import defaulting, go_json, yaml_tree
    from carob.api.validation import pod as rules

    try:
        tree = go_json.plain(yaml_tree.parse(text)[0])
        if not isinstance(tree, dict) or tree.get("kind") != "Pod" or tree.get("apiVersion") != "v1":
            raise BadManifest("couldn't parse as pod: object is not a v1 Pod")
        pod = codec.from_tree(core_v1.Pod, tree)
    except (yaml_tree.YamlError, msgspec.ValidationError, ValueError) as error:
        raise BadManifest(str(error)) from error
    if not pod.metadata.name:
        raise BadManifest("metadata.name: Required value: name or generateName is required")
    _complete(pod, path, node_name, now)
    defaulting.default(pod)
    causes: list[Cause] = []
    rules.create(causes, pod)
    reference = next(iter(_references(pod)), "")
    if reference:
        raise BadManifest(f"static pods may not reference {reference}")
    if causes:
        raise BadManifest("; ".join(f"{cause['field']}: {cause['message']}" for cause in causes))
    return pod


def _complete(pod: core_v1.Pod, path: str, node_name: str, now: float) -> None:
    """Source: `applyDefaults` of kubelet's config."""
    metadata, spec = pod.metadata, pod.spec
    pod.status = core_v1.PodStatus(phase="Pending")
    hash_ = hashlib.md5(codec.encode([node_name, path, pod]), usedforsecurity=False).hexdigest()
    metadata.uid = metadata.uid or hash_
    metadata.name = f"{metadata.name}-{node_name.lower()}"
    metadata.namespace = metadata.namespace or "default"
    metadata.annotations = {**metadata.annotations, SOURCE: "file", HASH: hash_, SEEN: rfc3339_micro(now)}
    spec.node_name = node_name
    everything = core_v1.Toleration(operator="Exists", effect="NoExecute")
    if everything not in spec.tolerations:
        spec.tolerations = [*spec.tolerations, everything]


def _references(pod: core_v1.Pod) -> Iterator[str]:
    """Kinds of API objects that the Pod cannot run without; nobody may be able to bring them here."""
    spec = pod.spec
    if spec.service_account_name:
        yield "serviceaccounts"
    for volume in spec.volumes:
        if volume.config_map is not None:
            yield "configmaps"
        if volume.secret is not None:
            yield "secrets"
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
            yield "persistentvolumeclaims"
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.service_account_token is not None:
                yield "serviceaccounts"
            if source.config_map is not None:
                yield "configmaps"
            if source.secret is not None:
                yield "secrets"
    for container in (*spec.init_containers, *spec.containers):
        for everything in container.env_from:
            yield "configmaps" if everything.config_map_ref is not None else "secrets"
        for one in container.env:
            if one.value_from is not None and one.value_from.config_map_key_ref is not None:
                yield "configmaps"
            if one.value_from is not None and one.value_from.secret_key_ref is not None:
                yield "secrets"


def mirror_pod(pod: core_v1.Pod, node: core_v1.Node) -> core_v1.Pod:
    """What the API is shown of a static Pod: it belongs to the node and goes with it."""
    metadata = pod.metadata
    owner = meta_v1.OwnerReference(
        api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            labels=dict(metadata.labels),
            annotations={**metadata.annotations, MIRROR: metadata.annotations[HASH]},
            owner_references=[owner],
        ),
        spec=pod.spec,
    )


def shows(mirror: core_v1.Pod, pod: core_v1.Pod) -> bool:
    """Whether the mirror is this very Pod's, and is to stay."""
    return (
        mirror.metadata.annotations.get(MIRROR) == pod.metadata.annotations[HASH]
        and mirror.metadata.deletion_timestamp is None
    )
