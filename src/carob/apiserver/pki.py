"""The cluster's certificates and keys as files: made at first boot, renewed before they expire, never half-written.

Invariants: private files are 0600 and written beside their place, then renamed; a key is written before its certificate,
and a renewed certificate keeps its key, so whatever is on disk fits together at every moment. A later start that finds
everything good reads a few small files and imports no cryptography.

May touch: its folder. ECDSA P-256 throughout.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from carob.api.x509 import pem_to_der, subject_and_expiry

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY_SECONDS = 24 * 3600
CA_SECONDS = 3650 * DAY_SECONDS
CERTIFICATE_SECONDS = 365 * DAY_SECONDS
# renewed when less than this part of its life is left
RENEW_BELOW = 0.3
# a client whose clock is a little behind must not refuse a new certificate
BACKDATE_SECONDS = 300
_NAMES_FILE = "names.json"
# what every server of a cluster must have the same of; all else each makes for itself
SHARED_FILES = ("ca.crt", "ca.key", "service-account.key")


class PkiOptions(Struct, frozen=True):
    """What the certificates must say.

    Shape: `addresses` and `names` are where clients reach the API server.
    """

    cluster_name: str = "default"
    addresses: tuple[str, ...] = ("127.0.0.1", "10.42.0.1", "10.43.0.1")
    names: tuple[str, ...] = (
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    )
    hostname: str = field(default_factory=socket.gethostname)

    def subject_names(self) -> tuple[str, ...]:
        """Every name and address of the serving certificate, each once."""
        return tuple(dict.fromkeys((*self.addresses, *self.names, self.hostname)))


class Pair(Struct, frozen=True):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def pem(self) -> tuple[bytes, bytes]:
        """The contents: certificate, key."""
        return self.certificate.read_bytes(), self.key.read_bytes()


class Pki(Struct, frozen=True):
    """Where everything is."""

    directory: Path

    def pair(self, name: str) -> Pair:
        """The files of one certificate."""
        return Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")

    @property
    def ca(self) -> Pair:
        """Who signs everything below."""
        return self.pair("ca")

    @property
    def server(self) -> Pair:
        """What the API server shows to its clients."""
        return self.pair("apiserver")

    @property
    def admin(self) -> Pair:
        """The superuser: `system:masters`."""
        return self.pair("admin")

    @property
    def kubelet_client(self) -> Pair:
        """As whom the API server speaks to kubelets."""
        return self.pair("apiserver-kubelet-client")

    @property
    def service_account_key(self) -> Path:
        """The key that signs service-account tokens."""
        return self.directory / "service-account.key"

    def node_client(self, name: str) -> Pair:
        """As whom a node speaks to the API server: `system:node:<name>`."""
        return self.pair(f"node-{name}-client")

    def node_server(self, name: str) -> Pair:
        """What a node's kubelet shows to its clients."""
        return self.pair(f"node-{name}-server")


class _Wanted(Struct, frozen=True):
    """One leaf certificate: who it is for and where it may stand."""

    name: str
    common_name: str
    organizations: tuple[str, ...] = ()
    subject_names: tuple[str, ...] = ()
    """Names and addresses; empty: a client's certificate."""


