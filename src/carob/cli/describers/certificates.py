"""`describe` of CertificateSigningRequest.

Source: kubectl pkg/describe/describe.go.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from carob.api.human import human_duration
from carob.cli.describers import parts
from carob.cli.describers.writer import Writer
from carob.cli.errors import CommandError
from carob.cli.printers.table import format_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from carob.cli.describers.parts import Tree


def describe_signing_request(tree: Tree, events: Sequence[Tree] | None) -> str:
    """The whole text, with what the request asks for. Raises: CommandError when it is none."""
    writer = Writer()
    metadata, spec = tree["metadata"], tree.get("spec") or {}
    request = _request(spec.get("request", ""))
    writer.line(0, f"Name:\t{metadata.get('name')}")
    writer.line(0, f"Labels:\t{format_labels(metadata.get('labels') or {})}")
    writer.line(0, f"Annotations:\t{format_labels(metadata.get('annotations') or {})}")
    writer.line(0, f"CreationTimestamp:\t{parts.rfc1123(metadata['creationTimestamp'])}")
    writer.line(0, f"Requesting User:\t{spec.get('username', '')}")
    if spec.get("signerName"):
        writer.line(0, f"Signer:\t{spec['signerName']}")
    if spec.get("expirationSeconds") is not None:
        writer.line(0, f"Requested Duration:\t{human_duration(spec['expirationSeconds'])}")
    writer.line(0, f"Status:\t{_state(tree)}")
    _subject(writer, request)
    _alternative_names(writer, request)
    if events is not None:
        parts.events(writer, events)
    return writer.text()


def _request(encoded: str) -> x509.CertificateSigningRequest:
    from cryptography import x509

    try:
        return x509.load_pem_x509_csr(base64.b64decode(encoded))
    except ValueError as error:
        raise CommandError("error: Error parsing CSR: PEM block type must be CERTIFICATE REQUEST") from error


def _state(tree: Tree) -> str:
    """`Approved,Issued`; Pending where nobody has decided."""
    status = tree.get("status") or {}
    types = {c.get("type") for c in status.get("conditions") or []}
    word = "Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"
    if "Failed" in types:
        word += ",Failed"
    return f"{word},Issued" if status.get("certificate") else word


def _list(writer: Writer, title: str, values: Sequence[str]) -> None:
    if values:
        writer.line(0, f"\t{title}:\t" + "\n\t\t".join(values))


def _subject(writer: Writer, request: x509.CertificateSigningRequest) -> None:
    from cryptography.x509.oid import NameOID

    def of(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(a.value) for a in request.subject.get_attributes_for_oid(oid)]

    writer.line(0, "Subject:")
    writer.line(0, f"\tCommon Name:\t{(of(NameOID.COMMON_NAME) or [''])[-1]}")
    writer.line(0, f"\tSerial Number:\t{(of(NameOID.SERIAL_NUMBER) or [''])[-1]}")
    for title, oid in (
        ("Organization", NameOID.ORGANIZATION_NAME),
        ("Organizational Unit", NameOID.ORGANIZATIONAL_UNIT_NAME),
        ("Country", NameOID.COUNTRY_NAME),
        ("Locality", NameOID.LOCALITY_NAME),
        ("Province", NameOID.STATE_OR_PROVINCE_NAME),
        ("StreetAddress", NameOID.STREET_ADDRESS),
        ("PostalCode", NameOID.POSTAL_CODE),
    ):
        _list(writer, title, of(oid))


def _alternative_names(writer: Writer, request: x509.CertificateSigningRequest) -> None:
    from cryptography import x509

    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    writer.line(0, "Subject Alternative Names:")
    _list(writer, "DNS Names", names.get_values_for_type(x509.DNSName))
    _list(writer, "Email Addresses", names.get_values_for_type(x509.RFC822Name))
    _list(writer, "URIs", names.get_values_for_type(x509.UniformResourceIdentifier))
    _list(writer, "IP Addresses", [str(a) for a in names.get_values_for_type(x509.IPAddress)])
