"""What a node's agent may do: its own Node and lease, and what the Pods that run on it refer to; nothing else.

The graph from nodes over Pods to secrets and the like is brought up to date when a node asks, from the keys of the Pods
that changed since: a server whose nodes do not ask pays one set insertion a Pod write.

Source: kubernetes `plugin/pkg/auth/authorizer/node/node_authorizer.go`, `graph.go`; KEP-279.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from carob.api.resources import Resource
from carob.apiserver.authn.service_accounts import PODS, row
from carob.apiserver.authz import rules as policy
from carob.apiserver.authz.questions import Decision, Question
from carob.apiserver.request_info import exact_match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from carob.api.types.rbac_v1 import PolicyRule
    from carob.api.user import UserInfo
    from carob.apiserver.types import Reader

NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
MIRROR_POD = "kubernetes.io/config.mirror"
LEASE_NAMESPACE = "kube-node-lease"
CLAIMS = row("", "v1", "persistentvolumeclaims")
VOLUMES = row("", "v1", "persistentvolumes")
ATTACHMENTS = row("storage.k8s.io", "v1", "volumeattachments")

ALLOW = Decision(True)
NO_OPINION = Decision(False)
Target = tuple[str, str, str]
"""Plural name, namespace, name."""


def node_name(user: UserInfo) -> str:
    """The node that a user is; empty if it is none."""
    if user.name.startswith(NODE_PREFIX) and NODES_GROUP in user.groups:
        return user.name[len(NODE_PREFIX) :]
    return ""


def references(pod: Any) -> Iterator[Target]:
    """What a Pod's agent must read to run it: secrets, config maps, claims, its service account."""
    namespace, spec = pod.metadata.namespace, pod.spec
    if spec.service_account_name:
        yield "serviceaccounts", namespace, spec.service_account_name
    for secret in spec.image_pull_secrets:
        yield "secrets", namespace, secret.name
    for container in (*spec.init_containers, *spec.containers, *spec.ephemeral_containers):
        yield from _container_references(namespace, container)
    for volume in spec.volumes:
        yield from _volume_references(pod, volume)
    for claim in spec.resource_claims:
        if claim.resource_claim_name:
            yield "resourceclaims", namespace, claim.resource_claim_name
    for status in pod.status.resource_claim_statuses:
        if status.resource_claim_name:
            yield "resourceclaims", namespace, status.resource_claim_name
    extended = pod.status.extended_resource_claim_status
    if extended is not None and extended.resource_claim_name:
        yield "resourceclaims", namespace, extended.resource_claim_name


def _container_references(namespace: str, container: Any) -> Iterator[Target]:
    for source in container.env_from:
        if source.secret_ref is not None:
            yield "secrets", namespace, source.secret_ref.name
        if source.config_map_ref is not None:
            yield "configmaps", namespace, source.config_map_ref.name
    for variable in container.env:
        if variable.value_from is None:
            continue
        if variable.value_from.secret_key_ref is not None:
            yield "secrets", namespace, variable.value_from.secret_key_ref.name
        if variable.value_from.config_map_key_ref is not None:
            yield "configmaps", namespace, variable.value_from.config_map_key_ref.name


def _volume_references(pod: Any, volume: Any) -> Iterator[Target]:
    namespace = pod.metadata.namespace
    if volume.secret is not None:
        yield "secrets", namespace, volume.secret.secret_name
    if volume.config_map is not None:
        yield "configmaps", namespace, volume.config_map.name
    if volume.persistent_volume_claim is not None:
        yield "persistentvolumeclaims", namespace, volume.persistent_volume_claim.claim_name
    if volume.ephemeral is not None:
        yield "persistentvolumeclaims", namespace, f"{pod.metadata.name}-{volume.name}"
    if volume.csi is not None and volume.csi.node_publish_secret_ref is not None:
        yield "secrets", namespace, volume.csi.node_publish_secret_ref.name
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.secret is not None:
            yield "secrets", namespace, source.secret.name
        if source.config_map is not None:
            yield "configmaps", namespace, source.config_map.name


