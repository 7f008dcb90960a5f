"""`Impersonate-*` headers: whom a request speaks for, and whether its sender may speak for them.

Source: apiserver `pkg/endpoints/filters/impersonation`; KEP-5284 for the words of a denial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from carob.api.status import bad_request
from carob.api.user import UserInfo
from carob.apiserver.authn.service_accounts import split_user_name
from carob.apiserver.authn.x509 import AUTHENTICATED
from carob.apiserver.authz.questions import Question, question_of, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from carob.apiserver.authz.authorizer import Authorizer
    from carob.apiserver.types import RequestInfo

USER_HEADER = "impersonate-user"
_GROUP_HEADER = "impersonate-group"
_UID_HEADER = "impersonate-uid"
_EXTRA_PREFIX = "impersonate-extra-"
_ANONYMOUS = "system:anonymous"
_UNAUTHENTICATED = "system:unauthenticated"
_AUTHENTICATION = "authentication.k8s.io"


def requested(headers: Mapping[str, str]) -> UserInfo | None:
    """The user whom the headers name; None if they name nobody. Raises: ApiError 400 for a group without a user."""
    name = headers.get(USER_HEADER, "")
    groups = tuple(filter(None, (g.strip() for g in headers.get(_GROUP_HEADER, "").split(","))))
    uid = headers.get(_UID_HEADER, "")
    extra = {
        unquote(key[len(_EXTRA_PREFIX) :]): tuple(v.strip() for v in value.split(","))
        for key, value in headers.items()
        if key.startswith(_EXTRA_PREFIX)
    }
    if name:
        return UserInfo(name, groups, uid, extra)
    if not (groups or uid or extra):
        return None
    quoted = "[]string{" + ", ".join(f'"{g}"' for g in groups) + "}" if groups else "[]string(nil)"
    if extra:
        pairs = (f'"{k}":[]string{{' + ", ".join(f'"{v}"' for v in vs) + "}" for k, vs in extra.items())
        more = "map[string][]string{" + ", ".join(pairs) + "}"
    else:
        more = "map[string][]string(nil)"
    raise bad_request(
        f'requested &user.DefaultInfo{{Name:"", UID:"{uid}", Groups:{quoted}, Extra:{more}}} '
        "without impersonating a user name"
    )


def impersonate(sender: UserInfo, info: RequestInfo, wanted: UserInfo, authorizer: Authorizer) -> UserInfo:
    """The user as whom the request goes on. Raises: ApiError 403 if the sender may not speak for them."""
    account = split_user_name(wanted.name)
    for asked in _questions(wanted, account):
        if authorizer.allows(sender, asked):
            continue
        if account is not None:
            raise refusal(sender.name, asked, authorizer.explain(sender, asked).reason)
        about = question_of(info)._replace(verb=f"impersonate-on:user-info:{info.verb}")
        raise refusal(sender.name, about, "")
    groups = wanted.groups
    if account is not None and not groups:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{account[0]}")
    if wanted.name == _ANONYMOUS:
        if _UNAUTHENTICATED not in groups:
            groups = (*groups, _UNAUTHENTICATED)
    elif AUTHENTICATED not in groups and _UNAUTHENTICATED not in groups:
        groups = (*groups, AUTHENTICATED)
    return UserInfo(wanted.name, groups, wanted.uid, wanted.extra)


def _questions(wanted: UserInfo, account: tuple[str, str] | None) -> Iterator[Question]:
    if account is not None:
        yield Question("impersonate", "", "serviceaccounts", "", account[0], account[1])
    else:
        yield Question("impersonate", "", "users", "", "", wanted.name)
    if wanted.uid:
        yield Question("impersonate", _AUTHENTICATION, "uids", "", "", wanted.uid)
    for group in wanted.groups:
        yield Question("impersonate", "", "groups", "", "", group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Question("impersonate", _AUTHENTICATION, "userextras", key, "", value)
