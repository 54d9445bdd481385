"""Whether a presented credential is one of ours, without telling how close it came."""

import hashlib
import hmac
from collections.abc import Iterable


class Credentials:
    """The secrets that a webhook accepts: one, or two while one replaces the other."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Args:
        secrets: The accepted values; an empty one is never accepted.
        """
        self._digests = tuple(_digest(secret) for secret in secrets if secret)

    def accept(self, presented: str) -> bool:
        """Tell whether `presented` is one of the secrets, in a time that depends on its length alone."""
        digest = _digest(presented)
        is_accepted = False
        # No early exit: which of the secrets matched must not show either.
        for own in self._digests:
            is_accepted |= hmac.compare_digest(own, digest)
        return is_accepted


def _digest(value: str) -> bytes:
    # Digests have equal length, so the comparison does not reveal the secret's.
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
