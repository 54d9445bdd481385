import asyncio
from collections.abc import Sequence

import pytest

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.store.batch import WORTH_A_FLIGHT, Batch


class Carrier:
    """Carries flights one test step at a time: a flight lands when it is told what to answer."""

    def __init__(self, **options: int) -> None:
        self.flights: list[list[str]] = []
        self.aloft = 0
        self._max_aloft = options.get("max_flights", 1)
        self._landing: asyncio.Queue[object] = asyncio.Queue()
        self.batch: Batch[str, str] = Batch(self._send, **options)

    async def _send(self, items: Sequence[str]) -> Sequence[str | BridgeError]:
        self.flights.append(list(items))
        self.aloft += 1
        assert self.aloft <= self._max_aloft, "too many flights at once"
        try:
            how = await self._landing.get()
        finally:
            self.aloft -= 1
        if isinstance(how, BaseException):
            raise how
        if isinstance(how, list):
            return how
        return [item.upper() for item in items]

    def land(self, how: object = None) -> None:
        self._landing.put_nowait(how)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_that_come_together_share_a_flight_in_order():
    carrier = Carrier()
    answers = [carrier.batch.submit(item) for item in "abc"]
    carrier.land()
    assert await asyncio.gather(*answers) == ["A", "B", "C"]
    assert carrier.flights == [["a", "b", "c"]]


async def test_those_who_come_during_a_flight_share_the_next_and_only_one_is_aloft():
    carrier = Carrier()
    first = carrier.batch.submit("a")
    await settle()
    others = [carrier.batch.submit(item) for item in "bcd"]
    await settle()
    assert carrier.flights == [["a"]]
    carrier.land()
    carrier.land()
    assert await asyncio.gather(first, *others) == ["A", "B", "C", "D"]
    assert carrier.flights == [["a"], ["b", "c", "d"]]


async def test_a_flight_carries_at_most_so_many():
    carrier = Carrier(max_items=2)
    answers = [carrier.batch.submit(item) for item in "abcde"]
    for _ in range(3):
        carrier.land()
    assert await asyncio.gather(*answers) == list("ABCDE")
    assert carrier.flights == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreCorrupt("junk")])
async def test_a_failing_flight_fails_all_its_callers_and_no_others(error: BridgeError):
    carrier = Carrier()
    failing = [carrier.batch.submit(item) for item in "ab"]
    await settle()
    later = carrier.batch.submit("c")
    carrier.land(error)
    carrier.land()
    failed = await asyncio.gather(*failing, return_exceptions=True)
    assert [(type(one), str(one)) for one in failed] == [(type(error), str(error))] * 2
    assert failed[0] is not failed[1]
    assert await later == "C"


async def test_one_items_error_is_its_own():
    carrier = Carrier()
    answers = [carrier.batch.submit(item) for item in "abc"]
    carrier.land(["A", StoreCorrupt("b is bad"), "C"])
    first, bad, last = await asyncio.gather(*answers, return_exceptions=True)
    assert (first, last) == ("A", "C")
    assert isinstance(bad, StoreCorrupt)


@pytest.mark.parametrize("how", [ValueError("a bug"), ["too", "few"], ["far", "too", "many", "answers"]])
async def test_a_bug_in_carrying_fails_its_flight_and_strands_nobody(how: object):
    carrier = Carrier(max_items=3)
    answers = [carrier.batch.submit(item) for item in "abcde"]
    carrier.land(how)
    carrier.land()
    done = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 1)
    assert [type(one) for one in done[:3]] == [StoreCorrupt] * 3
    assert done[3:] == ["D", "E"]


async def test_a_caller_that_gave_up_before_its_flight_is_left_out():
    carrier = Carrier()
    first = carrier.batch.submit("a")
    await settle()
    given_up, patient = carrier.batch.submit("b"), carrier.batch.submit("c")
    given_up.cancel()
    carrier.land()
    carrier.land()
    assert await asyncio.gather(first, patient) == ["A", "C"]
    assert carrier.flights == [["a"], ["c"]]


async def test_a_caller_that_gives_up_during_its_flight_disturbs_nobody():
    carrier = Carrier()
    given_up, patient = carrier.batch.submit("a"), carrier.batch.submit("b")
    await settle()
    given_up.cancel()
    carrier.land()
    assert await patient == "B"
    assert carrier.flights == [["a", "b"]]


async def test_a_time_out_of_a_caller_cancels_it_alone():
    carrier = Carrier()

    async def impatient() -> str:
        async with asyncio.timeout(0.01):
            return await carrier.batch.submit("a")

    with pytest.raises(TimeoutError):
        await impatient()
    patient = carrier.batch.submit("b")
    carrier.land()
    carrier.land()
    assert await patient == "B"


