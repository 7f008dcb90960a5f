"""Signing by the cluster's CA (real keys, no files)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from carob.controllers.certificates import read_request, sign

NOW = 1_700_000_000.0
PEM = serialization.Encoding.PEM


def name(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def authority(seconds: int) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.fromtimestamp(NOW, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("ca"))
        .issuer_name(name("ca"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(seconds=seconds))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(PEM), encoded


def request(*alternatives: x509.GeneralName) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("system:node:a", "system:nodes"))
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(PEM)


def test_a_request_is_read() -> None:
    facts = read_request(request(x509.DNSName("a"), x509.IPAddress(ipaddress.ip_address("10.42.0.1"))))
    assert (facts.common_name, facts.organizations) == ("system:node:a", ("system:nodes",))
    assert (facts.dns_names, facts.addresses, facts.others) == (("a",), ("10.42.0.1",), ())
    with pytest.raises(ValueError, match="PEM"):
        read_request(b"nonsense")


def test_a_signed_certificate_says_what_was_asked_and_is_no_ca() -> None:
    ca = authority(10**9)
    pem = sign(request(x509.DNSName("a")), *ca, ["digital signature", "server auth"], 3600, NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca[0]))
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, False, False)
    assert [u.dotted_string for u in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [
        "1.3.6.1.5.5.7.3.1"
    ]
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    assert certificate.not_valid_after_utc.timestamp() == NOW + 3600


@pytest.mark.parametrize(("asked", "life"), [(None, 365 * 86400), (60, 600), (10**9, 365 * 86400)])
def test_lifetimes_have_bounds(asked: int | None, life: int) -> None:
    pem = sign(request(), *authority(10**9), ["client auth"], asked, NOW)
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp() == NOW + life


def test_no_certificate_outlives_its_ca_and_unknown_usages_are_refused() -> None:
    ca = authority(1000)
    pem = sign(request(), *ca, ["client auth"], None, NOW)
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp() == NOW + 1000
    with pytest.raises(ValueError, match="unrecognized usage values: flying"):
        sign(request(), *ca, ["client auth", "flying"], None, NOW)


def test_without_a_key_usage_the_certificate_holds_no_empty_one() -> None:
    certificate = x509.load_pem_x509_certificate(sign(request(), *authority(10**9), ["client auth"], 3600, NOW))
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.KeyUsage)
