"""Service-account tokens: signing, verifying, and the documents by which others verify them.

ES256 (signing costs an eighth of RS256's). A verified signature is remembered by the token's digest: what
is checked each time are dates, audiences and the objects the token is bound to, all dictionary look-ups.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from controlplane.api.model import UserInfo
from controlplane.authn import claims
from controlplane.authn.claims import Binding, Objects
from controlplane.authn.refusal import unauthorized
from kube import pki

ALGORITHM = "ES256"
REMEMBERED_MAX = 4096
TOKEN_MAX_BYTES = 16 * 1024


class Signer:
    """Signs with `key` (PEM, P-256); `issuer` is the URL that tokens name."""

    def __init__(self, issuer: str, key: bytes) -> None:
        self.issuer = issuer
        self._key = key
        self._key_id = key_id(pki.public_key(key))

    def sign(
        self, binding: Binding, audiences: Sequence[str], seconds: int, now: datetime, token_id: str
    ) -> tuple[str, dict[str, Any]]:
        """(token, its claims)."""
        import jwt

        made = claims.make(self.issuer, binding, audiences, seconds, now, token_id)
        return jwt.encode(made, self._key, ALGORITHM, {"kid": self._key_id}), made


class Verifier:
    """Knows tokens of `issuers` signed by any of `keys` (public, PEM): old keys stay good while listed."""

    def __init__(self, issuers: Iterable[str], keys: Iterable[bytes], objects: Objects) -> None:
        self._issuers = frozenset(issuers)
        self._keys = {key_id(key): key for key in keys}
        self._objects = objects
        self._verified: dict[bytes, Mapping[str, Any]] = {}

    def user_of(self, token: str, audiences: Sequence[str], now: datetime) -> tuple[UserInfo, list[str]]:
        """The user, and which of `audiences` the token is for. Unauthorized when it does not hold."""
        found = self._claims(token)
        named = found.get("aud", [])
        named = [named] if isinstance(named, str) else named
        shared = [audience for audience in audiences if audience in named]
        if not shared:
            raise unauthorized(f"invalid bearer token: token audiences {named} is invalid for {audiences}")
        user = claims.check(found, self._objects, now)
        if isinstance(user, str):
            raise unauthorized(f"invalid bearer token: {user}")
        return user, shared

    def _claims(self, token: str) -> Mapping[str, Any]:
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._verify(token)
            if len(self._verified) >= REMEMBERED_MAX:
                self._verified.clear()
            self._verified[digest] = known
        return known

    def _verify(self, token: str) -> Mapping[str, Any]:
        import jwt

        if len(token) > TOKEN_MAX_BYTES:
            raise unauthorized("invalid bearer token: too long")
        # Dates and audiences are checked each time the token is shown.
        options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise unauthorized("invalid bearer token: unknown key")
            found: dict[str, Any] = jwt.decode(token, key, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]
        except jwt.PyJWTError as error:
            raise unauthorized(f"invalid bearer token: {error}") from error
        if found.get("iss") not in self._issuers:
            raise unauthorized("invalid bearer token: unknown issuer")
        return found


def key_id(public: bytes) -> str:
    """As upstream names keys: SHA-256 of the DER of the public key, base64url without padding."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    der = load_pem_public_key(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def key_set(keys: Iterable[bytes]) -> dict[str, Any]:
    """/openid/v1/jwks: the public keys (PEM) as a JWK set."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found = []
    for pem in keys:
        key = load_pem_public_key(pem)
        if not isinstance(key, EllipticCurvePublicKey):
            raise pki.BadCertificate("cannot publish a key: because it is not an elliptic curve's")
        numbers = key.public_numbers()
        place = {"x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        fixed = {"use": "sig", "kty": "EC", "kid": key_id(pem), "crv": "P-256", "alg": ALGORITHM}
        found.append(fixed | place)
    return {"keys": found}


def _coordinate(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def discovery(issuer: str, keys_url: str) -> dict[str, Any]:
    """/.well-known/openid-configuration."""
    return {
        "issuer": issuer,
        "jwks_uri": keys_url,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
    }
