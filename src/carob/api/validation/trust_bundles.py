"""Rules of ClusterTrustBundles.

Pure. Source: `pkg/apis/certificates/validation` (ValidateClusterTrustBundle), `pkg/apis/core/validation/names.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carob.api import pem
from carob.api.types import certificates_v1beta1
from carob.api.validation import field, meta, names
from carob.api.validation.certificates import signer_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from carob.api.validation.field import Cause

MAX_BYTES = 1 << 20
_OMITTED = "<value omitted>"
_BUNDLE = "spec.trustBundle"


def _create(out: list[Cause], obj: certificates_v1beta1.ClusterTrustBundle) -> None:
    _meta_and_signer(out, obj)
    _bundle(out, obj.spec.trust_bundle)


def _update(out: list[Cause], new: Any, old: Any) -> None:
    _meta_and_signer(out, new)
    if new.spec.trust_bundle != old.spec.trust_bundle:
        _bundle(out, new.spec.trust_bundle)
    meta.core_updated(out, new.metadata, old.metadata)
    meta.immutable(out, "spec.signerName", new.spec.signer_name, old.spec.signer_name)


def _meta_and_signer(out: list[Cause], obj: certificates_v1beta1.ClusterTrustBundle) -> None:
    signer = obj.spec.signer_name
    meta.core(out, obj.metadata, False, lambda name: _wrong_name(name, signer))
    if signer:
        signer_name(out, "spec.signerName", signer)


def _wrong_name(name: str, signer: str) -> Sequence[str]:
    if not signer:
        if ":" in name:
            return ('ClusterTrustBundle without signer name must not have ":" in its name',)
        return names.dns_subdomain(name)
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        return (f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}",)
    return names.dns_subdomain(name.removeprefix(prefix))


def _bundle(out: list[Cause], text: str) -> None:
    """At least one certificate of an authority, none of them twice, and nothing else."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        out.append(field.too_long(_BUNDLE, MAX_BYTES))
        return
    before = len(out)
    places: dict[bytes, list[int]] = {}
    for number, block in enumerate(pem.blocks(text)):
        if why := _wrong_block(block):
            out.append(field.invalid(_BUNDLE, _OMITTED, f"entry {number} {why}"))
        else:
            places.setdefault(block.content, []).append(number)
    if len(out) > before:
        return
    if not places:
        out.append(field.invalid(_BUNDLE, _OMITTED, "at least one trust anchor must be provided"))
    for numbers in places.values():
        if len(numbers) > 1:
            words = f"duplicate trust anchor (indices [{' '.join(map(str, numbers))}])"
            out.append(field.invalid(_BUNDLE, _OMITTED, words))


def _wrong_block(block: pem.Block) -> str:
    if block.type != pem.CERTIFICATE:
        return f"has bad block type: {block.type}"
    if block.has_headers:
        return "has PEM block headers"
    from cryptography import x509

    try:
        extensions = x509.load_der_x509_certificate(block.content).extensions
        is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_authority = False
    except ValueError:
        return "does not parse as X.509"
    return "" if is_authority else "does not have the CA bit set"


CREATE: dict[type[Any], Any] = {certificates_v1beta1.ClusterTrustBundle: _create}
UPDATE: dict[tuple[type[Any], str], Any] = {(certificates_v1beta1.ClusterTrustBundle, ""): _update}
