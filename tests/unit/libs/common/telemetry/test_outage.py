"""An outage of Redis in the log: two lines, whatever number of loops notice."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from libs.common.domain.errors import BridgeError, StoreBarred, StoreCorrupt, StoreUnavailable
from libs.common.telemetry.outage import Outage
from tests.support.clock import ManualClock

AWAY = StoreUnavailable("no answer")


@pytest.fixture
def events() -> Iterator[list[EventDict]]:
    with capture_logs() as events:
        yield events


@pytest.fixture
def outage(clock: ManualClock) -> Outage:
    return Outage(clock, shard=2)


def test_it_is_said_by_the_first_that_fails_and_once_all_of_them_have_succeeded(
    outage: Outage, clock: ManualClock, events: list[EventDict]
) -> None:
    for _ in range(3):
        for loop in ("one", "two"):
            assert outage.covers(loop, AWAY)
            clock.advance(1_000)
    outage.answered("one")
    outage.answered("three")
    assert len(events) == 1
    clock.advance(500)
    outage.answered("two")
    outage.answered("two")

    assert events == [
        {"event": "redis_lost", "log_level": "warning", "shard": 2, "loop": "one", "error": "no answer"},
        {"event": "redis_back", "log_level": "info", "shard": 2, "away_ms": 6_000},
    ]


def test_an_answer_between_failures_does_not_end_it(
    outage: Outage, clock: ManualClock, events: list[EventDict]
) -> None:
    outage.covers("one", AWAY)
    outage.covers("two", AWAY)
    outage.answered("one")
    clock.advance(1_000)
    outage.covers("one", AWAY)
    clock.advance(1_000)
    outage.answered("one")
    outage.answered("two")

    assert [(one["event"], one.get("away_ms")) for one in events] == [
        ("redis_lost", None),
        ("redis_back", 2_000),
    ]


@pytest.mark.parametrize("error", [StoreBarred("no right", "give it"), StoreCorrupt("junk"), BridgeError()])
def test_what_redis_answered_is_left_to_the_loop_to_tell_and_ends_the_outage_for_it(
    error: BridgeError, outage: Outage, events: list[EventDict]
) -> None:
    assert not outage.covers("one", error)
    assert events == []

    outage.covers("one", AWAY)
    assert not outage.covers("one", error)
    assert [one["event"] for one in events] == ["redis_lost", "redis_back"]


def test_the_next_outage_is_said_again(outage: Outage, events: list[EventDict]) -> None:
    for _ in range(2):
        outage.covers("one", AWAY)
        outage.answered("one")
    assert [one["event"] for one in events] == ["redis_lost", "redis_back"] * 2