class PodGraph:
    """Which node may see which object because one of its Pods refers to it."""

    DIRTY_LIMIT = 4096

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._dirty: set[tuple[str, str]] = set()
        self._all_dirty = True
        self._edges_of_pod: dict[tuple[str, str], tuple[str, tuple[Target, ...]]] = {}
        self._targets: dict[str, Counter[Target]] = {}
        reader.on_change(PODS, self._changed)

    def _changed(self, namespace: str, name: str) -> None:
        if self._all_dirty:
            return
        self._dirty.add((namespace, name))
        if len(self._dirty) > self.DIRTY_LIMIT:
            self._all_dirty = True
            self._dirty.clear()

    def has(self, node: str, target: Target) -> bool:
        """Whether a Pod on the node is, or refers to, the target."""
        self._catch_up()
        return target in self._targets.get(node, ())

    def targets(self, node: str, plural: str) -> Iterator[Target]:
        """Everything of one resource that the node's Pods refer to."""
        self._catch_up()
        return (t for t in tuple(self._targets.get(node, ())) if t[0] == plural)

    def _catch_up(self) -> None:
        if self._all_dirty:
            self._all_dirty = False
            self._edges_of_pod.clear()
            self._targets.clear()
            for pod in self._reader.list(PODS):
                self._link(pod)
            return
        while self._dirty:
            key = self._dirty.pop()
            node, edges = self._edges_of_pod.pop(key, ("", ()))
            if edges:
                self._targets[node].subtract(edges)
                self._targets[node] = +self._targets[node]
            pod = self._reader.get(PODS, *key)
            if pod is not None:
                self._link(pod)

    def _link(self, pod: Any) -> None:
        node, metadata = pod.spec.node_name, pod.metadata
        if not node:
            return
        own: Target = ("pods", metadata.namespace, metadata.name)
        # a mirror Pod is made by the node itself: it must not open doors that the node could choose
        edges = (own,) if MIRROR_POD in metadata.annotations else (own, *references(pod))
        self._edges_of_pod[metadata.namespace, metadata.name] = (node, edges)
        self._targets.setdefault(node, Counter()).update(edges)


class NodeAuthorizer:
    """Decides for nodes alone; for everybody else it has no opinion."""

    LIMIT = 2048

    def __init__(self, reader: Reader, rules: Sequence[PolicyRule]) -> None:
        self._reader = reader
        self._graph = PodGraph(reader)
        self._rules = rules
        self._known: dict[tuple[str, str, str], bool] = {}
        self._by_resource: dict[tuple[str, str], Callable[[str, Question], Decision]] = {
            ("", "secrets"): self._read,
            ("", "configmaps"): self._read,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("", "serviceaccounts"): self._token,
            ("coordination.k8s.io", "leases"): _lease,
            ("storage.k8s.io", "csinodes"): _csi_node,
            ("resource.k8s.io", "resourceslices"): _resource_slice,
            ("", "nodes"): _node,
            ("", "pods"): self._pod,
        }

    def decide(self, node: str, asked: Question) -> Decision:
        """The decision for the node of this name."""
        special = self._by_resource.get((asked.group, asked.resource)) if asked.resource else None
        if special is not None:
            return special(node, asked)
        # these rules name no objects and no namespaces, so few questions are really different
        key = (asked.verb, asked.group, asked.full_resource if asked.resource else asked.path)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self.LIMIT:
                self._known.clear()
            known = self._known[key] = any(policy.allows(rule, asked) for rule in self._rules)
        return ALLOW if known else NO_OPINION

    def _read(self, node: str, asked: Question) -> Decision:
        if asked.verb not in ("get", "list", "watch"):
            return Decision(False, "can only read resources of this type")
        if asked.subresource:
            return Decision(False, "cannot read subresource")
        if not asked.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, asked)

    def _get(self, node: str, asked: Question) -> Decision:
        if asked.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if asked.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, asked)

    def _claim(self, node: str, asked: Question) -> Decision:
        if asked.subresource != "status":
            return self._get(node, asked)
        if asked.verb not in ("update", "patch"):
            return Decision(False, "can only update status of this type")
        return self._related(node, asked)

    def _token(self, node: str, asked: Question) -> Decision:
        if asked.verb != "create" or not asked.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, asked)

    def _pod(self, node: str, asked: Question) -> Decision:
        verb = asked.verb
        if asked.subresource == "":
            if verb == "get":
                return self._get(node, asked)
            if verb in ("list", "watch"):
                if exact_match(asked.field_selector, "spec.nodeName") == node:
                    return ALLOW
                return Decision(False, "can only list/watch pods with spec.nodeName field selector")
            return ALLOW if verb in ("create", "delete") else NO_OPINION
        if asked.subresource == "status":
            return ALLOW if verb in ("update", "patch") else NO_OPINION
        return ALLOW if asked.subresource == "eviction" and verb == "create" else NO_OPINION

    def _related(self, node: str, asked: Question) -> Decision:
        if not asked.name:
            return Decision(False, "No Object name found")
        target = (asked.resource, asked.namespace, asked.name)
        if self._graph.has(node, target) or self._indirectly(node, target):
            return ALLOW
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _indirectly(self, node: str, target: Target) -> bool:
        """Volumes behind claims, secrets behind volumes, and the attachments of the node itself."""
        plural, _, name = target
        if plural == "volumeattachments":
            attachment = self._get_object(ATTACHMENTS, name)
            return attachment is not None and attachment.spec.node_name == node
        if plural == "persistentvolumes":
            return any(volume == name for volume, _ in self._volumes(node))
        if plural == "secrets":
            return any(target in _volume_secrets(volume) for _, volume in self._volumes(node))
        return False

    def _volumes(self, node: str) -> Iterator[tuple[str, Any]]:
        for _, namespace, name in self._graph.targets(node, "persistentvolumeclaims"):
            claim = self._reader.get(CLAIMS, namespace, name)
            if claim is not None and claim.spec.volume_name:
                volume = self._get_object(VOLUMES, claim.spec.volume_name)
                if volume is not None:
                    yield claim.spec.volume_name, volume

    def _get_object(self, resource: Resource, name: str) -> Any | None:
        return self._reader.get(resource, "", name)


