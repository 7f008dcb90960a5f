"""Reading certificate signing requests and signing them with the cluster's CA.

The one file here that needs cryptography, which is heavy: it is imported when the first request comes.
Pure but for the random serial number.
Source: kube-controller-manager certificates/authority (PermissiveSigningPolicy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

BACKDATE_SECONDS = 300
LONGEST_SECONDS = 365 * 24 * 3600
SHORTEST_SECONDS = 600

_KEY_USAGES = {
    "digital signature": "digital_signature",
    "signing": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "data encipherment": "data_encipherment",
    "key agreement": "key_agreement",
}
_EXTENDED_USAGES = {"client auth": "1.3.6.1.5.5.7.3.2", "server auth": "1.3.6.1.5.5.7.3.1", "any": "2.5.29.37.0"}


class RequestFacts(Struct, frozen=True):
    """What a signing request asks to be certified."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """E-mail addresses and URIs."""


def read_request(pem: bytes) -> RequestFacts:
    """The facts of a PEM request. Raises: ValueError for what is none, or is not signed by its own key."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    request = x509.load_pem_x509_csr(pem)
    if not request.is_signature_valid:
        raise ValueError("the request is not signed by its own key")
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    organizations = request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    try:
        alternatives = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        alternatives = x509.SubjectAlternativeName([])
    return RequestFacts(
        str(names[0].value) if names else "",
        tuple(str(o.value) for o in organizations),
        tuple(alternatives.get_values_for_type(x509.DNSName)),
        tuple(str(a) for a in alternatives.get_values_for_type(x509.IPAddress)),
        (
            *alternatives.get_values_for_type(x509.RFC822Name),
            *alternatives.get_values_for_type(x509.UniformResourceIdentifier),
        ),
    )


def sign(
    request_pem: bytes,
    ca_certificate_pem: bytes,
    ca_key_pem: bytes,
    usages: Sequence[str],
    expiration_seconds: int | None,
    now: float,
) -> bytes:
    """The certificate (PEM) of a request: its subject, key and alternative names, no CA, these usages.

    It never outlives the CA. Raises: ValueError for an unknown usage or a broken request.
    """
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    request = x509.load_pem_x509_csr(request_pem)
    authority = x509.load_pem_x509_certificate(ca_certificate_pem)
    key: Any = serialization.load_pem_private_key(ca_key_pem, None)
    seconds = min(max(expiration_seconds or LONGEST_SECONDS, SHORTEST_SECONDS), LONGEST_SECONDS)
    at = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(seconds=BACKDATE_SECONDS))
        .not_valid_after(min(at + timedelta(seconds=seconds), _not_after(authority)))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    key_usage = _key_usage(usages)
    if any(usage in _KEY_USAGES for usage in usages):
        # OpenSSL takes a certificate whose key usage names nothing for an invalid one
        builder = builder.add_extension(key_usage, critical=True)
    extended = [x509.ObjectIdentifier(_EXTENDED_USAGES[usage]) for usage in usages if usage in _EXTENDED_USAGES]
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    else:
        builder = builder.add_extension(names.value, names.critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _not_after(certificate: Any) -> Any:
    """Debian 12's cryptography knows only the time without its zone."""
    from datetime import UTC

    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)


def _key_usage(usages: Sequence[str]) -> Any:
    from cryptography import x509

    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _EXTENDED_USAGES]
    if unknown:
        raise ValueError(f"unrecognized usage values: {', '.join(unknown)}")
    asked = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    fields = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(fields | dict.fromkeys(asked, True)))
