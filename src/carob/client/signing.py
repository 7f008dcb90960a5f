"""Certificates by the API: a key and a request, and the wait until somebody has approved and signed it.

Source: client-go `util/certificate/csr` (RequestCertificate, WaitForCertificate). cryptography is imported when the
first request is made, for it is heavy.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from carob.api.types import certificates_v1, meta_v1

if TYPE_CHECKING:
    from carob.client.rest import Client

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
CLIENT_USAGES = ("digital signature", "client auth")
SERVER_USAGES = ("digital signature", "server auth")
AGAIN_SECONDS = 0.2


class SigningRefused(Exception):
    """The request was denied, or the signer could not sign it; the text has their words."""


class Wanted(Struct, frozen=True):
    """What a certificate is to say. `names`: DNS names and addresses of a server; a client has none."""

    signer: str
    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    usages: tuple[str, ...] = CLIENT_USAGES


def make_request(wanted: Wanted) -> tuple[bytes, bytes]:
    """A new key (ECDSA P-256) and the request that it signs, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in wanted.organizations]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if wanted.names:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in wanted.names])
        builder = builder.add_extension(alternatives, critical=False)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


async def certify(client: Client, wanted: Wanted, *, prefix: str = "csr-") -> bytes:
    """The certificate and its key, PEM, one behind the other. Waits as long as it takes: bound it from outside.

    Raises: SigningRefused; ApiError when the request is not taken; ConnectionError.
    """
    key, request = make_request(wanted)
    made = await client.create(
        certificates_v1.CertificateSigningRequest(
            metadata=meta_v1.ObjectMeta(generate_name=prefix),
            spec=certificates_v1.CertificateSigningRequestSpec(
                request=base64.b64encode(request).decode(), signer_name=wanted.signer, usages=list(wanted.usages)
            ),
        )
    )
    return await _signed(client, made.metadata.name) + key


async def _signed(client: Client, name: str) -> bytes:
    """The answer to our request, as soon as it is there."""
    while True:
        watch = client.watch(
            certificates_v1.CertificateSigningRequest, field_selector=f"metadata.name={name}", send_initial_events=True
        )
        async with watch as events:
            async for event in events:
                found = event.object
                if not isinstance(found, certificates_v1.CertificateSigningRequest):
                    continue
                if event.type == "DELETED":
                    raise SigningRefused(f"the request {name} was removed before it was answered")
                certificate = _answer(found)
                if certificate:
                    return certificate
        # a server that ends watches at once must not make us spin
        await asyncio.sleep(AGAIN_SECONDS)


def _answer(request: certificates_v1.CertificateSigningRequest) -> bytes:
    for condition in request.status.conditions:
        if condition.type in ("Denied", "Failed"):
            raise SigningRefused(f"{condition.type}: {condition.reason}: {condition.message}")
    return base64.b64decode(request.status.certificate or "")
