"""HMAC signatures: of posts to a webhook, and of what goes to and comes from an execution layer behind `http`."""

import hashlib
import hmac
from typing import Final

_SCHEME: Final = "sha256="


def sign_body(key: str, body: bytes) -> str:
    """Return the `X-Signature` of a body: `sha256=` and the hexadecimal HMAC-SHA256."""
    return _SCHEME + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def sign_request(key: str, method: str, path: str, at_ms: int) -> str:
    r"""Return the `X-Signature` of a request without a body.

    Args:
        key: The shared secret.
        method: `GET` or `DELETE`.
        path: With its query, as it is sent.
        at_ms: What the `X-Timestamp` header says.

    Returns:
        `sha256=` and the HMAC of method, path and time, joined by `\n`.
    """
    return sign_body(key, f"{method}\n{path}\n{at_ms}".encode())


def is_signed(key: str, body: bytes, signature: str) -> bool:
    """Tell in constant time whether `signature` is that of `body`; hexadecimal digits of any case, scheme optional."""
    presented = signature.strip().lower().removeprefix(_SCHEME)
    own = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    # Digests of both have equal length, whatever was presented.
    return hmac.compare_digest(_digest(own), _digest(presented))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
