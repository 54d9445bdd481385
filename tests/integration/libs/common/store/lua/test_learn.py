"""What is learned from a stream counts once, however many read it."""

from libs.common.policy.rise import Counts
from libs.common.policy.silence import Habit, heard
from libs.common.store.watch import Watch
from tests.integration.libs.common.store.lua.rig import Rig

HABIT = heard(None, 1_000)
CURSOR = "journal:0"


def watch(rig: Rig) -> Watch:
    return Watch(rig.client, rig.keys)


async def learn(rig: Rig, before: str | None, to: str, **habits: Habit | None) -> bool:
    return await watch(rig).learn_habits(CURSOR, before, to, habits)


async def test_a_cursor_moves_with_what_was_learned(rig: Rig) -> None:
    assert await watch(rig).cursor(CURSOR) is None

    assert await learn(rig, None, "1-0", trend=HABIT)

    assert await watch(rig).cursor(CURSOR) == "1-0"
    assert await watch(rig).habits() == {"trend": HABIT}
    assert await watch(rig).count_habits() == 1


async def test_whoever_began_where_somebody_else_has_been_since_writes_nothing(rig: Rig) -> None:
    await learn(rig, None, "1-0", trend=HABIT)
    await learn(rig, "1-0", "2-0")

    with rig.nothing_written():
        assert not await learn(rig, "1-0", "3-0", trend=None)
        assert not await learn(rig, None, "3-0", other=HABIT)


async def test_a_strategy_is_forgotten(rig: Rig) -> None:
    await learn(rig, None, "1-0", trend=HABIT, other=HABIT)
    await learn(rig, "1-0", "1-0", trend=None)

    assert await watch(rig).habits() == {"other": HABIT}


async def test_what_was_learned_with_a_reply_that_was_lost_is_learned_once(rig: Rig) -> None:
    await rig.lose_reply("learn", lambda: learn(rig, None, "1-0", trend=HABIT))

    assert await watch(rig).habits() == {"trend": HABIT}


async def test_junk_among_habits_is_learned_anew_and_its_neighbours_stay(rig: Rig) -> None:
    await learn(rig, None, "1-0", trend=HABIT)
    rig.redis.hset(rig.keys.habits, "junk", "{")

    assert await watch(rig).habits() == {"trend": HABIT}


async def test_counts_are_kept_as_they_are(rig: Rig) -> None:
    counts = Counts(window_ms=600_000, since_ms=5, windows={3: 7})

    assert await watch(rig).counts() is None
    assert await watch(rig).learn_counts("refused", None, "1-0", counts)
    assert await watch(rig).counts() == counts


async def test_at_the_memory_limit_it_goes_on_learning(rig: Rig) -> None:
    with rig.memory_limit_reached():
        assert await learn(rig, None, "1-0", trend=HABIT)
