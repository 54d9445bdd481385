from collections.abc import Sequence
from typing import Any

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.web.body import SenderGone, read_body


class Sender:
    """Gives one message after the other, and counts them."""

    def __init__(self, messages: Sequence[dict[str, Any]]) -> None:
        self._messages = iter(messages)
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return next(self._messages)


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(length: bytes | None = None) -> dict[str, Any]:
    return {"headers": [] if length is None else [(b"content-length", length)]}


async def test_a_body_in_one_piece_is_read() -> None:
    assert await read_body(scope(b"3"), Sender([part(b"abc", more=False)]), 3) == b"abc"


async def test_a_body_in_pieces_is_put_together() -> None:
    sender = Sender([part(b"a", more=True), part(b"", more=True), part(b"bc", more=False)])
    assert await read_body(scope(), sender, 3) == b"abc"


@pytest.mark.parametrize("length", [b"4", b"10485760", b"9" * 400])
async def test_a_declared_length_beyond_the_limit_is_refused_unread(length: bytes) -> None:
    sender = Sender([])
    with pytest.raises(AdmissionError) as caught:
        await read_body(scope(length), sender, 3)
    assert (caught.value.status, sender.asked) == (413, 0)


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"abcd", more=False)],
        [part(b"abcd", more=True)],
        [part(b"ab", more=True), part(b"cd", more=True), part(b"never read", more=False)],
    ],
)
async def test_reading_stops_where_the_limit_is_passed(messages: list[dict[str, Any]]) -> None:
    sender = Sender(messages)
    with pytest.raises(AdmissionError) as caught:
        await read_body(scope(), sender, 3)
    assert caught.value.status == 413
    assert "the body has more than 3 bytes" in str(caught.value)
    assert sender.asked <= 2


@pytest.mark.parametrize("messages", [[], [part(b"a", more=True)]])
async def test_a_sender_that_leaves_is_told_from_one_that_sent_nothing(
    messages: list[dict[str, Any]],
) -> None:
    with pytest.raises(SenderGone):
        await read_body(scope(), Sender([*messages, {"type": "http.disconnect"}]), 3)
