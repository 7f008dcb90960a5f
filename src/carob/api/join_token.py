"""What a machine is given to join a cluster: a bootstrap token, and by what it knows the cluster's authority.

    K10<sha256 of the authority's public key, in hex>::<token id>.<token secret>

The key is pinned, not the certificate: a renewed one keeps it. Pure.
Source: the form is k3s's; what is pinned is kubeadm's `--discovery-token-ca-cert-hash`; the token is a bootstrap token's
(cluster-bootstrap/token/api).
"""

from __future__ import annotations

import re

from msgspec import Struct

PREFIX = "K10"
PIN_PREFIX = "sha256:"
SECRET_NAME_PREFIX = "bootstrap-token-"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_PIN = re.compile(r"[0-9a-f]{64}")


class JoinToken(Struct, frozen=True):
    """Its parts; `pin` is empty where none was given."""

    token_id: str
    secret: str
    pin: str = ""

    @property
    def bearer(self) -> str:
        """The bootstrap token, as the API takes it."""
        return f"{self.token_id}.{self.secret}"

    def __str__(self) -> str:
        return f"{PREFIX}{self.pin}::{self.bearer}" if self.pin else self.bearer


def parse(text: str, pin: str = "") -> JoinToken:
    """A token with its pin, or a bare one whose pin (`sha256:<hex>` or `<hex>`) comes from elsewhere.

    Raises: ValueError that says what is wrong with it, and never shows the secret.
    """
    head, separator, rest = text.strip().partition("::")
    if separator and not head.startswith(PREFIX):
        raise ValueError(f"the token does not begin with {PREFIX}")
    if separator:
        pin = head.removeprefix(PREFIX)
    pin = pin.removeprefix(PIN_PREFIX)
    if pin and not _PIN.fullmatch(pin):
        raise ValueError(f'"{pin}" is no SHA-256 in hex, of 64 digits')
    match = _TOKEN.fullmatch(rest if separator else head)
    if match is None:
        raise ValueError("the token is not of the form <6 letters or digits>.<16 letters or digits>")
    return JoinToken(match[1], match[2], pin)
