"""From settings to the exchange that is simulated."""

from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.domain.venue import Instrument
from libs.common.policy.book import Book
from libs.common.policy.faults import Fault, Faults, Latency
from libs.common.policy.order_checks import Rules
from libs.common.runtime.account_settings import PaperAccount
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.paper_exchange import PaperExchange, paper_exchange
from libs.common.runtime.paper_settings import PRESETS, PaperFaults, Preset

BASE = """
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}
accounts:
  paper: {broker: paper%s}
"""


def load(tmp_path: Path, more: str) -> PaperExchange:
    path = tmp_path / "bridge.yaml"
    path.write_text(BASE % more)
    (account,) = load_settings(path).accounts.values()
    assert isinstance(account, PaperAccount)
    return paper_exchange(account)


def test_by_default_nothing_goes_wrong_and_everything_fits() -> None:
    made = paper_exchange(PaperAccount())
    assert (made.rules, made.faults, made.latency) == (Rules(), Faults(), Latency())


def test_basis_points_are_what_was_written() -> None:
    rules = paper_exchange(PaperAccount(slippage_bps=2.3, fee_bps=0.1)).rules
    assert (rules.slippage_bps, rules.fee_bps) == (Decimal("2.3"), Decimal("0.1"))


def test_every_key_reaches_the_exchange(tmp_path: Path) -> None:
    made = load(
        tmp_path,
        """, quantity_step: 0.001, price_step: 0.01, min_quantity: 0.002, max_quantity: 5, min_value: 10,
        latency: 20ms, latency_most: 1s, partial_fills: 0.25, seed: 7, cash: 50, currency: EUR, default_price: 3,
        faults: {timeout_before: 0.1, timeout_after: 0.2, late_accept: 0.05, throttled: 0.01, server_error: 0.02,
                 server_error_after: 0.03, maintenance: 0.04, refused: 0.06, look_up_lag: 300ms, retry_after: 2s,
                 late_by: 3s}""",
    )
    assert made == PaperExchange(
        rules=Rules(
            instrument=Instrument(
                quantity_step=Decimal("0.001"),
                price_step=Decimal("0.01"),
                min_quantity=Decimal("0.002"),
                max_quantity=Decimal(5),
                min_value=Decimal(10),
            ),
            partial_fills=0.25,
        ),
        default_price=Decimal(3),
        cash=Decimal(50),
        currency="EUR",
        faults=Faults(
            timeout_before=0.1,
            timeout_after=0.2,
            late_accept=0.05,
            throttled=0.01,
            server_error=0.02,
            server_error_after=0.03,
            maintenance=0.04,
            refused=0.06,
            look_up_lag_ms=300,
            retry_after_ms=2_000,
            late_by_ms=3_000,
        ),
        latency=Latency(least_ms=20, most_ms=1_000),
        seed=7,
    )


@pytest.mark.parametrize(
    ("more", "key"),
    [
        (", quantity_step: 0", "quantity_step"),
        (", min_value: -1", "min_value"),
        (", partial_fills: 1.1", "partial_fills"),
        (", faults: {refused: 2}", "refused"),
        (", faults: {timeout_before: 0.6, refused: 0.6}", "timeout_before"),
        (", preset: cruel", "preset"),
        (", hours: [teatime]", "hours"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(tmp_path: Path, more: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load(tmp_path, more)


def test_markets_trade_within_their_hours_alone(tmp_path: Path) -> None:
    rules = load(tmp_path, ', hours: ["Mon-Fri 09:30-16:00 UTC"]').rules
    monday_ms = 1_779_667_200_000  # 2026-05-25 00:00 UTC
    opens_ms = monday_ms + (9 * 60 + 30) * 60_000
    assert [rules.is_open(opens_ms + offset) for offset in (-1, 0)] == [False, True]


def test_shares_that_are_one_together_are_taken() -> None:
    PaperFaults(**{fault.value: 0.125 for fault in Fault})  # type: ignore[arg-type]
    PaperFaults(timeout_before=0.7, timeout_after=0.2, refused=0.1)


def test_a_preset_gives_what_the_account_leaves_at_zero() -> None:
    brutal = PRESETS[Preset.BRUTAL]
    made = paper_exchange(PaperAccount(preset=Preset.BRUTAL, fee_bps=1.5, faults=PaperFaults(refused=0.5)))
    assert (made.rules.fee_bps, made.rules.slippage_bps) == (Decimal("1.5"), brutal.slippage_bps)
    assert made.faults.refused == 0.5
    assert made.faults.throttled == brutal.faults.throttled
    assert made.latency == Latency(least_ms=brutal.latency_ms, most_ms=brutal.latency_most_ms)


@pytest.mark.parametrize("preset", list(Preset))
def test_a_preset_answers_well_within_the_default_expiry_of_a_request(preset: Preset) -> None:
    assert PRESETS[preset].latency_most_ms < 5_000


@pytest.mark.parametrize(
    ("last", "default", "reference", "expected"),
    [("2", "3", "1", "1"), ("2", "3", None, None), (None, "3", None, "3"), (None, None, None, None)],
)
def test_an_order_brings_the_alerts_price_or_the_default_where_there_is_none(
    last: str | None, default: str | None, reference: str | None, expected: str | None
) -> None:
    def decimal(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    made = PaperExchange(default_price=decimal(default))
    assert made.price_for(Book(last_price=decimal(last)), decimal(reference)) == decimal(expected)


def test_the_dice_of_an_event_are_its_own_and_always_the_same() -> None:
    made = PaperExchange(rules=Rules(partial_fills=0.5), seed=3)
    throws = [made.dice("desk", order)(0, 1) for order in ("a", "a", "b")]
    assert throws[0] == throws[1] != throws[2]
