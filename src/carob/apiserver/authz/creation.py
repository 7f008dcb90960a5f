"""A write to a name that is free is a creation, whatever verb it came with: who may not create may not do it so, either.

PUT creates objects of some kinds, and server-side apply of all.

Source: apiserver `handlers/{update,patch}.go` (withAuthorization).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.apiserver.authz.questions import question_of, refusal
from carob.apiserver.registry.facts import CREATE_ON_UPDATE

if TYPE_CHECKING:
    from carob.api.user import UserInfo
    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import Reader, RequestInfo
    from carob.transport.http import Request

_APPLY = "application/apply-patch"


def authorize_creation(
    authorizer: Authorizer, reader: Reader, user: UserInfo, info: RequestInfo, request: Request
) -> None:
    """Return unless this would create an object that the user may not create. Raises: ApiError 403."""
    row = info.resource
    if row is None or not row.kind or info.subresource or not info.name:
        return
    if info.verb == "update":
        creates = (row.group, row.plural) in CREATE_ON_UPDATE
    else:
        creates = request.headers.get("content-type", "").startswith(_APPLY)
    if not creates:
        return
    asked = question_of(info)._replace(verb="create")
    if authorizer.allows(user, asked) or reader.get(row, info.namespace, info.name) is not None:
        return
    raise refusal(user.name, asked, authorizer.explain(user, asked).reason)
