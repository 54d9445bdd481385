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
        # Secrets that were presented and accepted, until when they are. To hash them each time costs five times as much.
        self._proved: dict[bytes, int | None] = {}

    def accept(self, presented: str, now_ms: int) -> bool:
        """Tell whether `presented` is one of the secrets now, in a time that depends on its length, and on whether it is one
        that was presented before: which its answer says anyway.
        """
        shown = presented.encode("utf-8", "surrogatepass")
        is_accepted = False
        # No early exit, here and below: which of the secrets matched must not show either.
        for proved, expires_at_ms in self._proved.items():
            # Its time is that of its second text, so it does not reveal the length of the first.
            is_own = hmac.compare_digest(proved, shown)
            is_accepted |= is_own and _holds(expires_at_ms, now_ms)
        return is_accepted or self._prove(presented, shown, now_ms)

    def _prove(self, presented: str, shown: bytes, now_ms: int) -> bool:
        is_accepted = False
        for salt, own, expires_at_ms in self._secrets:
            # Digests have equal length, so the comparison does not reveal the secret's.
            is_own = hmac.compare_digest(own, _digest(salt, presented))
            if is_own and _holds(expires_at_ms, now_ms):
                is_accepted = True
                self._proved[shown] = expires_at_ms
        return is_accepted


def _holds(expires_at_ms: int | None, now_ms: int) -> bool:
    return expires_at_ms is None or now_ms < expires_at_ms


def is_token(token: str, own: HashedToken, now_ms: int) -> bool:
    """Tell whether a token of a URL is this one now."""
    presented, kept = bytes.fromhex(token_digest(token)), bytes.fromhex(own.digest)
    is_own = hmac.compare_digest(kept, presented)
    return is_own and (own.expires_at_ms is None or now_ms < own.expires_at_ms)


def _digest(salt: str, value: str) -> bytes:
    return hashlib.sha256(f"{salt}{value}".encode("utf-8", "surrogatepass")).digest()