def _volume_secrets(volume: Any) -> Iterator[Target]:
    csi = volume.spec.csi
    for name in ("node_publish_secret_ref", "node_stage_secret_ref", "node_expand_secret_ref"):
        reference = getattr(csi, name, None)
        if reference is not None:
            yield "secrets", reference.namespace, reference.name


def _lease(node: str, asked: Question) -> Decision:
    if asked.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a node lease")
    if asked.namespace != LEASE_NAMESPACE:
        return Decision(False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    # the name of a create is in the body: admission looks at it
    if asked.verb != "create" and asked.name != node:
        return Decision(False, "can only access node lease with the same name as the requesting node")
    return ALLOW


def _csi_node(node: str, asked: Question) -> Decision:
    if asked.verb not in ("get", "create", "update", "patch", "delete"):
        return Decision(False, "can only get, create, update, patch, or delete a CSINode")
    if asked.subresource:
        return Decision(False, "cannot authorize CSINode subresources")
    if asked.verb != "create" and asked.name != node:
        return Decision(False, "can only access CSINode with the same name as the requesting node")
    return ALLOW


def _resource_slice(node: str, asked: Question) -> Decision:
    if asked.subresource:
        return Decision(False, "cannot authorize ResourceSlice subresources")
    if asked.verb in ("get", "create", "update", "patch", "delete"):
        return ALLOW
    if asked.verb in ("list", "watch", "deletecollection"):
        if exact_match(asked.field_selector, "spec.nodeName") == node:
            return ALLOW
        return Decision(False, "can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
    return Decision(False, "can only use the get, create, update, patch, delete, list, watch or deletecollection verbs")


def _node(node: str, asked: Question) -> Decision:
    if asked.subresource == "status":
        return ALLOW if asked.verb in ("update", "patch") else NO_OPINION
    if asked.subresource:
        return NO_OPINION
    if asked.verb in ("create", "update", "patch"):
        return ALLOW
    if asked.verb not in ("get", "list", "watch"):
        return NO_OPINION
    if asked.name == node:
        return ALLOW
    if not asked.name:
        return Decision(False, f"node '{node}' cannot read all nodes, only its own Node object")
    return Decision(False, f"node '{node}' cannot read '{asked.name}', only its own Node object")
