import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from libs.common.domain.errors import StoreUnavailable
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from services.reaper import duty as duty_module
from services.reaper.duty import DutyLoop
from tests.support.clock import ManualClock
from tests.support.eventually import eventually


class Scripted:
    """A duty whose passes raise what they are told to, and are due again at once."""

    name = "scripted"

    def __init__(self) -> None:
        self.passes = 0
        self.raises: Exception | None = None
        self.pause_s = 0.001

    async def run_once(self) -> float:
        self.passes += 1
        if self.raises is not None:
            raise self.raises
        return self.pause_s


class Rig:
    def __init__(self, clock: ManualClock) -> None:
        self.registry = CollectorRegistry()
        self.duty = Scripted()
        self.loop = DutyLoop(self.duty, clock, ReaperMetrics(self.registry))
        self.stopping = asyncio.Event()
        self.pauses_s: list[float] = []

    @property
    def failures(self) -> float:
        return self._counted("bascule_duty_failures_total")

    @property
    def made(self) -> float:
        return self._counted("bascule_duty_passes_total")

    def _counted(self, name: str) -> float:
        value = self.registry.get_sample_value(name, {"duty": "scripted"})
        assert value is not None
        return value


@pytest.fixture(autouse=True)
def events() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


@pytest.fixture
async def rig(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    rig = Rig(clock)

    async def pause(event: asyncio.Event, timeout_s: float) -> bool:
        rig.pauses_s.append(timeout_s)
        await asyncio.sleep(0.001)
        return event.is_set()

    monkeypatch.setattr(duty_module, "wait_for_event", pause)
    task = asyncio.create_task(rig.loop.run(rig.stopping))
    yield rig
    rig.stopping.set()
    await asyncio.wait_for(task, 5)


async def _pass(rig: Rig, times: int = 2) -> None:
    """Wait for whole passes from now on."""
    wanted = rig.duty.passes + times
    await eventually(lambda: rig.duty.passes >= wanted, interval_s=0.001)


async def test_passes_follow_one_another_after_the_pause_each_asks_for(rig: Rig):
    rig.duty.pause_s = 0.25
    await _pass(rig)
    assert rig.pauses_s[-1] == 0.25
    assert rig.loop.is_well
    assert rig.failures == 0


@pytest.mark.parametrize(
    ("error", "pause_s"), [(StoreUnavailable("away"), 0.1), (ZeroDivisionError("a bug"), 1.0)]
)
async def test_a_pass_that_raises_is_counted_and_made_again_and_the_loop_recovers(
    rig: Rig, error: Exception, pause_s: float
):
    await _pass(rig)
    rig.duty.raises = error
    await _pass(rig, 3)
    assert not rig.loop.is_well
    assert rig.failures >= 2
    assert rig.pauses_s[-1] == pause_s
    rig.duty.raises = None
    await _pass(rig)
    assert rig.loop.is_well


async def test_passes_that_were_made_are_counted_and_those_that_failed_are_not(rig: Rig):
    rig.duty.raises = StoreUnavailable("away")
    await _pass(rig)
    before = rig.made
    await _pass(rig, 3)
    assert rig.made == before
    rig.duty.raises = None
    await _pass(rig, 3)
    assert rig.made >= before + 2


def test_both_are_shown_before_the_first_pass(clock: ManualClock):
    rig = Rig(clock)
    assert (rig.made, rig.failures) == (0, 0)


async def test_an_outage_is_said_once_and_a_bug_each_time(rig: Rig, events: list[EventDict]):
    await _pass(rig)
    rig.duty.raises = StoreUnavailable("away")
    await _pass(rig, 5)
    assert [event["event"] for event in events] == ["pass_failed"]
    rig.duty.raises = ZeroDivisionError()
    await _pass(rig, 4)
    assert [event["event"] for event in events].count("pass_broke") >= 3


async def test_of_several_duties_that_miss_redis_the_first_says_so_for_all(
    clock: ManualClock, events: list[EventDict]
):
    metrics, outage, stopping = ReaperMetrics(CollectorRegistry()), Outage(clock, shard=0), asyncio.Event()
    duties = [Scripted(), Scripted()]
    for duty in duties:
        duty.raises = StoreUnavailable("away")
    loops = [
        DutyLoop(duty, clock, metrics, retry_s=0.001, shard=n, outage=outage) for n, duty in enumerate(duties)
    ]
    running = asyncio.gather(*(loop.run(stopping) for loop in loops))
    await eventually(lambda: min(duty.passes for duty in duties) > 3)
    for duty in duties:
        duty.raises = None
    await eventually(lambda: all(loop.is_well for loop in loops))
    stopping.set()
    await running

    said = [(one["event"], one.get("loop")) for one in events if one["log_level"] != "debug"]
    assert said == [("redis_lost", "scripted of shard 0"), ("redis_back", None)]


async def test_it_says_when_it_last_came_round(rig: Rig, clock: ManualClock):
    clock.advance(5_000)
    await eventually(lambda: rig.loop.beat_at_ms == 5_000)


async def test_it_stops_on_the_event_even_in_a_long_pause(clock: ManualClock):
    duty = Scripted()
    duty.pause_s = 3_600.0
    loop = DutyLoop(duty, clock, ReaperMetrics(CollectorRegistry()))
    stopping = asyncio.Event()
    task = asyncio.create_task(loop.run(stopping))
    await eventually(lambda: duty.passes == 1)
    stopping.set()
    await asyncio.wait_for(task, 1)
    assert duty.passes == 1


async def test_it_makes_no_pass_once_it_is_to_stop(clock: ManualClock):
    duty = Scripted()
    stopping = asyncio.Event()
    stopping.set()
    await DutyLoop(duty, clock, ReaperMetrics(CollectorRegistry())).run(stopping)
    assert duty.passes == 0
