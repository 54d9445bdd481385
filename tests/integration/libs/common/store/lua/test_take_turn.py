"""One of several reapers has a turn."""

from libs.common.store.turns import Turn
from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.eventually import eventually


def turn(rig: Rig, holder: str, lasts_ms: int = 60_000) -> Turn:
    return Turn(rig.client, rig.keys, "duty", holder=holder, lasts_ms=lasts_ms)


async def test_whoever_comes_first_has_it_as_long_as_it_asks(rig: Rig) -> None:
    one, other = turn(rig, "one"), turn(rig, "other")

    assert [await one.take(), await other.take(), await one.take(), await other.take()] == [
        True,
        False,
        True,
        False,
    ]
    assert 0 < rig.redis.pttl(rig.keys.watchdog_turn("duty")) <= 60_000


async def test_once_it_has_run_out_somebody_else_has_it(rig: Rig) -> None:
    assert await turn(rig, "one", 20).take()

    await eventually(turn(rig, "other").take)


async def test_what_is_given_back_is_free_at_once_and_nobody_gives_back_what_another_has(rig: Rig) -> None:
    one, other = turn(rig, "one"), turn(rig, "other")
    await one.take()
    await other.take()

    await other.give_back()
    assert not await other.take()
    await one.give_back()
    await eventually(other.take)


async def test_a_turn_whose_reply_was_lost_is_still_ours(rig: Rig) -> None:
    assert await rig.lose_reply("take_turn", lambda: turn(rig, "one").take())


async def test_at_the_memory_limit_turns_are_taken(rig: Rig) -> None:
    with rig.memory_limit_reached():
        assert await turn(rig, "one").take()
