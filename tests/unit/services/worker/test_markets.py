import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.common.domain.errors import LookUpUnavailable, StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from services.worker import markets as module
from services.worker.brokers.log import LogBroker
from services.worker.brokers.port import Broker
from services.worker.markets import MarketLists
from tests.support.clock import ManualClock
from tests.support.eventually import eventually

DESK, FUND = AccountName("desk"), AccountName("fund")
BTC = Market("BTC/USDT")


class Venue(LogBroker):
    """A venue that lists what it is told to, or raises it."""

    def __init__(self, *answers: Sequence[Market] | Exception | None) -> None:
        super().__init__()
        self.asked = 0
        self._answers = answers

    async def markets(self) -> Any:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class Store:
    """Remembers what was published."""

    def __init__(self) -> None:
        self.lists: dict[AccountName, tuple[Sequence[Market], int]] = {}
        self.failure: Exception | None = None

    async def publish(self, account: AccountName, markets: Sequence[Market], at_ms: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.lists[account] = (markets, at_ms)


@pytest.fixture
def store() -> Store:
    return Store()


def lists(store: Store, clock: ManualClock, **venues: Broker) -> MarketLists:
    brokers = {AccountName(name): venue for name, venue in venues.items()}
    kept: Any = store
    return MarketLists(brokers, kept, clock)


async def test_a_venues_list_is_published_with_the_time(store: Store, clock: ManualClock):
    assert await lists(store, clock, desk=Venue([BTC])).publish(DESK)
    assert store.lists == {DESK: ([BTC], clock.now_ms())}


async def test_a_venue_without_a_list_publishes_none_and_says_nothing(store: Store, clock: ManualClock):
    with capture_logs() as events:
        assert await lists(store, clock, desk=LogBroker()).publish(DESK)
    assert (store.lists, events) == ({}, [])


async def test_a_failure_is_logged_once_and_again_when_it_changes_and_when_it_is_over(
    store: Store, clock: ManualClock
):
    away, other = LookUpUnavailable("away"), LookUpUnavailable("other")
    found = lists(store, clock, desk=Venue(away, away, other, [BTC], [BTC], away))
    with capture_logs() as events:
        worked = [await found.publish(DESK) for _ in range(6)]
    assert worked == [False, False, False, True, True, False]
    assert [(event["event"], event.get("error")) for event in events] == [
        ("markets_not_published", "away"),
        ("markets_not_published", "other"),
        ("markets_published", None),
        ("markets_not_published", "away"),
    ]


@pytest.mark.parametrize("error", [RuntimeError("a fault"), StoreUnavailable("no Redis")])
async def test_no_failure_of_venue_or_store_reaches_the_worker(
    store: Store, clock: ManualClock, error: Exception
):
    assert not await lists(store, clock, desk=Venue(error)).publish(DESK)
    store.failure = error
    assert not await lists(store, clock, desk=Venue([BTC])).publish(DESK)


async def test_every_list_is_published_again_and_again_whatever_the_others_do(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    monkeypatch.setattr(module, "RETRY_S", 0.001)

    class Slow(Venue):
        async def markets(self) -> Any:
            await released.wait()

    desk, fails, released = Venue([BTC]), Venue(LookUpUnavailable("away"), [BTC]), asyncio.Event()
    stopped = asyncio.Event()
    task = asyncio.create_task(lists(store, clock, desk=desk, fund=fails, slow=Slow(None)).run(stopped))
    try:
        await eventually(lambda: desk.asked >= 3 and FUND in store.lists)
    finally:
        stopped.set()
        released.set()
        await task
    assert set(store.lists) == {DESK, FUND}
