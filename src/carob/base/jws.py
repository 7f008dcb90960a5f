"""Signing and checking of compact JSON web tokens, ES256 and RS256, as far as service-account tokens need them.

Pure apart from the signature's own randomness. `cryptography` is imported when the first key is loaded.

Source: RFC 7515, RFC 7518 section 3.4 (the ECDSA signature is r and s, each of the curve's size); kubernetes
`pkg/serviceaccount` for the key id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import cached_property
from typing import Any

import orjson


class InvalidToken(Exception):
    """The token is malformed, or signed by a key that is not ours."""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken("not base64url") from error


def unverified_claims(token: str) -> dict[str, Any]:
    """The claims of a token whoever signed it. Raises: InvalidToken."""
    return _part(token, 1, "claims")


def unverified_header(token: str) -> dict[str, Any]:
    """The header of a token. Raises: InvalidToken."""
    return _part(token, 0, "the header")


def _part(token: str, number: int, name: str) -> dict[str, Any]:
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("a token has three parts")
    try:
        tree = orjson.loads(_decode(parts[number]))
    except orjson.JSONDecodeError as error:
        raise InvalidToken(f"{name} is not JSON") from error
    if not isinstance(tree, dict):
        raise InvalidToken(f"{name} is not an object")
    return tree


class SigningKey:
    """A private key (PEM, ECDSA P-256 or RSA) with the name under which its tokens carry it.

    The key is loaded when it is first used: that costs tens of milliseconds, most of them the import of `cryptography`.
    """

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives import serialization

        return serialization.load_pem_private_key(self._pem, None)

    @cached_property
    def _public(self) -> Any:
        return self._key.public_key()

    @cached_property
    def _elliptic(self) -> bool:
        from cryptography.hazmat.primitives.asymmetric import ec

        return isinstance(self._public, ec.EllipticCurvePublicKey)

    @property
    def algorithm(self) -> str:
        """As JSON web tokens name it."""
        return "ES256" if self._elliptic else "RS256"

    @cached_property
    def key_id(self) -> str:
        """The name of the key: a digest of its public part."""
        from cryptography.hazmat.primitives import serialization

        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return _encode(hashlib.sha256(self._public.public_bytes(serialization.Encoding.DER, form)).digest())

    @cached_property
    def _header(self) -> str:
        return _encode(orjson.dumps({"alg": self.algorithm, "kid": self.key_id}))

    def warm_up(self) -> None:
        """Do what the first token would wait for. Any thread may call it."""
        self.verify(self.sign({}))

    def sign(self, claims: dict[str, Any]) -> str:
        """A compact token with these claims."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

        signed = f"{self._header}.{_encode(orjson.dumps(claims, option=orjson.OPT_SORT_KEYS))}"
        if self._elliptic:
            r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        else:
            signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(signature)}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that this key signed. Raises: InvalidToken."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

        claims = unverified_claims(token)
        signed, _, signature_text = token.rpartition(".")
        try:
            header = orjson.loads(_decode(signed.partition(".")[0]))
        except orjson.JSONDecodeError as error:
            raise InvalidToken("the header is not JSON") from error
        if not isinstance(header, dict) or header.get("alg") != self.algorithm:
            raise InvalidToken("another algorithm than our key's")
        signature = _decode(signature_text)
        try:
            if self._elliptic:
                if len(signature) != 64:
                    raise InvalidToken("wrong length of signature")
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                self._public.verify(utils.encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
            else:
                self._public.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise InvalidToken("the signature does not fit") from error
        return claims

    def jwk(self) -> dict[str, str]:
        """The public key as a JSON web key, fields in upstream's order."""
        numbers = self._public.public_numbers()
        head = {"use": "sig", "kty": "EC" if self._elliptic else "RSA", "kid": self.key_id}
        if self._elliptic:
            x, y = (_encode(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
            return {**head, "crv": "P-256", "alg": self.algorithm, "x": x, "y": y}
        n, e = (_encode(v.to_bytes((v.bit_length() + 7) // 8, "big")) for v in (numbers.n, numbers.e))
        return {**head, "alg": self.algorithm, "n": n, "e": e}
