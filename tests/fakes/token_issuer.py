"""An OpenID Connect issuer for tests: keys that can be exchanged, tokens with any claims, its two documents."""

from __future__ import annotations

import json
from typing import Any

from carob.apiserver.authn.fetching import FetchError

URL = "https://issuer.test/realm"
CLIENT = "carob"


class TokenIssuer:
    """Signs tokens, and is the `Fetcher` that finds its own documents."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.keys: dict[str, tuple[str, Any]] = {}
        self.fetched: list[str] = []
        self.broken = False
        self.texts: dict[str, str] = {}
        """What stands elsewhere: at a URL and, with a blank before it, for an access token."""
        self.others: list[TokenIssuer] = []
        self.add_key("first")

    def add_key(self, name: str, algorithm: str = "ES256") -> None:
        """A new key, beside the others."""
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        if algorithm.startswith("ES"):
            self.keys[name] = algorithm, ec.generate_private_key(ec.SECP256R1())
        else:
            self.keys[name] = algorithm, rsa.generate_private_key(65537, 2048)

    def token(self, now: float, key: str = "first", name_key: bool = True, **claims: Any) -> str:
        """A token; a claim that is None is left out."""
        import jwt

        algorithm, private = self.keys[key]
        all_claims = {"iss": self.url, "aud": CLIENT, "sub": "jane", "exp": int(now) + 600, "iat": int(now), **claims}
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(kept, private, algorithm, headers={"kid": key} if name_key else {"kid": None})

    def documents(self) -> dict[str, Any]:
        """What stands at which URL."""
        from jwt.algorithms import ECAlgorithm, RSAAlgorithm

        keys = []
        for name, (algorithm, private) in self.keys.items():
            family = ECAlgorithm if algorithm.startswith("ES") else RSAAlgorithm
            keys.append({**family.to_jwk(private.public_key(), as_dict=True), "kid": name, "use": "sig"})
        rubbish = [{"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "!", "e": "AQAB"}, "x", {"kty": "EC", "use": "enc"}]
        return {
            f"{self.url}/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            f"{self.url}/keys": {"keys": [*rubbish, *keys]},
        }

    async def get(self, url: str, authority_pem: str, access_token: str = "") -> bytes:
        """See `Fetcher`."""
        self.fetched.append(url)
        if self.broken:
            raise FetchError("it is broken")
        place = f"{url} {access_token}".strip()
        if place in self.texts:
            return self.texts[place].encode()
        for issuer in (self, *self.others):
            if url in issuer.documents():
                return json.dumps(issuer.documents()[url]).encode()
        raise FetchError(f"{url} answers 404")
