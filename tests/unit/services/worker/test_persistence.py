import asyncio

import pytest

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import LaneName, Token
from libs.common.store.head import Held
from services.worker import persistence
from services.worker.leases import Lease
from services.worker.persistence import persist
from tests.support.clock import ManualClock


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = persistence._RETRYING.copy(sleep=lambda _: asyncio.sleep(0))
    monkeypatch.setattr(persistence, "_RETRYING", soon)


@pytest.fixture
def lease(clock: ManualClock) -> Lease:
    return Lease(Held(LaneName("desk:BTC"), Token("1-1")), 0, 6_000, clock)


class Calls:
    """A store call that fails so often before it answers."""

    def __init__(self, failures: int, error: BridgeError) -> None:
        self.made = 0
        self._failures = failures
        self._error = error

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= self._failures:
            raise self._error
        return "answer"


async def test_a_call_is_made_once_where_it_is_answered(lease: Lease):
    calls = Calls(0, StoreUnavailable("away"))
    assert await persist(calls, lease) == "answer"
    assert calls.made == 1


async def test_a_call_is_repeated_until_redis_answers(lease: Lease):
    calls = Calls(200, StoreUnavailable("away"))
    assert await persist(calls, lease) == "answer"
    assert calls.made == 201


async def test_it_goes_on_though_the_lease_has_run_out_by_our_own_clock_since_it_may_still_be_current(
    lease: Lease, clock: ManualClock
):
    clock.advance(60_000)
    assert await persist(Calls(5, StoreUnavailable("away")), lease) == "answer"


async def test_it_ends_once_the_lane_is_known_to_be_anothers(lease: Lease):
    calls = Calls(1_000_000, StoreUnavailable("away"))
    task = asyncio.create_task(persist(calls, lease))
    while calls.made < 10:
        await asyncio.sleep(0)
    lease.is_lost = True
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(task, 5)


async def test_what_will_never_work_is_not_repeated(lease: Lease):
    calls = Calls(1, StoreCorrupt("wrong type"))
    with pytest.raises(StoreCorrupt):
        await persist(calls, lease)
    assert calls.made == 1
    calls = Calls(1, StoreUnavailable("away"))
    calls._failures, first = 3, calls._error

    async def corrupt_later() -> str:
        calls.made += 1
        raise first if calls.made < 3 else StoreCorrupt("wrong type")

    with pytest.raises(StoreCorrupt):
        await persist(corrupt_later, lease)
    assert calls.made == 3


async def test_calls_that_wait_at_the_same_time_do_not_end_one_another(lease: Lease, clock: ManualClock):
    lost = Lease(lease.held, 0, 6_000, clock)
    lost.is_lost = True
    many = [persist(Calls(number, StoreUnavailable("away")), lease) for number in range(20)]
    answers = await asyncio.gather(
        persist(Calls(5, StoreUnavailable("away")), lost), *many, return_exceptions=True
    )
    assert isinstance(answers[0], StoreUnavailable)
    assert answers[1:] == ["answer"] * 20
