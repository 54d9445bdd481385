"""What decides over a failed call, one fact at a time."""

from email.utils import formatdate

import aiohttp
import ccxt
import pytest

from libs.common.domain.errors import BrokerThrottled, BrokerUnavailable, OrderOutcomeUnknown, OrderRejected
from services.worker.brokers.ccxt_errors import (
    ClockRefused,
    CredentialsRefused,
    Duplicate,
    masked,
    meaning,
    raw_code,
)
from services.worker.brokers.ccxt_exchange import Answer, Call, NotSentError, TooLateError, WithoutIdError
from services.worker.brokers.ccxt_venues import UNKNOWN, VENUES
from tests.support.clock import START_MS


def call(body: str | None = None, status: int = 200, *, has_left: bool = True, retry_after: str = "") -> Call:
    made = Call(lambda: True, has_asked=True, has_left=has_left, is_signed=has_left)
    if body is not None:
        made.answer = Answer(status, {"retry-after": retry_after}, body)
    return made


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def short(value: Exception | type[Exception] | Call) -> str:
    """Return it in the words of a test's name, the same in every process."""
    if not isinstance(value, Call):
        return repr(value)
    answered = f"{value.answer.status} {value.answer.body}" if value.answer is not None else "unanswered"
    return f"{'sent' if value.has_left else 'unsent'} {answered}"


JSON = '{"code": 1}'


@pytest.mark.parametrize(
    ("error", "how_far", "expected"),
    [
        (ccxt.ExchangeNotAvailable(), call(has_left=False), BrokerUnavailable),
        (ccxt.RequestTimeout(), call(has_left=False), BrokerUnavailable),
        (KeyError("x"), call(has_left=False), BrokerUnavailable),
        (ccxt.InvalidOrder("amount"), Call(lambda: True), OrderRejected),
        (ccxt.NotSupported(), Call(lambda: True), OrderRejected),
        (ccxt.InvalidOrder("of a question"), call(has_left=False), BrokerUnavailable),
        (ccxt.AuthenticationError(), call(has_left=False), CredentialsRefused),
        (ccxt.DDoSProtection(), call("", 429, has_left=False), BrokerThrottled),
        (NotSentError("ours no more"), call(has_left=False), BrokerUnavailable),
        (TooLateError("over"), call(has_left=False), OrderRejected),
        (WithoutIdError(), call(has_left=False), OrderRejected),
        (ccxt.ExchangeNotAvailable(), call(), OrderOutcomeUnknown),
        (ccxt.RequestTimeout(), call(), OrderOutcomeUnknown),
        (caused(ccxt.ExchangeError(), aiohttp.ClientPayloadError()), call(), OrderOutcomeUnknown),
        # An answer of a question before the order says nothing about the order.
        (caused(ccxt.InvalidOrder(), aiohttp.ClientPayloadError()), call(JSON), OrderOutcomeUnknown),
        (KeyError("x"), call(JSON), OrderOutcomeUnknown),
        (ccxt.ExchangeError(), call(JSON), OrderOutcomeUnknown),
        (ccxt.OperationFailed(), call(JSON), OrderOutcomeUnknown),
        (ccxt.BadResponse(), call(JSON), OrderOutcomeUnknown),
        (ccxt.InvalidOrder(), call(JSON), OrderRejected),
        (ccxt.InsufficientFunds(), call(JSON, 400), OrderRejected),
        (ccxt.BadSymbol(), call(JSON, 400), OrderRejected),
        (ccxt.MarketClosed(), call(JSON), OrderRejected),
        (ccxt.InvalidOrder(), call(JSON, 500), OrderOutcomeUnknown),
        (ccxt.InvalidOrder(), call(JSON, 408), OrderOutcomeUnknown),
        (ccxt.DuplicateOrderId(), call(JSON), Duplicate),
        (ccxt.InvalidNonce(), call(JSON), ClockRefused),
        (ccxt.RateLimitExceeded(), call(JSON), BrokerThrottled),
        (ccxt.DDoSProtection(), call(JSON, 503), OrderOutcomeUnknown),
        (ccxt.OnMaintenance(), call(JSON), BrokerUnavailable),
        (ccxt.OnMaintenance(), call(JSON, 503), OrderOutcomeUnknown),
        (ccxt.PermissionDenied(), call(JSON, 403), CredentialsRefused),
        (ccxt.ExchangeNotAvailable(), call("<html>", 403), BrokerUnavailable),
        (ccxt.ExchangeNotAvailable(), call("<html>", 502), OrderOutcomeUnknown),
    ],
    ids=short,
)
def test_a_failed_call_means(error: Exception, how_far: Call, expected: type[Exception]) -> None:
    assert type(meaning(error, how_far, UNKNOWN, (), START_MS)) is expected


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        ("7", 7_000),
        ("", None),
        ("soon", None),
        ("9" * 30, 86_400_000),
        (formatdate(START_MS // 1_000 + 30, usegmt=True), 30_000),
    ],
)
def test_the_wait_that_is_asked_for_is_kept_within_a_day(text: str, wait_ms: int | None) -> None:
    found = meaning(ccxt.DDoSProtection(), call("", 429, retry_after=text), UNKNOWN, (), START_MS)
    assert isinstance(found, BrokerThrottled)
    assert found.retry_after_ms == wait_ms


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"code":-2010,"msg":"x"}', "-2010"),
        ('{"retCode":110072}', "110072"),
        ('{"code":"1","data":[{"sCode":"51016"}]}', "51016"),
        ('{"code":"50004","data":[]}', "50004"),
        ('{"error":["EOrder:Insufficient funds"]}', "EOrder:Insufficient funds"),
        ('{"error":[]}', None),
        ('{"success":false,"error_response":{"error":"INSUFFICIENT_FUND"}}', "INSUFFICIENT_FUND"),
        ("<html>", None),
        ("[]", None),
        ("", None),
    ],
)
def test_the_code_is_the_innermost_one(body: str, code: str | None) -> None:
    assert raw_code(body) == code


def test_codes_come_before_what_ccxt_makes_of_them() -> None:
    bybit = VENUES["bybit"]
    late = meaning(ccxt.InvalidOrder(), call('{"retCode": 170146}'), bybit, (), START_MS)
    assert isinstance(late, OrderOutcomeUnknown)
    key = meaning(ccxt.DDoSProtection(), call('{"code": -2015}', 401), VENUES["binance"], (), START_MS)
    assert isinstance(key, CredentialsRefused)


def test_texts_hold_neither_secrets_nor_queries() -> None:
    said = masked("GET https://x.example/a?key=topsecret&signature=abc failed for topsecret", ["topsecret"])
    assert said == "GET https://x.example/a?*** failed for ***"
