"""Defaults of roles and role bindings. Source: `pkg/apis/rbac/v1/defaults.go`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api.types import rbac_v1

if TYPE_CHECKING:
    from collections.abc import Callable

GROUP = "rbac.authorization.k8s.io"


def _binding(obj: rbac_v1.RoleBinding | rbac_v1.ClusterRoleBinding) -> None:
    obj.role_ref.api_group = obj.role_ref.api_group or GROUP
    for subject in obj.subjects:
        if not subject.api_group and subject.kind in ("User", "Group"):
            subject.api_group = GROUP


def _role(obj: rbac_v1.Role | rbac_v1.ClusterRole) -> None:
    # a role without rules is written with null, also when the client sent an empty list
    obj.rules = obj.rules or None


DEFAULTS: dict[type[Any], Callable[[Any], None]] = {
    rbac_v1.Role: _role,
    rbac_v1.ClusterRole: _role,
    rbac_v1.RoleBinding: _binding,
    rbac_v1.ClusterRoleBinding: _binding,
}
