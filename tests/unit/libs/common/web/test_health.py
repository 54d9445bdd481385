import asyncio

from libs.common.domain.errors import StoreUnavailable
from libs.common.web.health import CachedCheck, Degraded, Healthy
from tests.support.clock import ManualClock


class LookUp:
    """Counts how often it is asked; fails or hangs when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.is_hanging = False

    async def __call__(self) -> None:
        self.asked += 1
        await asyncio.sleep(3_600 if self.is_hanging else 0)
        if self.error is not None:
            raise self.error


async def test_an_answer_holds_for_a_while(clock: ManualClock) -> None:
    look_up = LookUp()
    check = CachedCheck(look_up, clock, subject="Redis", max_age_ms=250)
    assert await check() == Healthy()
    look_up.error = StoreUnavailable("away")
    clock.advance(249)
    assert await check() == Healthy()
    clock.advance(1)
    assert await check() == Degraded("away")
    assert look_up.asked == 2


async def test_a_crowd_shares_one_look_up(clock: ManualClock) -> None:
    look_up = LookUp()
    check = CachedCheck(look_up, clock, subject="Redis")
    assert await asyncio.gather(*(check() for _ in range(50))) == [Healthy()] * 50
    assert look_up.asked == 1


async def test_no_answer_in_time_is_a_bad_answer(clock: ManualClock) -> None:
    look_up = LookUp()
    look_up.is_hanging = True
    match await CachedCheck(look_up, clock, subject="Redis", timeout_s=0.02)():
        case Degraded(reason):
            assert reason == "Redis did not answer within 0.02 s"
        case _:
            raise AssertionError("healthy")


async def test_one_who_hangs_up_does_not_cancel_the_others(clock: ManualClock) -> None:
    check = CachedCheck(LookUp(), clock, subject="Redis")
    impatient, patient = asyncio.create_task(check()), asyncio.create_task(check())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == Healthy()
    assert impatient.cancelled()
