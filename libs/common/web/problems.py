"""Answers that are not a success: all of one shape."""

from collections.abc import Sequence
from typing import Final

import orjson
from starlette.types import Send

from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import EventId

Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
CLOSE: Final[Header] = (b"connection", b"close")


def problem_body(error: AdmissionError, event_id: EventId) -> bytes:
    """Return the body of a refusal."""
    return orjson.dumps(
        {
            "ok": False,
            "error": {"code": error.code, "detail": error.detail, "field": error.field},
            "event_id": event_id,
        }
    )


def problem_headers(error: AdmissionError) -> list[Header]:
    """Return what a refusal says besides its body."""
    return [] if error.retry_after_s is None else [(b"retry-after", b"%d" % error.retry_after_s)]


async def send_json(send: Send, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
    """Send a whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})
