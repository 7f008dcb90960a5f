"""Who may talk to the kubelet: the API server by its client certificate, and cluster admins. Pure but for a cache.

Source: kubelet `server/auth.go`. Differs: no SubjectAccessReview is asked; the two identities are fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from carob.transport.http import Response

if TYPE_CHECKING:
    from carob.transport.http import Request

API_SERVER = "kube-apiserver-kubelet-client"
ADMINS = "system:masters"
MAX_REMEMBERED = 64


class Callers:
    """Remembers what stands in the certificates that it has seen, because parsing one costs a millisecond."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, tuple[str, ...]]] = {}

    def refuse(self, request: Request, resource: str) -> Response | None:
        """The refusal, or None for who may."""
        if request.user is not None:
            name, groups = request.user.name, request.user.groups
        elif request.peer_certificate is not None:
            name, groups = self._identity(request.peer_certificate)
        else:
            return _text(401, "Unauthorized")
        if name == API_SERVER or ADMINS in groups:
            return None
        return _text(
            403, f"Forbidden (user={name}, verb={request.method.lower()}, resource=nodes, subresource={resource})"
        )

    def _identity(self, certificate: bytes) -> tuple[str, tuple[str, ...]]:
        known = self._seen.get(certificate)
        if known is None:
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen.clear()
            known = self._seen[certificate] = _subject(certificate)
        return known


def _subject(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.load_der_x509_certificate(certificate).subject
    names = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return (names[0] if names else "", groups)


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), content_type="text/plain; charset=utf-8")
