"""Whether a presented credential is one of ours, without telling how close it came.

Secrets are kept as salted digests, so that what is stored cannot be presented. URL tokens are digested without a salt,
since a webhook is found by them; we make them ourselves, and nobody guesses one.
"""

import hashlib
import hmac
from collections.abc import Iterable

import msgspec


class HashedSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret that can be recognised but not read."""

    salt: str
    digest: str
    """Hexadecimal SHA-256 of salt and secret."""
    expires_at_ms: int | None = None
    """When it ceases to be accepted; None: never."""


class HashedToken(msgspec.Struct, frozen=True, omit_defaults=True):
    """The token of a webhook's URL, the same way."""

    digest: str
    """Hexadecimal SHA-256."""
    expires_at_ms: int | None = None


def hash_secret(value: str, salt: str, expires_at_ms: int | None = None) -> HashedSecret:
    """Return a secret as it is kept.

    Args:
        value: The secret itself.
        salt: Random, of its own.
        expires_at_ms: When it ceases to be accepted.
    """
    return HashedSecret(salt, _digest(salt, value).hex(), expires_at_ms)


def token_digest(token: str) -> str:
    """Return what a URL token is found and kept by."""
    return _digest("", token).hex()


class Credentials:
    """The secrets that a webhook accepts: one, or two while one replaces the other."""

    def __init__(self, secrets: Iterable[HashedSecret]) -> None:
        self._secrets = tuple((one.salt, bytes.fromhex(one.digest), one.expires_at_ms) for one in secrets)

    def accept(self, presented: str, now_ms: int) -> bool:
        """Tell whether `presented` is one of the secrets now, in a time that depends on its length alone."""
        is_accepted = False
        # No early exit: which of the secrets matched must not show either.
        for salt, own, expires_at_ms in self._secrets:
            # Digests have equal length, so the comparison does not reveal the secret's.
            is_own = hmac.compare_digest(own, _digest(salt, presented))
            is_accepted |= is_own and (expires_at_ms is None or now_ms < expires_at_ms)
        return is_accepted


def is_token(token: str, own: HashedToken, now_ms: int) -> bool:
    """Tell whether a token of a URL is this one now."""
    presented, kept = bytes.fromhex(token_digest(token)), bytes.fromhex(own.digest)
    is_own = hmac.compare_digest(kept, presented)
    return is_own and (own.expires_at_ms is None or now_ms < own.expires_at_ms)


def _digest(salt: str, value: str) -> bytes:
    return hashlib.sha256(f"{salt}{value}".encode("utf-8", "surrogatepass")).digest()
