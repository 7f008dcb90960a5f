"""May this user do that? The question as authorization sees it, and the words of a refusal. Pure.

Source: apiserver `authorization/authorizer` (Attributes) and `handlers/responsewriters/errors.go` (the words).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from carob.api.status import ApiError
from carob.apiserver.request_info import authorized_name

if TYPE_CHECKING:
    from typing import Any

    from carob.apiserver.types import RequestInfo


class Question(NamedTuple):
    """What a user wants to do: with a resource, or (`resource` empty) with a path.

    `field_selector` and `label_selector` are the texts of a list, watch or deletecollection.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""

    @property
    def full_resource(self) -> str:
        """`pods`, `pods/log`: as RBAC rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Decision(NamedTuple):
    """The answer; `reason` says who allowed it, or why nobody did."""

    allowed: bool
    reason: str = ""


def question_of(info: RequestInfo) -> Question:
    """What a request asks for."""
    resource = info.resource
    if resource is None:
        return Question(info.verb, path=info.path)
    selector = info.query.get("fieldSelector") if not info.name else None
    return Question(
        info.verb,
        resource.group,
        resource.plural,
        info.subresource,
        info.namespace,
        authorized_name(info) if selector else info.name,
        "",
        selector[0] if selector else "",
    )


def refusal(user: str, asked: Question, reason: str) -> ApiError:
    """The 403 that says who may not do what."""
    because = f": {reason}" if reason else ""
    if not asked.resource:
        message = f'forbidden: User "{user}" cannot {asked.verb} path "{asked.path}"{because}'
        return ApiError(403, "Forbidden", message, {})
    group_resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f'{group_resource} "{asked.name}"' if asked.name else group_resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    message = (
        f'{named} is forbidden: User "{user}" cannot {asked.verb} resource "{asked.full_resource}" '
        f'in API group "{asked.group}" {where}{because}'
    )
    details: dict[str, Any] = {}
    if asked.name:
        details["name"] = asked.name
    if asked.group:
        details["group"] = asked.group
    details["kind"] = asked.resource
    return ApiError(403, "Forbidden", message, details)
