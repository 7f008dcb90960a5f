"""TLS contexts for both sides: HTTP/1.1 by ALPN, TLS 1.2 or newer, certificates in PEM files.

Touches: the certificate files, once, when a context is made.
"""

from __future__ import annotations

import os
import ssl

ALPN = ["http/1.1"]


def server_context(certificate_file: str, key_file: str, *, client_ca_file: str = "") -> ssl.SSLContext:
    """What a server shows, and whose client certificates it believes.

    Shape: with `client_ca_file` a client may show a certificate; one that this CA did not sign ends the handshake.
    Without it no client is asked. Raises: OSError or ssl.SSLError for files that cannot be used.
    Differs: upstream answers 401 to a certificate of a foreign CA; here the handshake fails.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate_file, key_file)
    context.set_alpn_protocols(ALPN)
    # nobody resumes sessions with us: every ticket would be a write and a read for nothing
    context.num_tickets = 0
    if client_ca_file:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca_file)
    return context


def client_context(
    *,
    ca_file: str = "",
    ca_data: str = "",
    certificate_file: str = "",
    key_file: str = "",
    certificate_data: bytes = b"",
    key_data: bytes = b"",
    insecure: bool = False,
) -> ssl.SSLContext:
    """Whom a client believes, and what it shows.

    Shape: `…_data` is PEM. Without any CA the machine's own trust store counts. `insecure` believes everybody.
    Raises: OSError or ssl.SSLError for files that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file or ca_data:
        context.load_verify_locations(cafile=ca_file or None, cadata=ca_data or None)
    else:
        context.load_default_certs()
    if certificate_data:
        _load_pair(context, certificate_data, key_data)
    elif certificate_file:
        context.load_cert_chain(certificate_file, key_file or None)
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL reads keys from files only; this one never has a name on a disk."""
    handle = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
