"""Another start of Redis: when what there is becomes suspect, and when it does not."""

import re
from typing import Any

import pytest

from tests.integration.libs.common.store.lua.rig import START_MS, Rig

WINDOW_MS = 6_000


async def incarnate(
    rig: Rig, run_id: str, *, keeps_all: bool = False, was_replica: bool = False, met: str = ""
) -> Any:
    args = [run_id, "1" if keeps_all else "0", "1" if was_replica else "0", str(WINDOW_MS), met]
    reply = await rig.run("incarnate", [], [*args])
    return [word.decode() for word in reply]


def marks(rig: Rig) -> tuple[str | None, str | None]:
    at, until = rig.redis.hmget(rig.keys.meta, "suspect_at", "suspect_until")
    return at, until


async def test_an_empty_redis_has_nothing_to_suspect(rig: Rig):
    assert await incarnate(rig, "a") == ["NEW", "", "0"]
    assert marks(rig) == (None, None)
    assert rig.redis.hget(rig.keys.meta, "run_id") == "a"


async def test_the_same_start_is_met_once(rig: Rig):
    await rig.admit()
    await incarnate(rig, "a")
    with rig.nothing_written():
        assert await incarnate(rig, "a") == ["SAME"]
    assert rig.journal().count(("INCARNATED", "suspect")) == 1


async def test_another_start_makes_suspect_what_was_admitted_until_the_longest_request_is_over(rig: Rig):
    await incarnate(rig, "a")
    await rig.admit()
    rig.now_ms += 100
    assert await incarnate(rig, "b") == ["NEW", "a", str(START_MS + 100 + WINDOW_MS)]
    assert marks(rig) == (str(START_MS + 100), str(START_MS + 100 + WINDOW_MS))
    assert rig.journal()[-1] == ("INCARNATED", "suspect")


@pytest.mark.parametrize(
    ("before", "now", "is_suspect"),
    [
        ({"keeps_all": True}, {"keeps_all": True}, False),
        # What the start before had answered was on disk, whatever this one does.
        ({"keeps_all": True}, {"keeps_all": False}, False),
        ({"keeps_all": False}, {"keeps_all": True}, True),
        ({"keeps_all": True}, {"keeps_all": True, "was_replica": True}, True),
        ({"keeps_all": True}, {"keeps_all": True, "met": "a"}, False),
        # An older copy: the caller met a start after the one that wrote this.
        ({"keeps_all": True}, {"keeps_all": True, "met": "later"}, True),
    ],
)
async def test_only_a_server_alone_that_kept_every_write_lacks_nothing(
    rig: Rig, before: dict[str, Any], now: dict[str, Any], is_suspect: bool
):
    await incarnate(rig, "a", **before)
    await rig.admit()
    await incarnate(rig, "b", **now)
    assert (marks(rig) != (None, None)) is is_suspect
    assert rig.journal()[-1] == ("INCARNATED", "suspect" if is_suspect else "kept")


async def test_a_start_that_once_may_lose_something_is_not_trusted_again(rig: Rig):
    await incarnate(rig, "a", keeps_all=True)
    assert await incarnate(rig, "a", keeps_all=False) == ["SAME"]
    assert await incarnate(rig, "a", keeps_all=True) == ["SAME"]
    assert (await incarnate(rig, "b", keeps_all=True))[2] != "0"


@pytest.mark.parametrize(
    ("keeps_all", "was_replica", "is_suspect"),
    [(True, False, False), (False, False, True), (True, True, True)],
)
async def test_data_from_before_the_first_look_is_suspect_unless_every_write_was_kept(
    rig: Rig, keeps_all: bool, was_replica: bool, is_suspect: bool
):
    await rig.admit()
    await incarnate(rig, "a", keeps_all=keeps_all, was_replica=was_replica)
    assert (marks(rig) != (None, None)) is is_suspect


async def test_a_second_fail_over_shortens_nothing(rig: Rig):
    await incarnate(rig, "a")
    await incarnate(rig, "b")
    rig.now_ms -= 1_000
    await incarnate(rig, "c")
    assert marks(rig)[1] == str(START_MS + WINDOW_MS)


@pytest.mark.leaves_keys("the time is Redis' own, and no alert ends")
async def test_what_a_faster_clock_admitted_is_suspect_too(rig: Rig):
    await rig.run("incarnate", [], ["a", "0", "0", str(WINDOW_MS), ""])
    seconds, micros = rig.redis.time()
    ahead_ms = seconds * 1_000 + micros // 1_000 + 60_000
    rig.redis.xadd(rig.keys.journal, {"event": "QUEUED"}, id=f"{ahead_ms}-0")
    rig.now_ms = ""  # type: ignore[assignment]  # Redis' own
    await rig.run("incarnate", [], ["b", "0", "0", str(WINDOW_MS), ""])
    at, until = marks(rig)
    assert int(at or 0) >= ahead_ms
    assert int(until or 0) == int(at or 0) + WINDOW_MS


async def test_it_is_noticed_at_the_memory_limit_too(rig: Rig):
    await incarnate(rig, "a")
    with rig.memory_limit_reached():
        assert (await incarnate(rig, "b"))[0] == "NEW"


async def test_its_answer_when_sent_again_is_that_it_is_known(rig: Rig):
    await incarnate(rig, "a")
    await incarnate(rig, "b")
    assert await incarnate(rig, "b", met="a") == ["SAME"]
    assert re.fullmatch(r"\d+", marks(rig)[0] or "")
