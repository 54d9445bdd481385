"""Answers to posts that were taken, made of fixed bytes: they are the hot path."""

from typing import Any, Final

from starlette.types import Send

from libs.common.domain.ids import AlertId
from libs.common.web.problems import JSON, send_json
from libs.common.web.whole_request import WholeRequest

_HEAD: Final = b'{"ok":true,"alert_id":"'
_ADMITTED: Final = b'","duplicate":false}'
_DUPLICATE: Final = b'","duplicate":true}'
_ID_LENGTH: Final = 26


def _start(tail: bytes) -> dict[str, Any]:
    length = len(_HEAD) + _ID_LENGTH + len(tail)
    headers = [JSON, (b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _lines(start: dict[str, Any]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in start["headers"])


# Servers read these and change nothing, so one of each serves every answer.
_ADMITTED_START: Final = _start(_ADMITTED)
_DUPLICATE_START: Final = _start(_DUPLICATE)
_ADMITTED_LINES: Final = _lines(_ADMITTED_START)
_DUPLICATE_LINES: Final = _lines(_DUPLICATE_START)


def answer_admitted(request: WholeRequest, alert_id: AlertId) -> None:
    """Answer at once that the alert is durable."""
    request.answer(_ADMITTED_LINES, _HEAD + alert_id.encode() + _ADMITTED)


def answer_duplicate(request: WholeRequest, alert_id: AlertId) -> None:
    """Answer at once that the alert was durable before, under the id it got then."""
    request.answer(_DUPLICATE_LINES, _HEAD + alert_id.encode() + _DUPLICATE)


async def send_admitted(send: Send, alert_id: AlertId) -> None:
    """Answer that the alert is durable."""
    await _send(send, alert_id, _ADMITTED, _ADMITTED_START)


async def send_duplicate(send: Send, alert_id: AlertId) -> None:
    """Answer that the alert was durable before, under the id it got then."""
    await _send(send, alert_id, _DUPLICATE, _DUPLICATE_START)


async def _send(send: Send, alert_id: AlertId, tail: bytes, start: dict[str, Any]) -> None:
    body = _HEAD + alert_id.encode() + tail
    if len(alert_id) != _ID_LENGTH:
        await send_json(send, 200, body)
        return
    await send(start)
    await send({"type": "http.response.body", "body": body})
