"""Rules of CertificateSigningRequests.

Pure. Source: `pkg/apis/certificates/validation`. Differs: of a request that is PEM but no certificate request, the reason
given is not Go's.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from carob.api.types import certificates_v1
from carob.api.validation import field, meta, names

if TYPE_CHECKING:
    from carob.api.validation.field import Cause

USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
SHORTEST_SECONDS = 600
_FINAL = ("Approved", "Denied", "Failed")
_PEM = re.compile(rb"-----BEGIN ([^\r\n]*?)-----\r?\n(.*?)-----END \1-----", re.DOTALL)


def request(out: list[Cause], obj: certificates_v1.CertificateSigningRequest) -> None:
    """A new request."""
    meta.core(out, obj.metadata, False, lambda _name: ())
    _spec(out, obj.spec)
    _conditions(out, obj.status)


def _spec(out: list[Cause], spec: certificates_v1.CertificateSigningRequestSpec) -> None:
    if why := _not_a_request(spec.request):
        out.append(field.invalid("spec.request", spec.request, why))
    if not spec.usages:
        out.append(field.required("spec.usages"))
    for i, usage in enumerate(spec.usages):
        if usage not in USAGES:
            out.append(field.not_supported(f"spec.usages[{i}]", usage, USAGES))
    again = field.repeated(spec.usages)
    for i, usage in enumerate(spec.usages):
        if again[i]:
            out.append(field.duplicate(f"spec.usages[{i}]", usage))
    if spec.signer_name == LEGACY_SIGNER:
        words = "the legacy signerName is not allowed via this API version"
        out.append(field.invalid("spec.signerName", spec.signer_name, words))
    else:
        signer_name(out, "spec.signerName", spec.signer_name)
    seconds = spec.expiration_seconds
    if seconds is not None and seconds < SHORTEST_SECONDS:
        words = f"may not specify a duration less than {SHORTEST_SECONDS} seconds (10 minutes)"
        out.append(field.invalid("spec.expirationSeconds", seconds, words))


def _not_a_request(encoded: str) -> str:
    """Why the bytes are no certificate request in PEM; empty if they are one."""
    try:
        text = base64.b64decode(encoded)
    except binascii.Error:
        text = b""
    found = _PEM.search(text)
    if found is None or found[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509

    try:
        x509.load_pem_x509_csr(found[0])
    except ValueError as error:
        return str(error)
    return ""


def signer_name(out: list[Cause], path: str, name: str) -> None:
    """`example.com/name`: who signs."""
    domain, slash, rest = name.partition("/")
    if not name:
        out.append(field.required(path))
        return
    if not slash or "/" in rest:
        words = 'must be a fully qualified domain and path of the form "example.com/signer-name"'
        out.append(field.invalid(path, name, words))
        return
    meta.wrong_name(out, path, domain, names.dns_subdomain(domain))
    if "." not in domain:
        words = "should be a domain with at least two segments separated by dots"
        out.append(field.invalid(path, domain, words))
    for part in rest.split("."):
        if names.dns_label(part):
            meta.wrong_name(out, path, name, names.dns_subdomain(rest) or names.dns_label(part))
            break


def _conditions(out: list[Cause], status: certificates_v1.CertificateSigningRequestStatus) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(status.conditions):
        here = f"status.conditions[{i}]"
        if not condition.type:
            out.append(field.required(f"{here}.type"))
        allowed = ("True",) if condition.type in _FINAL else ("False", "True", "Unknown")
        if not condition.status:
            out.append(field.required(f"{here}.status"))
        elif condition.status not in allowed:
            out.append(field.not_supported(f"{here}.status", condition.status, allowed))
        if {"Approved", "Denied"} == {condition.type, *(seen & {"Approved", "Denied"})}:
            words = "Approved and Denied conditions are mutually exclusive"
            out.append(field.invalid(f"{here}.type", condition.type, words))
        if condition.type in seen:
            out.append(field.duplicate(f"{here}.type", condition.type))
        seen.add(condition.type)


def _changed(
    out: list[Cause],
    new: certificates_v1.CertificateSigningRequest,
    old: certificates_v1.CertificateSigningRequest,
    *,
    may_decide: bool = False,
    may_issue: bool = False,
) -> None:
    request(out, new)
    meta.core_updated(out, new.metadata, old.metadata)
    for kind in _FINAL:
        ours, theirs = ([c for c in obj.status.conditions if c.type == kind] for obj in (new, old))
        if ours == theirs:
            continue
        if len(ours) < len(theirs):
            what = "remove"
        elif kind == "Failed" or may_decide:
            continue
        elif len(ours) == len(theirs):
            what = "modify"
        else:
            what = "add"
        words = f'updates may not {what} a condition of type "{kind}"'
        out.append(field.forbidden("status.conditions", words))
    if new.status.certificate != old.status.certificate:
        here = "status.certificate"
        if not may_issue:
            out.append(field.forbidden(here, "updates may not set certificate content"))
        elif old.status.certificate:
            out.append(field.forbidden(here, "updates may not modify existing certificate content"))


def _update(out: list[Cause], new: Any, old: Any) -> None:
    _changed(out, new, old)


def _approval(out: list[Cause], new: Any, old: Any) -> None:
    _changed(out, new, old, may_decide=True)


def _status(out: list[Cause], new: Any, old: Any) -> None:
    _changed(out, new, old, may_issue=True)


CREATE: dict[type[Any], Any] = {certificates_v1.CertificateSigningRequest: request}
UPDATE: dict[tuple[type[Any], str], Any] = {
    (certificates_v1.CertificateSigningRequest, ""): _update,
    (certificates_v1.CertificateSigningRequest, "approval"): _approval,
    (certificates_v1.CertificateSigningRequest, "status"): _status,
}
