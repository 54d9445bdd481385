import pytest

from libs.common.domain.ids import Market
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Head, Moved, Stale
from libs.common.store.order_answers import Expired, Halted, Planned, Wait
from libs.common.store.orders import Planning
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig


def planning(hold: Hold, plan: bytes = b'{"cancels":["1"]}') -> Planning:
    return Planning(hold.held, hold.head.entry_id, plan, Market("BTC"), "trend", b'{"sizing":"x"}')


async def fix(rig: Rig, hold: Hold, **options: bytes) -> object:
    return await rig.do(rig.orders(hold.holder).plan.submit(planning(hold, **options)))


async def test_a_plan_is_on_disk_and_in_the_journal(rig: Rig):
    hold = await rig.hold()
    assert await fix(rig, hold) == Planned()
    assert rig.instruction(hold.head.alert_id)["plan"] == '{"cancels":["1"]}'
    assert rig.journal().count(("PLANNED", "")) == 1


async def test_told_twice_it_is_written_once(rig: Rig):
    hold = await rig.hold()
    assert await rig.lose_reply("plan", lambda: fix(rig, hold)) == Planned()
    assert rig.journal().count(("PLANNED", "")) == 1


async def test_a_plan_once_made_stays(rig: Rig):
    hold = await rig.hold()
    await fix(rig, hold)
    with rig.nothing_written():
        assert isinstance(await fix(rig, hold, plan=b"another"), Moved)


async def test_who_lost_the_lane_plans_nothing(rig: Rig):
    hold = await rig.hold()
    late = Hold(hold.held, hold.head, "b")
    with rig.nothing_written():
        assert isinstance(await fix(rig, late), Stale)


async def test_a_plan_that_comes_after_its_instruction_ended_is_not_given_to_the_next(rig: Rig):
    hold = await rig.hold(alerts=2)
    following = await rig.settle(hold, InstructionState.REJECTED, reason=Reason.VENUE_REJECTED, order=None)
    assert isinstance(following, Head)
    with rig.nothing_written():
        assert isinstance(await fix(rig, hold), Moved)
    assert "plan" not in rig.instruction(following.alert_id)


async def test_what_is_too_old_is_not_planned(rig: Rig):
    hold = await rig.hold(max_age_ms=1_000)
    rig.now_ms += 1_000
    assert await fix(rig, hold) == Expired()


@pytest.mark.parametrize("mode", ["reject", "pause", "close-only"])
async def test_halts_hold_it_but_close_only(rig: Rig, mode: str):
    hold = await rig.hold()
    scope = "account=*;strategy=trend;symbol=*"
    rig.redis.hset(f"{rig.keys.prefix}halts", scope, f"{mode}|0|ops|why")
    answer = await fix(rig, hold)
    words = f"{mode} of {scope}: why"
    expected = {
        "reject": Halted(words),
        "pause": Wait(START_MS + 2_000, Reason.HALTED, START_MS, words),
        "close-only": Planned(),
    }
    assert answer == expected[mode]


async def test_at_the_memory_limit_it_is_planned_all_the_same(rig: Rig):
    hold = await rig.hold()
    with rig.memory_limit_reached():
        assert await fix(rig, hold) == Planned()
