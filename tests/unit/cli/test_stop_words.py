import pytest

from cli.stop_words import stop_words
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.halts import EVERYTHING, Scope


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (EVERYTHING, "everything"),
        (Scope(account=AccountName("paper")), "account paper"),
        (Scope(symbol=Market("BYBIT:BTC")), "symbol BYBIT:BTC"),
        (Scope(AccountName("a"), "s: 1;x", Market("BTC/USDT:USDT")), "account a, strategy s: 1;x, symbol BTC/USDT:USDT"),
    ],
)  # fmt: skip
def test_the_scope_of_a_halt_is_shown_in_words(scope: Scope, words: str) -> None:
    detail = f"pause of {scope.encode()}: news: wait;symbol=X: y"
    assert stop_words(detail) == f"pause of {words}: news: wait;symbol=X: y"


@pytest.mark.parametrize(
    "detail", ["", "attempt 1", "reject of account=;symbol=: x", "default", "sum of a: b"]
)
def test_other_details_stay_as_they_are(detail: str) -> None:
    assert stop_words(detail) == detail
