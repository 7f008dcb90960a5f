"""OwnerReferencesPermissionEnforcement: who may say whose an object is."""

from __future__ import annotations

from typing import Any

import pytest

from carob.api import codec
from carob.api.resources import TABLE
from carob.api.status import ApiError
from carob.api.types import core_v1
from carob.api.user import UserInfo
from carob.apiserver.admission.owner_references import OwnerReferences
from carob.apiserver.authz.authorizer import Authorizer
from carob.apiserver.authz.node import NodeAuthorizer
from carob.apiserver.authz.rbac import RbacAuthorizer
from carob.apiserver.types import Attributes, Operation
from carob.cli import admission_config
from carob.cli.errors import CommandError
from carob.cli.flags import Arguments, Flags

BOB = UserInfo("bob", ("system:authenticated",))


def owner(kind: str = "ReplicaSet", version: str = "apps/v1", blocking: bool = False) -> dict[str, Any]:
    reference = {"kind": kind, "apiVersion": version, "name": "o", "uid": "u"}
    return reference | ({"blockOwnerDeletion": True} if blocking else {})


def pod(*owners: dict[str, Any]) -> core_v1.Pod:
    metadata = {"name": "p", "namespace": "a", "ownerReferences": list(owners)}
    return codec.from_tree(core_v1.Pod, {"metadata": metadata, "spec": {"containers": []}})


def allow(reader: Any, *rules: dict[str, Any]) -> None:
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": "r", "namespace": "a"}}
    reader.put({"kind": "Role", **head, "rules": list(rules)})
    subject = {"kind": "User", "apiGroup": group, "name": "bob"}
    reference = {"apiGroup": group, "kind": "Role", "name": "r"}
    reader.put({"kind": "RoleBinding", **head, "subjects": [subject], "roleRef": reference})


DELETE_PODS = {"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}
FINALIZE = {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["replicasets/finalizers"]}


def said(reader: Any, new: core_v1.Pod, old: core_v1.Pod | None = None, subresource: str = "") -> str:
    row = TABLE.by_kind("v1", "Pod")
    assert row is not None
    operation = Operation.CREATE if old is None else Operation.UPDATE
    attributes = Attributes(operation, row, "a", "p", BOB, new, old, subresource)
    authorizer = Authorizer(NodeAuthorizer(reader, []), RbacAuthorizer(reader))
    try:
        OwnerReferences(authorizer, TABLE).validate(attributes)
    except ApiError as error:
        return error.message
    return ""


def test_without_a_change_nobody_is_asked(reader: Any) -> None:
    assert said(reader, pod()) == ""
    assert said(reader, pod(owner(blocking=True)), pod(owner(blocking=True))) == ""
    assert said(reader, pod(owner()), pod(), "status") == ""


def test_who_may_not_delete_may_not_give_away(reader: Any) -> None:
    words = 'pods "p" is forbidden: cannot set an ownerRef on a resource you can\'t delete: , <nil>'
    assert said(reader, pod(owner())) == words
    assert said(reader, pod(), pod(owner())) == words
    allow(reader, DELETE_PODS)
    assert said(reader, pod(owner())) == ""
    assert said(reader, pod(), pod(owner())) == ""


def test_who_may_not_finalize_the_owner_may_not_block_its_deletion(reader: Any) -> None:
    allow(reader, DELETE_PODS)
    refusal = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
    assert refusal in said(reader, pod(owner(blocking=True)))
    assert refusal in said(reader, pod(owner(blocking=True)), pod(owner()))
    assert said(reader, pod(owner()), pod(owner(blocking=True))) == ""
    assert 'no matches for kind "X" in version "x/v1"' in said(reader, pod(owner("X", "x/v1", blocking=True)))
    allow(reader, DELETE_PODS, FINALIZE)
    assert said(reader, pod(owner(blocking=True))) == ""


def parsed(*given: str) -> Arguments:
    flags = Flags("carob up")
    admission_config.add_flags(flags)
    return flags.parse(given)


def test_the_flag_knows_every_plugin() -> None:
    assert admission_config.plugins(parsed()) == ""
    both = parsed("--enable-admission-plugins=OwnerReferencesPermissionEnforcement,PodSecurity")
    assert admission_config.plugins(both) == "OwnerReferencesPermissionEnforcement\n"
    with pytest.raises(CommandError, match='"Nope" is unknown'):
        admission_config.plugins(parsed("--enable-admission-plugins=Nope"))
