"""What `bascule check --connect` makes of what a worker found out."""

from typing import Any

import pytest

from cli.check_connect import _account

AWAY: dict[str, Any] = {
    "account": "desk",
    "broker": "http",
    "error": "refused",
    "market_type": "spot",
    "place": "live",
}


@pytest.mark.parametrize(
    ("broker", "exchange", "remedy"),
    [
        (
            "http",
            None,
            "start it, or correct the account's url; docs/http-broker.md says what it must answer",
        ),
        ("ccxt", "bybit", "correct what it says; docs/exchanges.md has the steps for exchanges"),
    ],
)
def test_a_venue_that_does_not_answer_is_sent_to_the_page_of_its_kind(
    broker: str, exchange: str | None, remedy: str
) -> None:
    [finding] = _account({**AWAY, "broker": broker, "exchange": exchange})

    assert finding.remedy == remedy
