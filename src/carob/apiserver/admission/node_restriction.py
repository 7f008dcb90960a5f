"""NodeRestriction: a node's agent writes about its own Node, its own Pods, its own lease, and about nothing else.

Source: kubernetes `plugin/pkg/admission/noderestriction/admission.go`; KEP-279, KEP-1205.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.apiserver.admission.refusals import PODS, refused
from carob.apiserver.authz.node import LEASE_NAMESPACE, MIRROR_POD, NODE_PREFIX, NODES_GROUP
from carob.apiserver.types import Operation

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.types import Attributes, Reader

_RESTRICTED = "node-restriction.kubernetes.io"
_OWN_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "node.kubernetes.io/exclude-disruption",
    )
)


def own_node(user: UserInfo) -> str | None:
    """The node that the user is; empty for a node without a name, None for everybody else."""
    if NODES_GROUP not in user.groups:
        return None
    return user.name[len(NODE_PREFIX) :] if user.name.startswith(NODE_PREFIX) else ""


def forbidden_labels(labels: dict[str, str]) -> set[str]:
    """Labels that a node may not set about itself."""
    found = set()
    for key in labels:
        prefix, slash, _ = key.partition("/")
        if not slash:
            continue
        if prefix == _RESTRICTED or prefix.endswith("." + _RESTRICTED):
            found.add(key)
        elif prefix in ("kubernetes.io", "k8s.io") or prefix.endswith((".kubernetes.io", ".k8s.io")):
            free = prefix in ("kubelet.kubernetes.io", "node.kubernetes.io") or prefix.endswith(
                (".kubelet.kubernetes.io", ".node.kubernetes.io")
            )
            if key not in _OWN_LABELS and not free:
                found.add(key)
    return found


class NodeRestriction:
    """See the module."""

    name = "NodeRestriction"
    phases = ("admit",)
    handles = frozenset(
        (
            ("", "pods"),
            ("", "nodes"),
            ("", "serviceaccounts"),
            ("coordination.k8s.io", "leases"),
            ("storage.k8s.io", "csinodes"),
            ("resource.k8s.io", "resourceslices"),
        )
    )

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rules = {
            ("", "pods"): self._pod,
            ("", "nodes"): self._node,
            ("", "serviceaccounts"): self._token,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._slice,
        }

    def admit(self, attributes: Attributes) -> None:
        """Refuse a node that writes about others."""
        node = own_node(attributes.user)
        if node is None:
            return
        rule = self._rules.get((attributes.resource.group, attributes.resource.plural))
        if rule is None:
            return
        if not node:
            raise refused(attributes, f'could not determine node from user "{attributes.user.name}"')
        rule(node, attributes)

    def validate(self, attributes: Attributes) -> None:
        """Nothing: `admit` has said it."""

    def _pod(self, node: str, attributes: Attributes) -> None:
        operation, subresource = attributes.operation, attributes.subresource
        if subresource == "":
            if operation is Operation.CREATE:
                self._mirror_pod(node, attributes)
            elif operation is Operation.DELETE:
                self._own_pod(node, attributes, "can only delete pods")
            else:
                raise refused(
                    attributes,
                    f"unexpected operation {operation}, node {_q(node)} can only create and delete mirror pods",
                )
        elif subresource == "status":
            if operation is not Operation.UPDATE:
                raise refused(attributes, f"unexpected operation {operation}")
            self._own_pod(node, attributes, "can only update pod status for pods")
            old, new = attributes.old, attributes.obj
            if old is not None and new is not None and old.metadata.labels != new.metadata.labels:
                raise refused(attributes, f"node {_q(node)} cannot update labels through pod status")
        elif subresource == "eviction":
            self._own_pod(node, attributes, "can only evict pods")
        else:
            raise refused(
                attributes, f"unexpected pod subresource {_q(subresource)}, only 'status' and 'eviction' are allowed"
            )

    def _own_pod(self, node: str, attributes: Attributes, verb: str) -> None:
        pod = self._reader.get(PODS, attributes.namespace, attributes.name)
        if pod is not None and pod.spec.node_name != node:
            raise refused(attributes, f"node {_q(node)} {verb} with spec.nodeName set to itself")

    def _mirror_pod(self, node: str, attributes: Attributes) -> None:
        pod = attributes.obj
        if MIRROR_POD not in pod.metadata.annotations:
            why = f"pod does not have {_q(MIRROR_POD)} annotation, node {_q(node)} can only create mirror pods"
            raise refused(attributes, why)
        if pod.spec.node_name != node:
            raise refused(attributes, f"node {_q(node)} can only create pods with spec.nodeName set to itself")
        owners = pod.metadata.owner_references
        if len(owners) != 1 or owners[0].kind != "Node" or owners[0].name != node or not owners[0].controller:
            raise refused(attributes, f"node {_q(node)} can only create pods with an owner reference set to itself")
        if pod.spec.service_account_name:
            raise refused(attributes, f"node {_q(node)} can not create pods that reference a service account")
        if any(volume.secret is not None for volume in pod.spec.volumes):
            raise refused(attributes, f"node {_q(node)} can not create pods that reference secrets")
        if any(volume.config_map is not None for volume in pod.spec.volumes):
            raise refused(attributes, f"node {_q(node)} can not create pods that reference configmaps")

    def _node(self, node: str, attributes: Attributes) -> None:
        new, old = attributes.obj, attributes.old
        name = attributes.name or (new.metadata.name if new is not None else "")
        if attributes.operation is Operation.CREATE:
            _check_labels(node, attributes, set(new.metadata.labels), new.metadata.labels)
        if name != node:
            raise refused(attributes, f"node {_q(node)} is not allowed to modify node {_q(name)}")
        if attributes.operation is not Operation.UPDATE or old is None:
            return
        if new.metadata.owner_references != old.metadata.owner_references and not attributes.subresource:
            raise refused(attributes, f"node {_q(node)} is not allowed to modify ownerReferences")
        if new.spec.taints != old.spec.taints:
            raise refused(attributes, f"node {_q(node)} is not allowed to modify taints")
        before, after = old.metadata.labels, new.metadata.labels
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        _check_labels(node, attributes, changed, dict.fromkeys(changed, ""))

    def _token(self, node: str, attributes: Attributes) -> None:
        if attributes.subresource != "token" or attributes.operation is not Operation.CREATE:
            return
        reference: Any = attributes.obj.spec.bound_object_ref
        if reference is None or reference.kind != "Pod" or reference.api_version != "v1" or not reference.name:
            raise refused(attributes, "node requested token not bound to a pod")
        if not reference.uid:
            raise refused(attributes, "node requested token with a pod binding without a uid")
        pod = self._reader.get(PODS, attributes.namespace, reference.name)
        if pod is None:
            raise refused(attributes, f'pods "{reference.name}" not found')
        if pod.metadata.uid != reference.uid:
            why = f"the UID in the bound object reference ({reference.uid}) does not match the UID in record. The object might have been deleted and then recreated"
            raise refused(attributes, why)
        if pod.spec.node_name != node:
            raise refused(attributes, "node requested token bound to a pod scheduled on a different node")

    def _lease(self, node: str, attributes: Attributes) -> None:
        if attributes.namespace != LEASE_NAMESPACE:
            raise refused(attributes, f"can only access leases in the {_q(LEASE_NAMESPACE)} system namespace")
        self._same_name(node, attributes, "can only access node lease with the same name as the requesting node")

    def _csi_node(self, node: str, attributes: Attributes) -> None:
        self._same_name(node, attributes, "can only access CSINode with the same name as the requesting node")

    def _slice(self, node: str, attributes: Attributes) -> None:
        if attributes.operation is Operation.CREATE and (attributes.obj.spec.node_name or "") != node:
            raise refused(attributes, "can only create ResourceSlice with the same NodeName as the requesting node")

    @staticmethod
    def _same_name(node: str, attributes: Attributes, why: str) -> None:
        name = attributes.name or (attributes.obj.metadata.name if attributes.obj is not None else "")
        if name != node:
            raise refused(attributes, why)


def _check_labels(node: str, attributes: Attributes, changed: set[str], labels: dict[str, str]) -> None:
    bad = forbidden_labels({key: value for key, value in labels.items() if key in changed})
    if bad:
        verb = "set the following labels" if attributes.operation is Operation.CREATE else "modify labels"
        raise refused(attributes, f"is not allowed to {verb}: {', '.join(sorted(bad))}")


def _q(text: str) -> str:
    return f'"{text}"'