def ensure_pki(directory: Path | str, options: PkiOptions, now: float) -> Pki:
    """Everything that one server needs; `now` in seconds since 1970. Raises: OSError."""
    pki = Pki(Path(directory))
    pki.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = (
        _Wanted("apiserver", "kube-apiserver", (), options.subject_names()),
        _Wanted("admin", "admin", ("system:masters",)),
        _Wanted("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    )
    issuer = _Issuer(pki, now)
    issuer.ensure_authority(options.cluster_name)
    for one in wanted:
        issuer.ensure(one)
    if not pki.service_account_key.exists():
        _write(pki.service_account_key, _new_key_pem())
    return pki


def ensure_node_pki(pki: Pki, name: str, addresses: Sequence[str], now: float) -> tuple[Pair, Pair]:
    """The client's and the serving certificate of one node's agent."""
    issuer = _Issuer(pki, now)
    client = _Wanted(f"node-{name}-client", f"system:node:{name}", ("system:nodes",))
    server = _Wanted(
        f"node-{name}-server", f"system:node:{name}", ("system:nodes",), tuple(dict.fromkeys((name, *addresses)))
    )
    return issuer.ensure(client), issuer.ensure(server)


def ensure_client(pki: Pki, name: str, common_name: str, organizations: Sequence[str], now: float) -> Pair:
    """A client certificate for somebody else, kept under `name`."""
    return _Issuer(pki, now).ensure(_Wanted(name, common_name, tuple(organizations)))


class _Issuer:
    """Makes what is missing or about to expire."""

    def __init__(self, pki: Pki, now: float) -> None:
        self._pki = pki
        self._now = now
        self._names = self._read_names()
        self._loaded: tuple[Any, Any] | None = None

    def _read_names(self) -> dict[str, list[str]]:
        try:
            names: dict[str, list[str]] = orjson.loads((self._pki.directory / _NAMES_FILE).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return names

    def ensure_authority(self, cluster_name: str) -> None:
        """The certificate authority; renewing keeps its key, so what it signed stays good."""
        pair = self._pki.ca
        if self._good(pair, CA_SECONDS):
            return
        key = _load_or_make_key(pair.key)
        name = f"carob-{cluster_name}-ca"
        _write(pair.certificate, _sign(name, (), (), key, key, None, self._now, CA_SECONDS))

    def ensure(self, wanted: _Wanted) -> Pair:
        """One leaf certificate."""
        pair = self._pki.pair(wanted.name)
        facts = [wanted.common_name, *wanted.organizations, *wanted.subject_names]
        if self._names.get(wanted.name) == facts and self._good(pair, CERTIFICATE_SECONDS):
            return pair
        authority, authority_key = self._authority()
        key = _load_or_make_key(pair.key)
        pem = _sign(
            wanted.common_name,
            wanted.organizations,
            wanted.subject_names,
            key,
            authority_key,
            authority,
            self._now,
            CERTIFICATE_SECONDS,
        )
        _write(pair.certificate, pem)
        self._names[wanted.name] = facts
        _write(self._pki.directory / _NAMES_FILE, orjson.dumps(self._names))
        return pair

    def _authority(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from cryptography import x509
            from cryptography.hazmat.primitives.serialization import load_pem_private_key

            certificate, key = self._pki.ca.pem()
            self._loaded = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
        return self._loaded

    def _good(self, pair: Pair, lifetime_seconds: int) -> bool:
        """Whether both files are there and the certificate has enough of its life left."""
        try:
            pem = pair.certificate.read_bytes()
            if not pair.key.exists():
                return False
            _, _, not_after = subject_and_expiry(pem_to_der(pem))
        except (OSError, ValueError):
            return False
        return not_after - self._now > lifetime_seconds * RENEW_BELOW


def _new_key_pem() -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec

    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def _key_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def _load_or_make_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError):
        key = ec.generate_private_key(ec.SECP256R1())
        _write(path, _key_pem(key))
        return key


def _sign(
    common_name: str,
    organizations: Sequence[str],
    subject_names: Sequence[str],
    key: Any,
    authority_key: Any,
    authority: Any | None,
    now: float,
    lifetime_seconds: int,
) -> bytes:
    """PEM of a certificate; `authority` None: it signs itself and may sign others."""
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now - BACKDATE_SECONDS, UTC))
        .not_valid_after(datetime.fromtimestamp(now + lifetime_seconds, UTC))
    )
    is_authority = authority is None
    builder = builder.add_extension(
        x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            encipher_only=False,
            decipher_only=False,
        ),
        critical=True,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if not is_authority:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if subject_names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if subject_names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in subject_names])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(authority_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes) -> None:
    """Put a private file in its place at once."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
