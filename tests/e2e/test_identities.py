"""Identities that the cluster gives out work against the real server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from clusters import Cluster

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_a_user_whose_request_was_approved_gets_in(cluster: Cluster, kubectl_version: str, tmp_path: Path) -> None:
    name = f"jane-{kubectl_version.replace('.', '-')}"
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dev"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    manifest = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    cluster.kubectl(kubectl_version, "create", "-f", "-", stdin=json.dumps(manifest)).check()
    cluster.kubectl(kubectl_version, "certificate", "approve", name).check()
    waited = ("wait", "--for=jsonpath={.status.certificate}", f"csr/{name}", "--timeout=10s")
    cluster.kubectl(kubectl_version, *waited).check()
    signed = cluster.kubectl(kubectl_version, "get", "csr", name, "-o", "jsonpath={.status.certificate}").check().out
    cluster.kubectl(kubectl_version, "delete", "csr", name).check()

    (tmp_path / "user.crt").write_bytes(base64.b64decode(signed))
    (tmp_path / "user.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    config = json.loads(cluster.kubectl(kubectl_version, "config", "view", "--raw", "--minify", "-o", "json").out)
    config["users"][0]["user"] = {"client-certificate": "user.crt", "client-key": "user.key"}
    own = tmp_path / "kubeconfig"
    own.write_text(json.dumps(config))
    told = cluster.kubectl(kubectl_version, "--kubeconfig", own, "auth", "whoami", "-o", "json").check().out
    info = json.loads(told)["status"]["userInfo"]
    assert (info["username"], info["groups"]) == (name, ["dev", "system:authenticated"])
