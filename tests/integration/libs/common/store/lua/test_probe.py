import pytest

from libs.common.domain.errors import StoreUnavailable
from tests.integration.libs.common.store.lua.rig import Rig


async def test_it_writes_something_that_expires(rig: Rig):
    await rig.intake.probe()
    assert 0 < rig.redis.pttl(rig.keys.probe) <= 10_000


async def test_at_the_memory_limit_it_is_refused_as_an_alert_would_be(rig: Rig):
    with rig.memory_limit_reached(), rig.nothing_written(), pytest.raises(StoreUnavailable):
        await rig.intake.probe()


async def test_re_sent_after_a_lost_reply_it_is_the_same(rig: Rig):
    async def call() -> None:
        await rig.intake.probe()

    await rig.lose_reply("probe", call)
    assert rig.redis.exists(rig.keys.probe)


@pytest.mark.parametrize(
    ("option", "value"),
    [("min-replicas-to-write", "1"), ("replicaof", "127.0.0.1 1")],
    ids=["replicas", "replica"],
)
async def test_a_server_that_takes_no_writes_now_is_away_and_not_corrupt(rig: Rig, option: str, value: str):
    try:
        if option == "replicaof":
            rig.redis.replicaof("127.0.0.1", "1")
        else:
            rig.redis.config_set(option, value)
        with pytest.raises(StoreUnavailable):
            await rig.intake.probe()
        with pytest.raises(StoreUnavailable):
            await rig.admit()
        with pytest.raises(StoreUnavailable):
            await rig.upkeep.promote()
    finally:
        rig.redis.replicaof("NO", "ONE")
        rig.redis.config_set("min-replicas-to-write", "0")
