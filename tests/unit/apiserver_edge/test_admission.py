"""What admission adds to Pods and Nodes, and what it refuses, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.admission.certificates import CertificateRequests
from carob.apiserver.admission.namespaces import NamespaceLifecycle
from carob.apiserver.admission.node_restriction import NodeRestriction, forbidden_labels
from carob.apiserver.admission.priorities import PriorityAdmission
from carob.apiserver.admission.role_escalation import compact, covers, simple_rules, words
from carob.apiserver.admission.runtime_classes import RuntimeClassAdmission
from carob.apiserver.admission.service_accounts import ServiceAccountAdmission, ServiceAccountMissing
from carob.apiserver.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from carob.apiserver.authz.authorizer import Authorizer
from carob.apiserver.authz.node import NodeAuthorizer
from carob.apiserver.authz.rbac import RbacAuthorizer
from carob.apiserver.bootstrap import objects, policy
from carob.apiserver.types import Attributes, Operation
from carob.base.ids import SeededRandomness

BOB = UserInfo("bob", ("system:authenticated",))
NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))


def write(
    tree: dict[str, Any],
    operation: Operation = Operation.CREATE,
    user: UserInfo = BOB,
    old: dict[str, Any] | None = None,
    subresource: str = "",
) -> Attributes:
    resource = TABLE.by_kind(tree["apiVersion"], tree["kind"])
    assert resource is not None
    obj = codec.from_tree(resource.struct, tree)
    before = codec.from_tree(resource.struct, old) if old is not None else None
    namespace, name = obj.metadata.namespace, obj.metadata.name
    return Attributes(operation, resource, namespace, name, user, obj, before, subresource)


def pod(**spec: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}]} | spec
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "a"}, "spec": spec}


def account(name: Any = "default", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "a"}
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata, **fields}


# ServiceAccount


def accounts(reader: Any) -> ServiceAccountAdmission:
    return ServiceAccountAdmission(reader, SeededRandomness(1))


def test_a_pod_gets_the_default_account_and_its_token(reader: Any) -> None:
    reader.put(account(imagePullSecrets=[{"name": "registry"}]))
    attributes = write(pod(initContainers=[{"name": "i", "image": "i"}]))
    accounts(reader).admit(attributes)
    spec: core_v1.PodSpec = attributes.obj.spec
    assert (spec.service_account_name, spec.service_account) == ("default", "default")
    assert [s.name for s in spec.image_pull_secrets] == ["registry"]
    (volume,) = spec.volumes
    assert volume.name.startswith("kube-api-access-")
    for container in (*spec.init_containers, *spec.containers):
        (mount,) = container.volume_mounts
        assert (mount.name, mount.mount_path, mount.read_only) == (
            volume.name,
            "/var/run/secrets/kubernetes.io/serviceaccount",
            True,
        )
    assert codec.to_tree(volume.projected) == {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    }


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (False, None, False), (None, False, False), (True, False, True), (False, True, False)],
)
def test_who_decides_about_the_token(reader: Any, of_pod: bool | None, of_account: bool | None, mounted: bool) -> None:
    reader.put(account(**({} if of_account is None else {"automountServiceAccountToken": of_account})))
    attributes = write(pod(**({} if of_pod is None else {"automountServiceAccountToken": of_pod})))
    accounts(reader).admit(attributes)
    assert bool(attributes.obj.spec.volumes) is mounted


def test_a_mount_of_the_pods_own_at_the_tokens_place_stays(reader: Any) -> None:
    reader.put(account())
    mount = {"name": "own", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    containers = [{"name": "c", "image": "i", "volumeMounts": [mount]}]
    attributes = write(pod(containers=containers, volumes=[{"name": "own", "emptyDir": {}}]))
    accounts(reader).admit(attributes)
    assert [v.name for v in attributes.obj.spec.volumes] == ["own"]


def test_a_missing_account_is_named_and_counts_once_it_is_there(reader: Any) -> None:
    plugin = accounts(reader)
    with pytest.raises(ServiceAccountMissing) as refused:
        plugin.admit(write(pod(serviceAccountName="robot")))
    assert refused.value.message == (
        'pods "p" is forbidden: error looking up service account a/robot: serviceaccount "robot" not found'
    )
    assert (refused.value.code, refused.value.account) == (403, "robot")
    reader.put(account("robot"))
    plugin.admit(write(pod(serviceAccountName="robot")))


# Tolerations and taints


def test_five_minutes_on_a_lost_node_unless_the_pod_says_otherwise() -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    attributes = write(pod(tolerations=[own]))
    DefaultTolerationSeconds().admit(attributes)
    found = [(t.key, t.effect, t.toleration_seconds) for t in attributes.obj.spec.tolerations]
    assert found == [
        ("node.kubernetes.io/not-ready", "NoExecute", 1),
        ("node.kubernetes.io/unreachable", "NoExecute", 300),
    ]
    everything = write(pod(tolerations=[{"operator": "Exists"}]))
    DefaultTolerationSeconds().admit(everything)
    assert len(everything.obj.spec.tolerations) == 1


def test_a_new_node_is_not_ready() -> None:
    attributes = write({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}})
    TaintNodesByCondition().admit(attributes)
    TaintNodesByCondition().admit(attributes)
    assert [(t.key, t.effect) for t in attributes.obj.spec.taints] == [("node.kubernetes.io/not-ready", "NoSchedule")]


# Priority


def test_priority_comes_from_the_class(reader: Any) -> None:
    plugin = PriorityAdmission(reader)
    for tree in objects.priority_classes():
        reader.put(tree)
    attributes = write(pod(priorityClassName="system-node-critical"))
    plugin.admit(attributes)
    assert (attributes.obj.spec.priority, attributes.obj.spec.preemption_policy) == (
        2000001000,
        "PreemptLowerPriority",
    )
    plain = write(pod())
    plugin.admit(plain)
    assert (plain.obj.spec.priority, plain.obj.spec.priority_class_name) == (0, "")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"priorityClassName": "nope"}, "no PriorityClass with name nope was found"),
        (
            {"priority": 5},
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller "
            "computed 0 from the given PriorityClass name",
        ),
        (
            {"preemptionPolicy": "X"},
            "the string value of PreemptionPolicy (X) must not be provided in pod spec; priority admission controller "
            "computed PreemptLowerPriority from the given PriorityClass name",
        ),
    ],
)
def test_a_pod_cannot_choose_its_number(reader: Any, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ApiError) as refused:
        PriorityAdmission(reader).admit(write(pod(**spec)))
    assert refused.value.message == f'pods "p" is forbidden: {words}'


# Namespaces


def namespace(name: str, phase: str = "Active") -> dict[str, Any]:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}, "status": {"phase": phase}}


def test_nothing_is_made_without_a_living_namespace(reader: Any) -> None:
    plugin = NamespaceLifecycle(reader)
    with pytest.raises(ApiError) as missing:
        plugin.admit(write(pod()))
    assert (missing.value.code, missing.value.message) == (404, 'namespaces "a" not found')
    reader.put(namespace("a"))
    plugin.admit(write(pod()))
    reader.put(namespace("a", "Terminating"))
    with pytest.raises(ApiError) as going:
        plugin.admit(write(pod()))
    assert going.value.message == (
        'pods "p" is forbidden: unable to create new content in namespace a because it is being terminated'
    )
    assert going.value.details["causes"][0]["reason"] == "NamespaceTerminating"
    plugin.admit(write(pod(), Operation.UPDATE))
    plugin.admit(write(pod(), Operation.DELETE))


@pytest.mark.parametrize(("name", "refused"), [("kube-system", True), ("default", True), ("kube-node-lease", False)])
def test_three_namespaces_stay(reader: Any, name: str, refused: bool) -> None:
    attributes = write(namespace(name), Operation.DELETE)
    if not refused:
        NamespaceLifecycle(reader).admit(attributes)
        return
    with pytest.raises(ApiError) as error:
        NamespaceLifecycle(reader).admit(attributes)
    assert error.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


# NodeRestriction


def node(name: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec}


def refusal_of(reader: Any, attributes: Attributes) -> str:
    try:
        NodeRestriction(reader).admit(attributes)
    except ApiError as error:
        return error.message
    return ""


def test_a_node_writes_about_itself_only(reader: Any) -> None:
    assert refusal_of(reader, write(node("n1"), user=NODE)) == ""
    assert refusal_of(reader, write(node("n2"), user=NODE)) == (
        'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"'
    )
    assert refusal_of(reader, write(node("n2"), user=BOB)) == ""


def test_a_node_keeps_its_taints(reader: Any) -> None:
    taints = [{"key": "k", "effect": "NoSchedule"}]
    change = write(node("n1"), Operation.UPDATE, NODE, node("n1", taints=taints))
    assert 'node "n1" is not allowed to modify taints' in refusal_of(reader, change)


def test_a_node_writes_the_status_of_its_own_pods(reader: Any) -> None:
    reader.put(pod(nodeName="n1"))
    own = write(pod(nodeName="n1"), Operation.UPDATE, NODE, pod(nodeName="n1"), "status")
    assert refusal_of(reader, own) == ""
    reader.put(pod(nodeName="n2"))
    assert refusal_of(reader, own) == (
        'pods "p" is forbidden: node "n1" can only update pod status for pods with spec.nodeName set to itself'
    )


def test_a_node_makes_mirror_pods_alone(reader: Any) -> None:
    assert 'annotation, node "n1" can only create mirror pods' in refusal_of(reader, write(pod(), user=NODE))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (None, "node requested token not bound to a pod"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "p"}, "node requested token with a pod binding without a uid"),
        ({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "uid-of-p"}, ""),
        ({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "x"}, "does not match the UID in record"),
        (
            {"kind": "Pod", "apiVersion": "v1", "name": "q", "uid": "uid-of-q"},
            "node requested token bound to a pod scheduled on a different node",
        ),
    ],
)
def test_a_node_asks_for_tokens_of_its_own_pods(reader: Any, reference: dict[str, Any] | None, words: str) -> None:
    from carob.api.types import authentication_v1

    reader.put(pod(nodeName="n1"))
    reader.put(pod(nodeName="n2") | {"metadata": {"name": "q", "namespace": "a"}})
    request = codec.from_tree(authentication_v1.TokenRequest, {"spec": {"boundObjectRef": reference}})
    resource = TABLE.by_plural("", "v1", "serviceaccounts")
    assert resource is not None
    attributes = Attributes(Operation.CREATE, resource, "a", "default", NODE, request, subresource="token")
    found = refusal_of(reader, attributes)
    assert words in found if words else found == ""


def test_labels_that_a_node_may_not_set() -> None:
    free = {"kubernetes.io/hostname": "", "node.kubernetes.io/anything": "", "example.com/x": "", "plain": ""}
    bad = {"node-restriction.kubernetes.io/x": "", "kubernetes.io/x": "", "a.k8s.io/x": ""}
    assert forbidden_labels(free | bad) == set(bad)


# Escalation


@pytest.mark.parametrize(
    ("owner", "wanted", "covered"),
    [
        ("* | * | *", "get | apps | deployments", True),
        ("get | core | pods", "get | core | pods", True),
        ("get | core | pods", "get list | core | pods", False),
        ("get | core | pods | a b", "get | core | pods | a", True),
        ("get | core | pods | a b", "get | core | pods", False),
        ("get | apps | */scale", "get | apps | deployments/scale", True),
        ("get | /api/*", "get | /api/v1", True),
        ("get | core | pods", "get | /api", False),
    ],
)
def test_who_has_what_is_asked_for(owner: str, wanted: str, covered: bool) -> None:
    mine, theirs = (codec.from_tree(_rule(), policy.rule(line)) for line in (owner, wanted))
    assert all(covers(mine, simple) for simple in simple_rules(theirs)) is covered


def _rule() -> Any:
    from carob.api.types.rbac_v1 import PolicyRule

    return PolicyRule


def test_the_words_of_missing_rights() -> None:
    rule = codec.from_tree(_rule(), policy.rule("get list | core | pods | a"))
    assert [words(one) for one in compact(list(simple_rules(rule)))] == [
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["get", "list"]}'
    ]


# Certificates


def certificate_request(organization: str, signer: str = "kubernetes.io/kube-apiserver-client") -> dict[str, Any]:
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    names = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, "eve"),
    ]
    key = ec.generate_private_key(ec.SECP256R1())
    signed = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    pem = base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()
    return {
        "kind": "CertificateSigningRequest",
        "apiVersion": "certificates.k8s.io/v1",
        "metadata": {"name": "r"},
        "spec": {"request": pem, "signerName": signer, "usages": ["client auth"]},
    }


def certificates(reader: Any) -> CertificateRequests:
    return CertificateRequests(Authorizer(NodeAuthorizer(reader, []), RbacAuthorizer(reader)))


def test_nobody_asks_for_a_superusers_certificate(reader: Any) -> None:
    plugin = certificates(reader)
    plugin.validate(write(certificate_request("devs")))
    plugin.validate(write(certificate_request("system:masters", "example.com/own")))
    with pytest.raises(ApiError) as refused:
        plugin.validate(write(certificate_request("system:masters")))
    assert refused.value.message == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: use of kubernetes.io/kube-apiserver-client '
        "signer with system:masters group is not allowed"
    )


@pytest.mark.parametrize("name", ["example.com/own", "example.com/*"])
def test_approval_needs_a_right_to_the_signer(reader: Any, name: str) -> None:
    tree = certificate_request("devs", "example.com/own")
    approval = write(tree, Operation.UPDATE, old=tree, subresource="approval")
    with pytest.raises(ApiError) as refused:
        certificates(reader).validate(approval)
    assert 'user not permitted to approve requests with signerName "example.com/own"' in refused.value.message
    rules = [
        {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [name]}
    ]
    group = "rbac.authorization.k8s.io"
    reader.put({"kind": "ClusterRole", "apiVersion": f"{group}/v1", "metadata": {"name": "a"}, "rules": rules})
    reader.put(
        {
            "kind": "ClusterRoleBinding",
            "apiVersion": f"{group}/v1",
            "metadata": {"name": "a"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "a"},
            "subjects": [{"kind": "User", "apiGroup": group, "name": "bob"}],
        }
    )
    certificates(reader).validate(approval)


def test_a_status_without_a_signature_needs_no_right_to_the_signer(reader: Any) -> None:
    tree = certificate_request("devs", "example.com/own")
    certificates(reader).validate(write(tree, Operation.UPDATE, old=tree, subresource="status"))
    signed = tree | {"status": {"certificate": "eA=="}}
    with pytest.raises(ApiError):
        certificates(reader).validate(write(signed, Operation.UPDATE, old=tree, subresource="status"))


# RuntimeClass


def test_a_runtime_class_adds_its_overhead_and_its_nodes(reader: Any) -> None:
    plugin = RuntimeClassAdmission(reader)
    with pytest.raises(ApiError) as missing:
        plugin.admit(write(pod(runtimeClassName="small")))
    assert missing.value.message == 'pods "p" is forbidden: pod rejected: RuntimeClass "small" not found'
    reader.put(
        {
            "kind": "RuntimeClass",
            "apiVersion": "node.k8s.io/v1",
            "metadata": {"name": "small"},
            "handler": "h",
            "overhead": {"podFixed": {"memory": "10Mi"}},
            "scheduling": {"nodeSelector": {"small": "yes"}, "tolerations": [{"key": "small", "operator": "Exists"}]},
        }
    )
    attributes = write(pod(runtimeClassName="small", nodeSelector={"disk": "ssd"}))
    plugin.admit(attributes)
    plugin.validate(attributes)
    spec = attributes.obj.spec
    assert spec.overhead == {"memory": "10Mi"}
    assert spec.node_selector == {"disk": "ssd", "small": "yes"}
    assert [t.key for t in spec.tolerations] == ["small"]
    with pytest.raises(ApiError) as conflict:
        plugin.admit(write(pod(runtimeClassName="small", nodeSelector={"small": "no"})))
    assert "conflict: runtimeClass.scheduling.nodeSelector[small] = yes" in conflict.value.message
    with pytest.raises(ApiError):
        plugin.validate(write(pod(overhead={"memory": "1Mi"})))
