"""Who asks: the identity that authentication found, as authorization and admission see it."""

from __future__ import annotations

from msgspec import Struct, field


class UserInfo(Struct, frozen=True):
    """A user, a service account or a node.

    Source: authentication/v1 UserInfo.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = UserInfo("system:anonymous", ("system:unauthenticated",))
