from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.store.reconciliation import DRIFT_TOLD_MS
from tests.integration.libs.common.store.lua.rig import Rig
from tests.integration.libs.common.store.lua.test_reconciled import store

DESK, BTC, ORDER = AccountName("desk"), Market("BTC"), ClientOrderId("order")


async def test_the_drift_of_an_order_is_told_once_while_it_lasts(rig: Rig):
    told = [await store(rig).tell_drift(DESK, BTC, ORDER, "words") for _ in range(3)]
    assert told == [True, False, False]
    assert rig.journal(account="desk") == [("DRIFT", "order")]
    assert 0 < rig.redis.pttl(rig.keys.drift(DESK, ORDER)) <= DRIFT_TOLD_MS


async def test_the_drift_of_another_order_is_told_too(rig: Rig):
    for order in ("one", "other"):
        assert await store(rig).tell_drift(DESK, BTC, ClientOrderId(order), "words")


async def test_a_drift_whose_reply_was_lost_is_in_the_journal_once(rig: Rig):
    await rig.lose_reply("drifted", lambda: store(rig).tell_drift(DESK, BTC, ORDER, "words"))
    assert rig.journal() == [("DRIFT", "order")]
