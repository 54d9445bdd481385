"""One HTTP answer of a venue, and what any of them may hold: JSON, exact numbers, a `Retry-After`. Pure.

What its statuses mean for an order stands in `http_orders`, for a question in `http_facts`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from libs.common.domain.errors import BrokerThrottled, LookUpUnavailable
from services.worker.brokers.retry_after import retry_after_ms

NOT_TAKEN: Final = frozenset({301, 307, 308, 401, 403, 404, 405, 411, 413, 414, 415, 421, 426, 431})
"""Statuses of a door, not of a venue: nothing behind it saw the request. Whoever set it up must act."""

NOT_OFFERED: Final = frozenset({404, 405, 501})
"""Statuses of a venue without this address, where the address is optional."""

WORDS_AT_MOST: Final = 500
"""Characters of a venue's text that are kept."""

_DIGITS_AT_MOST: Final = 64
"""Before or behind the point. "1E999999999" is ten bytes long and a gigabyte once written out."""

Content = TypeVar("Content")


class Answer(msgspec.Struct, frozen=True):
    """One complete answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    is_trusted: bool = True
    """Whether its signature fits, or none was asked for."""

    def __str__(self) -> str:
        """Return the status and the start of the body, for an error's text."""
        words = self.body[:200].decode("utf-8", "replace").strip()
        return f"{self.status}: {words}" if words else f"{self.status} without a body"


class UnusableError(Exception):
    """The body is not what it should be; the text says how."""


def decode(answer: Answer, decoder: msgspec.json.Decoder[Content]) -> Content:
    """Return the body's content. Decimals are exact, whether they came as strings or as numbers.

    Raises:
        UnusableError: It is not JSON of this shape.
    """
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableError(str(error)) from error


def number(name: str, value: Decimal | None) -> Decimal:
    """Return a number that the answer must hold.

    Raises:
        UnusableError: It is missing, not finite or beyond all measure.
    """
    if value is None:
        raise UnusableError(f"{name} is missing")
    if not value.is_finite():
        raise UnusableError(f"{name} is {value}")
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if len(digits) + exponent > _DIGITS_AT_MOST or -exponent > _DIGITS_AT_MOST:
        raise UnusableError(f"{name} has more than {_DIGITS_AT_MOST} digits")
    return value


def number_or_none(name: str, value: Decimal | None) -> Decimal | None:
    """Return a number that the answer may hold; as `number`."""
    return None if value is None else number(name, value)


def asked(answer: Answer, decoder: msgspec.json.Decoder[Content], what: str) -> Content:
    """Return the content of the answer to a question.

    Raises:
        LookUpUnavailable: It holds none.
    """
    if answer.status != 200:
        raise LookUpUnavailable(f"the question for {what} was not answered: {answer}")
    try:
        return decode(answer, decoder)
    except UnusableError as error:
        raise unusable(what, answer, error) from error


def unusable(what: str, answer: Answer, error: UnusableError) -> LookUpUnavailable:
    """Return the error that says what was wrong with an answer."""
    return LookUpUnavailable(f"no usable {what} in the answer ({error}): {answer}")


def throttled(answer: Answer, now_ms: int) -> BrokerThrottled:
    """Return what a 429 means, with the time its `Retry-After` asks for."""
    return BrokerThrottled(
        f"too many requests: {answer}", retry_after_ms=retry_after_ms(answer.headers, now_ms)
    )