async def test_where_all_gave_up_no_flight_leaves_for_them():
    carrier = Carrier()
    first = carrier.batch.submit("a")
    await settle()
    for item in "bcd":
        carrier.batch.submit(item).cancel()
    carrier.land()
    await first
    await carrier.batch.drain()
    assert carrier.flights == [["a"]]


async def test_beyond_its_bound_the_queue_refuses_at_once():
    carrier = Carrier(max_queued=2)
    first = carrier.batch.submit("a")
    await settle()
    waiting = [carrier.batch.submit(item) for item in "bc"]
    with pytest.raises(StoreUnavailable):
        carrier.batch.submit("d")
    carrier.land()
    carrier.land()
    assert await asyncio.gather(first, *waiting) == ["A", "B", "C"]
    again = carrier.batch.submit("e")
    carrier.land()
    assert await again == "E"


async def test_drain_waits_for_every_answer():
    carrier = Carrier(max_items=1)
    answers = [carrier.batch.submit(item) for item in "abc"]
    draining = asyncio.create_task(carrier.batch.drain())
    for _ in range(2):
        carrier.land()
        await settle()
        assert not draining.done()
    carrier.land()
    await asyncio.wait_for(draining, 1)
    assert all(answer.done() for answer in answers)
    await carrier.batch.drain()


async def test_after_a_pause_the_next_caller_starts_a_new_flight():
    carrier = Carrier()
    for item in "ab":
        carrier.land()
        assert await carrier.batch.submit(item) == item.upper()
        await carrier.batch.drain()


async def test_a_second_flight_leaves_when_enough_wait():
    carrier = Carrier(max_flights=2)
    first = carrier.batch.submit("a")
    await settle()
    few = [carrier.batch.submit("b") for _ in range(WORTH_A_FLIGHT - 1)]
    await settle()
    assert carrier.flights == [["a"]]
    more = [carrier.batch.submit(item) for item in "cd"]
    await settle()
    assert carrier.flights == [["a"], ["b"] * (WORTH_A_FLIGHT - 1) + ["c", "d"]]
    late = [carrier.batch.submit("e") for _ in range(2 * WORTH_A_FLIGHT)]
    await settle()
    assert len(carrier.flights) == 2
    for _ in range(3):
        carrier.land()
    await asyncio.gather(first, *few, *more, *late)
    assert [len(flight) for flight in carrier.flights] == [1, WORTH_A_FLIGHT + 1, 2 * WORTH_A_FLIGHT]


async def test_how_many_are_enough_is_up_to_its_user():
    carrier = Carrier(max_flights=3, worth_a_flight=2)
    answers = [carrier.batch.submit("a")]
    for item in ("b", "cd", "ef", "gh"):
        await settle()
        answers += [carrier.batch.submit(one) for one in item]
    await settle()
    assert carrier.flights == [["a"], ["b", "c", "d"], ["e", "f"]]
    for _ in range(4):
        carrier.land()
    await asyncio.gather(*answers)
    assert carrier.flights[3] == ["g", "h"]


async def test_few_who_come_while_two_flights_are_under_way_are_fetched_by_the_last():
    carrier = Carrier(max_flights=2)
    first = carrier.batch.submit("a")
    await settle()
    many = [carrier.batch.submit("b") for _ in range(WORTH_A_FLIGHT)]
    await settle()
    late = carrier.batch.submit("c")
    carrier.land()
    await first
    await settle()
    assert len(carrier.flights) == 2
    carrier.land()
    carrier.land()
    await asyncio.gather(*many, late)
    assert carrier.flights[2] == ["c"]
    await carrier.batch.drain()


async def test_a_cancelled_flight_leaves_nobody_waiting():
    carrier = Carrier(max_items=1)
    answers = [carrier.batch.submit(item) for item in "abc"]
    await settle()
    (flight,) = carrier.batch._flights
    flight.cancel()
    done = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 1)
    assert [type(one) for one in done] == [StoreUnavailable] * 3
    again = carrier.batch.submit("d")
    carrier.land()
    assert await again == "D"


@pytest.mark.parametrize("max_flights", [1, 2])
async def test_many_callers_come_and_go_in_any_order_and_each_gets_its_own_answer(max_flights: int):
    async def send(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        return [item * 2 for item in items]

    batch: Batch[int, int] = Batch(send, max_items=7, max_flights=max_flights)

    async def caller(n: int) -> None:
        for step in range(10):
            assert await batch.submit(n * 100 + step) == (n * 100 + step) * 2

    await asyncio.gather(*[caller(n) for n in range(50)])
