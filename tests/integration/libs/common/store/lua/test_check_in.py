from tests.integration.libs.common.store.lua.rig import START_MS, Rig


async def test_a_worker_is_noted_by_the_time_of_redis(rig: Rig):
    await rig.lanes("a").check_in()
    rig.now_ms += 500
    await rig.lanes("b").check_in()
    assert rig.redis.zrange(rig.keys.workers, 0, -1, withscores=True) == [
        ("a", START_MS),
        ("b", START_MS + 500),
    ]


async def test_a_worker_that_ends_is_noted_no_more(rig: Rig):
    await rig.lanes("a").check_in()
    await rig.lanes("a").check_out()
    assert not rig.redis.exists(rig.keys.workers)


async def test_re_sent_after_a_lost_reply_it_is_noted_once(rig: Rig):
    await rig.lose_reply("check_in", lambda: rig.lanes("a").check_in())
    assert rig.redis.zcard(rig.keys.workers) == 1


async def test_at_the_memory_limit_workers_are_noted_all_the_same(rig: Rig):
    with rig.memory_limit_reached():
        await rig.lanes("a").check_in()
    assert rig.redis.zcard(rig.keys.workers) == 1
