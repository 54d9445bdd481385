"""Telling: what is tried again, what is given up, and what holds up what."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict

from libs.common.policy.alarms import AlarmKind, Change, Message
from libs.common.runtime.alarm_targets import Delivered, Delivery, Failed
from libs.common.store.alarms import Alarms
from libs.common.store.told import Told
from libs.common.store.turns import Turn
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from services.reaper.tell import BACKOFF_CAP_MS, REFUSED_AT_LEAST, REFUSED_FOR_MS, Tell
from tests.integration.services.reaper.rig import ReaperRig
from tests.support.clock import ManualClock

KEEP_TRYING_MS = 3_600_000


class Receiver:
    """Says what it is told to say."""

    name = "url"
    shown = "http://receiver/..."
    receiver = "first"

    def __init__(self) -> None:
        self.says: Delivery = Delivered()
        self.got: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(self, message: Message) -> Delivery:
        await self.gate.wait()
        self.got.append(message.subject)
        return self.says

    async def aclose(self) -> None:
        """Hold nothing."""


class Stage:
    def __init__(self, rig: ReaperRig) -> None:
        self.rig, self.receiver, self.clock = rig, Receiver(), ManualClock()
        self.registry, self.stopping = CollectorRegistry(), asyncio.Event()
        self.metrics = WatchdogMetrics(self.registry)
        self.tell = self.reaper("one")

    def reaper(self, holder: str) -> Tell:
        client, keys = self.rig.client, self.rig.keys
        return Tell(
            Told(client, keys, shard=0, target="url", receiver="first"),
            self.receiver,
            Turn(client, keys, "tell_url", holder=holder, lasts_ms=60_000),
            self.clock,
            self.metrics,
            stopping=self.stopping,
            keep_trying_ms=KEEP_TRYING_MS,
            uniform=lambda _, bound: bound,
        )

    async def raise_(self, *subjects: str) -> None:
        for subject in subjects:
            alarms = Alarms(self.rig.client, self.rig.keys)
            await alarms.note(AlarmKind.SILENCE, subject, Change.RAISED, "quiet")
        # What Redis' clock says is young by this one.
        self.clock.step_wall(await self.rig.upkeep.time_ms() - self.clock.now_ms())

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("bascule_alarm_deliveries_total", {"outcome": outcome})


@pytest.fixture
async def stage(rig: ReaperRig) -> Stage:
    rig.upkeep._now = ""
    stage = Stage(rig)
    await stage.tell.run_once()
    return stage


async def test_everything_is_told_once_in_order_by_whoever_has_the_turn(stage: Stage) -> None:
    other = stage.reaper("other")
    await stage.raise_("a", "b", "c")

    for _ in range(2):
        await other.run_once()
        await stage.tell.run_once()

    assert stage.receiver.got == ["a", "b", "c"]
    assert stage.count("delivered") == 3


async def test_what_fails_is_tried_again_after_a_growing_pause_and_holds_up_what_is_behind_it(
    stage: Stage, events: list[EventDict]
) -> None:
    stage.receiver.says = Failed("answered 503")
    await stage.raise_("a", "b")
    for pause_ms in (1_000, 2_000, 4_000):
        await stage.tell.run_once()
        stage.clock.advance(pause_ms - 1)
        await stage.tell.run_once()
        stage.clock.advance(1)
    assert stage.receiver.got == ["a", "a", "a"]

    stage.receiver.says = Delivered()
    await stage.tell.run_once()

    assert stage.receiver.got == ["a", "a", "a", "a", "b"]
    assert (stage.count("retried"), stage.count("delivered"), stage.count("given_up")) == (3, 2, 0)
    assert [one["event"] for one in events] == ["alarm_not_delivered", "alarm_delivered"]


async def test_what_is_too_old_is_given_up_once_it_cannot_be_told(
    stage: Stage, events: list[EventDict]
) -> None:
    stage.receiver.says = Failed("no answer")
    await stage.raise_("a", "b")
    stage.clock.advance(KEEP_TRYING_MS + 1)

    await stage.tell.run_once()

    assert (stage.receiver.got, stage.count("given_up")) == (["a", "b"], 2)
    assert [one["event"] for one in events] == ["alarm_given_up", "alarm_given_up"]


async def test_what_stands_is_not_given_up_for_its_age(rig: ReaperRig) -> None:
    stage = Stage(rig)
    await stage.raise_("a")
    stage.clock.advance(KEEP_TRYING_MS + 1)

    stage.receiver.says = Failed("no answer")
    await stage.tell.run_once()
    assert (stage.receiver.got, stage.count("given_up")) == (["a"], 0)
    stage.clock.advance(BACKOFF_CAP_MS)
    stage.receiver.says = Delivered()
    await stage.tell.run_once()

    assert (stage.receiver.got, stage.count("delivered")) == (["a", "a"], 1)


async def test_what_goes_away_while_the_target_does_is_counted_as_skipped_and_said(
    stage: Stage, events: list[EventDict]
) -> None:
    dead, notices = stage.rig.keys.dead, stage.rig.keys.notices
    letters = [stage.rig.redis.xadd(dead, {"alert": name, "account": "desk"}) for name in ("x", "y", "z")]
    stage.rig.redis.expire(dead, 600)
    await stage.raise_("a", "b")
    stage.receiver.says = Failed("no answer")
    await stage.tell.run_once()
    assert stage.count("skipped") == 0

    stage.rig.redis.xdel(dead, letters[1])  # as a replay does
    stage.rig.redis.xtrim(notices, maxlen=1, approximate=False)
    stage.receiver.says = Delivered()
    stage.clock.advance(BACKOFF_CAP_MS)
    await stage.tell.run_once()
    await stage.tell.run_once()

    assert (stage.receiver.got, stage.count("delivered"), stage.count("skipped")) == (
        ["a", "b", "", ""],
        3,
        2,
    )
    assert [one["messages"] for one in events if one["event"] == "alarms_skipped"] == [2]


async def test_what_another_reaper_told_is_not_skipped_when_the_turn_comes_back(stage: Stage) -> None:
    stage.receiver.says = Failed("no answer")
    await stage.raise_("a", "b")
    await stage.tell.run_once()
    stage.rig.redis.delete(stage.rig.keys.watchdog_turn("tell_url"))
    other = stage.reaper("other")
    await other.run_once()
    await stage.tell.run_once()
    stage.rig.redis.xtrim(stage.rig.keys.notices, maxlen=1, approximate=False)
    stage.clock.advance(BACKOFF_CAP_MS)
    await other.run_once()
    stage.rig.redis.delete(stage.rig.keys.watchdog_turn("tell_url"))
    await stage.tell.run_once()

    assert stage.count("skipped") == 1


async def test_lines_about_a_dead_letter_name_its_alert(stage: Stage, events: list[EventDict]) -> None:
    letter = {"alert": "a1", "account": "desk", "lane": "desk:BTC", "state": "EXPIRED", "reason": "too_old"}
    stage.rig.redis.xadd(stage.rig.keys.dead, {**letter, "detail": "", "attempts": "0", "body": "{}"})
    await stage.raise_()
    for answer in (Failed("answered 503"), Delivered()):
        stage.receiver.says = answer
        await stage.tell.run_once()
        stage.clock.advance(BACKOFF_CAP_MS)
    stage.rig.redis.expire(stage.rig.keys.dead, 600)

    found = [(one["event"], one["alert_id"], one["account"]) for one in events]
    assert found == [("alarm_not_delivered", "a1", "desk"), ("alarm_delivered", "a1", "desk")]


async def test_what_the_receiver_does_not_want_holds_nothing_up_for_long(stage: Stage) -> None:
    stage.receiver.says = Failed("answered 400", is_refused=True)
    await stage.raise_("a")
    for _ in range(REFUSED_FOR_MS // BACKOFF_CAP_MS):
        await stage.tell.run_once()
        stage.clock.advance(BACKOFF_CAP_MS)
    told = len(stage.receiver.got)
    assert told > REFUSED_AT_LEAST
    assert stage.count("given_up") == 0
    await stage.tell.run_once()
    assert (len(stage.receiver.got), stage.count("given_up")) == (told + 1, 1)
    await stage.tell.run_once()
    assert len(stage.receiver.got) == told + 1


async def test_a_failure_is_logged_where_it_is_not_the_one_before(
    stage: Stage, events: list[EventDict]
) -> None:
    await stage.raise_("a")
    for reason in ("answered 503", "answered 503", "answered 404", "answered 503"):
        stage.receiver.says = Failed(reason)
        await stage.tell.run_once()
        stage.clock.advance(BACKOFF_CAP_MS)
    assert [one["error"] for one in events] == ["answered 503", "answered 404", "answered 503"]


async def test_a_process_that_is_to_end_does_not_wait_for_its_receiver_and_the_next_one_tells(
    stage: Stage,
) -> None:
    await stage.raise_("a")
    stage.receiver.gate.clear()
    passing = asyncio.create_task(stage.tell.run_once())
    stage.stopping.set()
    await passing
    assert stage.receiver.got == []

    stage.receiver.gate.set()
    stage.stopping.clear()
    await stage.tell.run_once()
    assert stage.receiver.got == ["a"]
