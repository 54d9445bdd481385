"""Reads a request's body, up to a limit."""

from typing import Final

from starlette.types import Receive, Scope

from libs.common.domain.errors import AdmissionError, BridgeError

_MAX_LENGTH_DIGITS: Final = 18


class SenderGone(BridgeError):
    """The other side closed the connection before its request was complete: nobody waits for an answer."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        AdmissionError: 413; at once where the declared length says so, else as soon as too much has come.
        SenderGone: The sender left.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and (len(value) > _MAX_LENGTH_DIGITS or int(value) > max_bytes):
            raise too_large(f"{value[:_MAX_LENGTH_DIGITS].decode('latin-1')} bytes", max_bytes)
    message = await receive()
    # Nearly always the whole body came with the headers.
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise too_large(f"more than {max_bytes} bytes", max_bytes)
        return body
    parts = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise SenderGone("the sender left in the middle of its body")
        parts += message.get("body", b"")
        if len(parts) > max_bytes:
            raise too_large(f"more than {max_bytes} bytes", max_bytes)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()


def too_large(came: str, max_bytes: int) -> AdmissionError:
    """Return the refusal of a body beyond the limit."""
    return AdmissionError(413, "too_large", f"the body has {came}, expected at most {max_bytes} bytes")
