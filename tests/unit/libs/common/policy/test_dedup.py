from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, AlertContent, MarketPosition
from libs.common.policy.dedup import DedupKey, DedupKind, body_digest, dedup_key
from libs.common.policy.webhook import DedupWindows
from libs.common.wire.dialects.values import interval_ms

BAR_AT_MS = 1_793_697_300_000  # a quarter of an hour exactly
BAR: dict[str, Any] = {"strategy": "trend", "bar_at_ms": BAR_AT_MS, "interval": "15"}


def key(digest: str = "digest", windows: DedupWindows | None = None, **content: Any) -> DedupKey:
    whole = {"dialect": "nova", "action": Action.BUY, "symbol": "BTCUSDT", **content}
    return dedup_key(AlertContent(**whole), digest, windows or DedupWindows(), interval_ms)


def test_the_senders_own_id_comes_first_and_lasts_a_day() -> None:
    assert key(sender_id="order-7", **BAR) == DedupKey(DedupKind.ID, ("id:nova:order-7",), 86_400_000)


def test_tools_that_number_their_alerts_alike_are_told_apart() -> None:
    keys = {key(sender_id="7", dialect=dialect).keys for dialect in ("factorqx", "tv_hub", "lesson5")}
    assert keys == {("id:7",), ("id:tv_hub:7",), ("id:lesson5:7",)}


def test_without_an_id_the_bar_tells_and_lasts_a_minute() -> None:
    found = key(**BAR)
    assert (found.kind, found.window_ms, len(found.keys)) == (DedupKind.BAR, 60_000, 1)


@pytest.mark.parametrize("missing", ["strategy", "bar_at_ms"])
def test_without_an_id_and_a_bar_the_body_tells_and_lasts_half_a_minute(missing: str) -> None:
    found = key(**{**BAR, missing: None})
    assert found == DedupKey(DedupKind.BODY, ("body:digest",), 30_000)


@given(st.integers(0, 15 * 60_000 - 1))
def test_a_strategy_that_flickers_within_one_bar_is_one_alert(late_ms: int) -> None:
    assert key("other", **{**BAR, "bar_at_ms": BAR_AT_MS + late_ms}) == key(**BAR)


def test_the_next_bar_is_another_alert() -> None:
    assert key(**{**BAR, "bar_at_ms": BAR_AT_MS + 15 * 60_000}) != key(**BAR)


def test_without_a_resolution_that_can_be_read_the_bar_is_taken_as_sent() -> None:
    for interval in (None, "1M", "range"):
        one, other = (key(**{**BAR, "interval": interval, "bar_at_ms": BAR_AT_MS + ms}) for ms in (0, 1_000))
        assert one != other


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": "trend-2"},
        {"symbol": "ETHUSDT"},
        {"exchange": "BYBIT"},
        {"action": Action.SELL},
        {"action": Action.CLOSE_LONG},
    ],
)
def test_another_strategy_symbol_exchange_or_action_of_the_bar_is_another_alert(
    other: dict[str, Any],
) -> None:
    assert key(**{**BAR, **other}).keys != key(**BAR).keys


def test_a_target_of_the_other_side_is_another_alert() -> None:
    long, short = (
        key(**BAR, action=Action.TARGET, position=position)
        for position in (MarketPosition.LONG, MarketPosition.SHORT)
    )
    assert long.keys != short.keys


def test_a_webhook_may_allow_several_entries_of_a_bar() -> None:
    found = key(**BAR, windows=DedupWindows(entries_per_bar=3))
    assert len(set(found.keys)) == 3


def test_the_windows_are_the_webhooks() -> None:
    windows = DedupWindows(id_ms=1, bar_ms=2, body_ms=3)
    found = [key(windows=windows, **content).window_ms for content in ({"sender_id": "a"}, BAR, {})]
    assert found == [1, 2, 3]


@given(st.text(), st.text())
def test_ids_and_bodies_never_share_a_key(sender_id: str, text: str) -> None:
    digest = body_digest(text)
    assert key(digest).keys != key(sender_id=f"body:{digest}").keys
    assert key(sender_id=sender_id).keys == (f"id:nova:{sender_id}",)


def test_a_strategys_name_cannot_pass_for_a_part_of_another_key() -> None:
    one = key(**{**BAR, "strategy": "a\n1"})
    other = key(**{**BAR, "strategy": "a"})
    assert one.keys != other.keys


def test_equal_bodies_have_equal_digests_and_others_have_not() -> None:
    assert body_digest('{"a":1}') == body_digest('{"a":1}')
    assert body_digest('{"a":1}') != body_digest('{"a":2}')
    assert len(body_digest("\ud800")) == 32
