"""The cluster's certificates: complete, private, renewed in time, and never exchanged without need."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from carob.apiserver.pki import CERTIFICATE_SECONDS, DAY_SECONDS, Pki, PkiOptions, ensure_node_pki, ensure_pki

NOW = 1_700_000_000.0
OPTIONS = PkiOptions(hostname="machine.example")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def signed_by_ca(pki: Pki, path: Path) -> bool:
    certificate(path).verify_directly_issued_by(certificate(pki.ca.certificate))
    return True


def test_first_boot_makes_everything_private(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path / "pki", OPTIONS, NOW)
    client, server = ensure_node_pki(pki, "node-0", ("10.42.0.1",), NOW)
    for pair in (pki.server, pki.admin, pki.kubelet_client, client, server):
        assert signed_by_ca(pki, pair.certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key)
    for path in (tmp_path / "pki").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert not path.name.startswith(".")
    key = certificate(pki.admin.certificate).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)


def test_the_server_has_all_its_names(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, OPTIONS, NOW)
    found = certificate(pki.server.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = {str(name.value) for name in found}
    wanted = {"127.0.0.1", "10.42.0.1", "10.43.0.1", "kubernetes.default.svc.cluster.local", "machine.example"}
    assert wanted <= names


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    ensure_pki(tmp_path, OPTIONS, NOW)
    before = snapshot(tmp_path)
    ensure_pki(tmp_path, OPTIONS, NOW + 30 * DAY_SECONDS)
    assert snapshot(tmp_path) == before


def test_certificates_are_renewed_before_they_expire_and_keep_their_keys(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, OPTIONS, NOW)
    before = snapshot(tmp_path)
    ensure_pki(tmp_path, OPTIONS, NOW + 0.8 * CERTIFICATE_SECONDS)
    after = snapshot(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {
        "admin.crt",
        "apiserver.crt",
        "apiserver-kubelet-client.crt",
    }
    assert signed_by_ca(pki, pki.admin.certificate)


def test_another_address_makes_a_new_server_certificate_only(tmp_path: Path) -> None:
    ensure_pki(tmp_path, OPTIONS, NOW)
    before = snapshot(tmp_path)
    ensure_pki(tmp_path, PkiOptions(hostname="machine.example", addresses=("127.0.0.1", "192.0.2.7")), NOW)
    after = snapshot(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"apiserver.crt", "names.json"}


def test_a_lost_or_broken_file_is_made_again(tmp_path: Path) -> None:
    pki = ensure_pki(tmp_path, OPTIONS, NOW)
    pki.admin.certificate.unlink()
    pki.server.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    pki.kubelet_client.key.unlink()
    ensure_pki(tmp_path, OPTIONS, NOW)
    for pair in (pki.server, pki.admin, pki.kubelet_client):
        assert signed_by_ca(pki, pair.certificate)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair.certificate, pair.key)
