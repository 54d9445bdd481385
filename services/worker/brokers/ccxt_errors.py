"""What a failed call at an exchange means for an order.

ccxt's exceptions do not tell it by themselves: its network errors hold both what never left and what may have been
executed, and a truncated answer looks like a refusal. Told by these facts, in this order; what none of them settles
is unknown:

| fact | meaning |
|---|---|
| the head of the request never left | not executed |
| no complete answer | unknown: time-outs, dropped connections, truncated bodies |
| the exchange says that it has this id | it has: look it up |
| a code that the table calls ambiguous | unknown, whatever ccxt makes of it |
| 429, 418 | not executed; come back later |
| a time stamp out of its window, a deadline that passed | not executed |
| the key is refused | not executed, and somebody must act |
| a page of a door: 4xx without JSON | not executed, and somebody must act |
| 5xx | unknown |
| a refusal that ccxt has a name for | refused |
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from libs.common.domain.errors import (
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.wire.masking import MASK, Masker
from services.worker.brokers.ccxt_exchange import (
    Answer,
    Call,
    NotSentError,
    TooLateError,
    WithoutIdError,
)
from services.worker.brokers.ccxt_venues import Venue
from services.worker.brokers.retry_after import retry_after_ms

WORDS_AT_MOST: Final = 500

_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?\S*")
_KNOWN_REFUSALS: Final = (
    "InsufficientFunds",
    "InvalidOrder",
    "BadRequest",
    "OperationRejected",
    "ArgumentsRequired",
)
"""Families of ccxt's errors by which an exchange refuses an order for good."""
_CREDENTIALS: Final = ("AuthenticationError",)
_LATER: Final = ("RateLimitExceeded", "DDoSProtection")
_CODES: Final = ("sCode", "code", "retCode", "ret_code", "err_code", "error_code")


class Duplicate(BrokerError):
    """The exchange has an order of this id already."""


class CredentialsRefused(BrokerUnavailable):
    """The exchange refuses the key, its permissions or our address: nothing is executed until somebody acts."""


class ClockRefused(BrokerUnavailable):
    """The request came outside of its time window: nothing was executed."""


def meaning(error: Exception, call: Call, venue: Venue, secrets: Iterable[str], now_ms: int) -> BrokerError:
    """Return what a failed call means, in the words of the port; never with a secret in it.

    Args:
        error: ccxt's, or whatever its adapter stumbled over.
        call: How far the request came.
        venue: What is known of the exchange.
        secrets: What must not stand in the text.
        now_ms: What the date of a `Retry-After` is held against where the answer has none of its own.
    """
    words = masked(_words(error), secrets)
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, WithoutIdError):
        return OrderRejected(
            "not_supported", "ccxt's adapter sends no client order id here: nothing was sent"
        )
    if isinstance(error, TooLateError):
        return OrderRejected("expired", f"nothing was sent: {error}")
    if isinstance(error, NotSentError):
        return BrokerUnavailable(str(error))
    if not call.has_left:
        return _nothing_left(words, names, call, venue, now_ms)
    answer = call.answer
    if answer is None or _is_broken(error):
        return OrderOutcomeUnknown(f"no complete answer from the exchange: {words}")
    return _answered(words, names, answer, venue, now_ms)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets and without the queries of addresses, which hold signatures and keys."""
    text = Masker(secrets).mask_json(text)
    return _QUERY.sub(rf"\1?{MASK}", text)[:WORDS_AT_MOST]


def is_page_of_a_door(answer: Answer) -> bool:
    """Tell whether an answer is of what stands before an exchange, and so came before it; 302 and 303 may come after."""
    is_refusal = answer.status in {301, 307, 308} or (400 <= answer.status < 500 and answer.status != 408)
    return is_refusal and not is_json(answer.body)


def is_json(body: str) -> bool:
    """Tell whether an answer holds an object or a list, as every answer of an exchange does."""
    try:
        return isinstance(json.loads(body), dict | list)
    except ValueError:
        return False


def raw_code(body: str) -> str | None:
    """Return the exchange's own code in an answer; the innermost where there are several."""
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return _code_in(content)


