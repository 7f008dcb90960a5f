"""Who a verified client certificate speaks for: CN is the user, each O is a group.

Pure. The TLS layer has verified the chain; here only names and the end of validity count.
Source: apiserver `authentication/request/x509` (CommonNameUserConversion).
"""

from __future__ import annotations

import hashlib

from carob.api.user import UserInfo
from carob.api.x509 import subject_and_expiry

AUTHENTICATED = "system:authenticated"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class CertificateAuthenticator:
    """Certificates to users; remembers the newest few thousand certificates."""

    LIMIT = 4096

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[UserInfo | None, float]] = {}

    def authenticate(self, der: bytes, now: float) -> UserInfo | None:
        """The user of a certificate; None if it names nobody or is no longer valid at `now`."""
        known = self._known.get(der)
        if known is None:
            if len(self._known) >= self.LIMIT:
                del self._known[next(iter(self._known))]
            known = self._known[der] = self._read(der)
        user, not_after = known
        return user if now <= not_after else None

    @staticmethod
    def _read(der: bytes) -> tuple[UserInfo | None, float]:
        try:
            name, organizations, not_after = subject_and_expiry(der)
        except ValueError:
            return None, 0.0
        if not name:
            return None, 0.0
        groups = organizations if AUTHENTICATED in organizations else (*organizations, AUTHENTICATED)
        digest = hashlib.sha256(der).hexdigest()
        return UserInfo(name, groups, "", {CREDENTIAL_ID: (f"X509SHA256={digest}",)}), not_after
