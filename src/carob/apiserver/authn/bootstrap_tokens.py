"""Bootstrap tokens: `abcdef.0123456789abcdef`, kept as Secrets in kube-system, with which a new node first speaks.

Source: kubernetes `plugin/pkg/auth/authenticator/token/bootstrap`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING

from carob.api.user import UserInfo
from carob.apiserver.authn.service_accounts import SECRETS
from carob.apiserver.authn.x509 import AUTHENTICATED
from carob.base.clock import parse_rfc3339

if TYPE_CHECKING:
    from carob.apiserver.types import Reader
    from carob.base.clock import Clock

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_SECRET_TYPE = "bootstrap.kubernetes.io/token"


def _text(data: dict[str, str], key: str) -> str:
    try:
        return base64.b64decode(data.get(key, "")).decode()
    except (binascii.Error, ValueError):
        return ""


def authenticate(token: str, reader: Reader, clock: Clock) -> UserInfo | None:
    """The user of a bootstrap token; None if it is none, unknown, expired or not meant for authentication."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    token_id, token_secret = match.groups()
    secret = reader.get(SECRETS, "kube-system", f"bootstrap-token-{token_id}")
    if secret is None or secret.metadata.deletion_timestamp or secret.type != _SECRET_TYPE:
        return None
    data = secret.data
    if not hmac.compare_digest(_text(data, "token-secret"), token_secret) or _text(data, "token-id") != token_id:
        return None
    if _text(data, "usage-bootstrap-authentication") != "true":
        return None
    if data.get("expiration"):
        try:
            if parse_rfc3339(_text(data, "expiration")) <= clock.now():
                return None
        except ValueError:
            return None
    groups = {"system:bootstrappers"}
    for group in filter(None, _text(data, "auth-extra-groups").split(",")):
        if not _GROUP.fullmatch(group):
            return None
        groups.add(group)
    return UserInfo(f"system:bootstrap:{token_id}", (*sorted(groups), AUTHENTICATED))