def says_not_found(error: Exception, venue: Venue) -> bool:
    """Tell whether an exchange said to a look-up that it knows no such order."""
    text = str(error)
    start = text.find("{")
    return type(error).__name__ == "OrderNotFound" or (
        start >= 0 and raw_code(text[start:]) in venue.not_found
    )


def _code_in(content: Any) -> str | None:
    if not isinstance(content, dict):
        return None
    data = content.get("data")
    if isinstance(data, list) and data and isinstance(data[0], dict) and data[0].get("sCode"):
        return str(data[0]["sCode"])
    for name in _CODES:
        if isinstance(content.get(name), str | int):
            return str(content[name])
    error = content.get("error")
    if isinstance(error, list) and error:
        return str(error[0])
    if isinstance(error, str):
        return error
    return _code_in(content.get("error_response"))


def _nothing_left(words: str, names: set[str], call: Call, venue: Venue, now_ms: int) -> BrokerError:
    if call.answer is not None:  # of a question before the order
        if call.answer.status in {418, 429}:
            return _throttled(words, call.answer, now_ms)
        if _refuses_credentials(names, raw_code(call.answer.body), call.answer, venue):
            return CredentialsRefused(f"nothing was sent: {words}")
        return BrokerUnavailable(f"nothing was sent: {words}")
    if not call.has_asked and names & {*_KNOWN_REFUSALS, "NotSupported", "BadSymbol"}:
        return OrderRejected("invalid", f"refused before it was sent: {words}")
    if names & set(_CREDENTIALS):
        return CredentialsRefused(f"nothing was sent: {words}")
    return BrokerUnavailable(f"nothing was sent: {words}")


def _answered(words: str, names: set[str], answer: Answer, venue: Venue, now_ms: int) -> BrokerError:
    """Return what a complete answer means that ccxt made an error of."""
    code = raw_code(answer.body)
    if venue.duplicate.search(answer.body) or "DuplicateOrderId" in names:
        return Duplicate(words)
    if code in venue.ambiguous:
        return OrderOutcomeUnknown(f"the exchange does not tell: {words}")
    if answer.status in {418, 429}:
        return _throttled(words, answer, now_ms)
    if code in venue.not_executed:
        return ClockRefused(f"not executed, for its time was over: {words}")
    if _refuses_credentials(names, code, answer, venue):
        return CredentialsRefused(f"the exchange refuses the key: {words}")
    if is_page_of_a_door(answer):
        return BrokerUnavailable(f"the exchange's door refused the request ({answer.status}): {words}")
    if answer.status >= 500 or answer.status == 408:
        return OrderOutcomeUnknown(f"the exchange failed ({answer.status}): {words}")
    if "InvalidNonce" in names:
        return ClockRefused(f"not executed, for its time stamp: {words}")
    if names & set(_LATER):
        return _throttled(words, answer, now_ms)
    if "OnMaintenance" in names:
        return BrokerUnavailable(f"the exchange is under maintenance: {words}")
    if code in venue.refused or names & set(_KNOWN_REFUSALS):
        return OrderRejected(code or "rejected", words)
    return OrderOutcomeUnknown(f"the answer does not tell: {words}")


def _refuses_credentials(names: set[str], code: str | None, answer: Answer, venue: Venue) -> bool:
    return code in venue.credentials or (
        answer.status < 500 and (answer.status == 401 or bool(names & set(_CREDENTIALS)))
    )


def _is_broken(error: BaseException) -> bool:
    """Tell whether the network failed while an answer was received: ccxt keeps its error as the cause."""
    import aiohttp

    cause = error.__cause__
    return isinstance(cause, aiohttp.ClientError | OSError | TimeoutError)


def _throttled(words: str, answer: Answer, now_ms: int) -> BrokerThrottled:
    wait_ms = retry_after_ms(answer.headers, now_ms)
    return BrokerThrottled(f"too many requests: {words}", retry_after_ms=wait_ms)


def _words(error: Exception) -> str:
    cause = error.__cause__
    because = f" ({type(cause).__name__}: {cause})" if cause is not None else ""
    return f"{type(error).__name__}: {error}{because}"
