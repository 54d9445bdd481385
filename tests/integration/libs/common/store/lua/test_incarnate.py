"""Another start of Redis: when what there is becomes suspect, and when it does not."""

from typing import Any

import pytest

from tests.integration.libs.common.store.lua.rig import START_MS, Rig

WINDOW_MS = 6_000


async def incarnate(
    rig: Rig,
    run_id: str,
    *,
    keeps_all: bool = False,
    was_replica: bool = False,
    met: str = "",
    met_epoch: int = 0,
    is_back: bool = False,
) -> Any:
    flags = ["1" if flag else "0" for flag in (keeps_all, was_replica, is_back)]
    args = [run_id, *flags[:2], str(WINDOW_MS), met, str(met_epoch), flags[2]]
    reply = await rig.run("incarnate", [], [*args])
    return [word.decode() for word in reply]


def marks(rig: Rig) -> tuple[str | None, str | None]:
    epoch, until = rig.redis.hmget(rig.keys.meta, "epoch", "suspect_until")
    return epoch, until


async def test_an_empty_redis_has_nothing_to_suspect(rig: Rig):
    assert await incarnate(rig, "a") == ["NEW", "", "0", "0"]
    assert marks(rig) == (None, None)
    assert rig.redis.hget(rig.keys.meta, "run_id") == "a"


async def test_the_same_start_is_met_once(rig: Rig):
    await rig.admit()
    await incarnate(rig, "a")
    with rig.nothing_written():
        assert await incarnate(rig, "a") == ["SAME", "1"]
    assert rig.journal().count(("INCARNATED", "suspect")) == 1


async def test_another_start_makes_suspect_what_was_admitted_until_the_longest_request_is_over(rig: Rig):
    await incarnate(rig, "a")
    await rig.admit()
    rig.now_ms += 100
    assert await incarnate(rig, "b") == ["NEW", "a", str(START_MS + 100 + WINDOW_MS), "1"]
    assert marks(rig) == ("1", str(START_MS + 100 + WINDOW_MS))
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
    assert await incarnate(rig, "a", keeps_all=False) == ["SAME", "0"]
    assert await incarnate(rig, "a", keeps_all=True) == ["SAME", "0"]
    assert (await incarnate(rig, "a", keeps_all=True, met="x", is_back=True))[0] == "NEW"
    assert rig.redis.hget(rig.keys.meta, "keeps_all") == "0"
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


async def test_each_return_is_an_epoch_of_its_own_whatever_the_clock_says(rig: Rig):
    epochs = []
    for run_id in ("a", "b", "c", "d"):
        await incarnate(rig, run_id)
        epochs.append(marks(rig)[0])
        rig.now_ms -= 1_000
    assert epochs == [None, "1", "2", "3"]


async def test_what_a_return_kept_stays_of_its_epoch(rig: Rig):
    await incarnate(rig, "a")
    await incarnate(rig, "b", keeps_all=True)
    assert await incarnate(rig, "c", keeps_all=True) == ["NEW", "b", "0", "1"]


async def test_a_server_that_another_took_over_from_is_suspect_when_it_is_met_again(rig: Rig):
    await incarnate(rig, "a", keeps_all=True)
    await rig.admit()
    # Its own writes were all kept, and the other one was taken for its restart.
    answer = await incarnate(rig, "a", keeps_all=True, met="b", is_back=True)
    assert answer == ["NEW", "a", str(START_MS + WINDOW_MS), "1"]
    assert marks(rig)[0] == "1"


async def test_data_of_an_earlier_epoch_than_one_that_was_met_is_suspect(rig: Rig):
    await incarnate(rig, "a", keeps_all=True)
    await rig.admit()
    # Nor does a caller need to have met it before.
    answer = await incarnate(rig, "a", keeps_all=True, met="b", met_epoch=1)
    assert answer == ["NEW", "a", str(START_MS + WINDOW_MS), "2"]
    assert await incarnate(rig, "a", keeps_all=True, met="b", met_epoch=1) == ["SAME", "2"]
    assert await incarnate(rig, "a", keeps_all=True, met="a", met_epoch=2) == ["SAME", "2"]


async def test_many_that_come_back_to_it_mark_it_once(rig: Rig):
    await incarnate(rig, "a")
    answers = [await incarnate(rig, "a", met="b", met_epoch=1, is_back=True) for _ in range(3)]
    assert answers[-1] == ["SAME", "2"]
    assert rig.journal().count(("INCARNATED", "suspect")) == 1


async def test_it_is_noticed_at_the_memory_limit_too(rig: Rig):
    await incarnate(rig, "a")
    with rig.memory_limit_reached():
        assert (await incarnate(rig, "b"))[0] == "NEW"


async def test_its_answer_when_sent_again_is_that_it_is_known(rig: Rig):
    await incarnate(rig, "a")
    await incarnate(rig, "b")
    assert await incarnate(rig, "b", met="a") == ["SAME", "1"]
