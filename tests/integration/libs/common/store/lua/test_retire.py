import pytest

from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.eventually import eventually


def consumers(rig: Rig) -> set[str]:
    return {one["name"] for one in rig.redis.xinfo_consumers(rig.keys.ready, "workers")}


def idle_ms(rig: Rig) -> int:
    return min(one["idle"] for one in rig.redis.xinfo_consumers(rig.keys.ready, "workers"))


async def gone(rig: Rig) -> None:
    """Leave a consumer behind that holds nothing."""
    await rig.settle(await rig.hold(), "SKIPPED", order=None)
    await eventually(lambda: idle_ms(rig) > 20, 2)


async def test_a_consumer_of_a_process_that_is_gone_is_deleted_once_it_is_idle(rig: Rig):
    await gone(rig)
    assert await rig.upkeep.retire(idle_ms=60_000) == 0
    assert consumers(rig) == {"a"}
    assert await rig.upkeep.retire(idle_ms=10) == 1
    assert consumers(rig) == set()


async def test_a_consumer_with_a_pending_token_is_never_deleted(rig: Rig):
    hold = await rig.hold()
    await rig.hold("ETH", holder="b")
    await eventually(lambda: idle_ms(rig) > 20, 2)
    assert await rig.upkeep.retire(idle_ms=1) == 0
    assert rig.pending()[hold.held.token] == "a"


async def test_a_worker_that_checks_in_is_not_deleted_however_long_it_waits_for_work(rig: Rig):
    await gone(rig)
    await rig.lanes("a").check_in()
    rig.now_ms += 9
    assert await rig.upkeep.retire(idle_ms=10) == 0
    rig.now_ms += 1
    assert await rig.upkeep.retire(idle_ms=10) == 1
    assert not rig.redis.exists(rig.keys.workers)


async def test_a_worker_that_was_retired_by_mistake_reads_on(rig: Rig):
    await gone(rig)
    assert await rig.upkeep.retire(idle_ms=10) == 1
    await rig.admit()
    assert len(await rig.read()) == 1


@pytest.mark.parametrize("has_stream", [False, True])
async def test_without_a_group_there_is_nobody_to_retire_and_no_error(rig: Rig, has_stream: bool):
    if has_stream:
        rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    else:
        rig.redis.delete(rig.keys.ready)
    assert await rig.upkeep.retire(idle_ms=1) == 0


async def test_re_sent_after_a_lost_reply_it_finds_nobody_left(rig: Rig):
    await gone(rig)
    assert await rig.lose_reply("retire", lambda: rig.upkeep.retire(idle_ms=10)) == 0
    assert consumers(rig) == set()


async def test_at_the_memory_limit_consumers_are_retired_all_the_same(rig: Rig):
    await gone(rig)
    with rig.memory_limit_reached():
        assert await rig.upkeep.retire(idle_ms=10) == 1
