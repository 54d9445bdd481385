from decimal import Decimal

import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, Holder, Market
from libs.common.policy.reconciliation import Base
from libs.common.store.published import Published, PublishedPosition
from libs.common.store.reconciliation import Reconciled, Reconciliation
from tests.integration.libs.common.store.lua.rig import Rig

DESK, BTC = AccountName("desk"), Market("BTC")
FIRST = Base(quantity=Decimal("0.000000000000000001"), fills_id="0-0", active_at_ms=1)
SECOND = Base(quantity=Decimal(2), fills_id="7-0", active_at_ms=2)

THIRD = Base(quantity=Decimal(9), fills_id="8-0", active_at_ms=3)


def store(rig: Rig, holder: str = "a") -> Reconciliation:
    return rig._part(
        Reconciliation, holder, lambda: Reconciliation(rig.client, rig.keys, Holder(holder), now_ms=0)
    )


async def settle(rig: Rig, after: Base | None, drift: str = "") -> Reconciled:
    """Move the market on from where it is; return what was told."""
    before = (await store(rig).bases(DESK)).get(BTC)
    told = Reconciled(BTC, before, after, drift)
    assert await store(rig).settle(DESK, [told]) == [True]
    return told


async def test_what_is_counted_from_is_kept_exactly(rig: Rig):
    await settle(rig, FIRST)
    await settle(rig, SECOND)
    assert (await store(rig).bases(DESK))[BTC].base == SECOND
    assert rig.journal() == []


async def test_a_drift_is_journalled_with_what_is_counted_from_then_on(rig: Rig):
    await settle(rig, FIRST)
    await settle(rig, SECOND, "expected 1, the venue says 2")
    [(_, entry)] = rig.redis.xrange(rig.keys.journal)
    assert entry == {
        "event": "DRIFT",
        "alert": "",
        "account": "desk",
        "lane": "desk:BTC",
        "reason": "position",
        "detail": "expected 1, the venue says 2",
    }


async def test_a_drift_whose_reply_was_lost_is_journalled_once(rig: Rig):
    await settle(rig, FIRST)
    told = Reconciled(BTC, (await store(rig).bases(DESK))[BTC], SECOND, "words")
    assert await rig.lose_reply("reconciled", lambda: store(rig).settle(DESK, [told])) == [True]
    assert rig.journal() == [("DRIFT", "position")]


async def test_of_two_workers_that_compared_a_market_one_writes(rig: Rig):
    await settle(rig, FIRST)
    before = (await store(rig).bases(DESK))[BTC]
    await settle(rig, SECOND)
    with rig.nothing_written():
        late = Reconciled(BTC, before, THIRD, "words")
        assert await store(rig, "b").settle(DESK, [late]) == [False]


async def test_a_forgotten_market_is_published_no_more(rig: Rig):
    await settle(rig, FIRST)
    published = Published(rig.client, rig.keys)
    await published.publish_position(DESK, BTC, PublishedPosition(quantity=Decimal(0), at_ms=1))
    await settle(rig, None)
    assert await store(rig).bases(DESK) == {}
    assert await published.positions(DESK) == {}


async def test_a_key_of_another_kind_is_said_to_be_corrupt(rig: Rig):
    rig.spoil(rig.keys.reconciled(DESK))
    with pytest.raises(StoreCorrupt):
        await store(rig).settle(DESK, [Reconciled(BTC, None, FIRST)])


async def test_comparisons_are_written_when_memory_is_full(rig: Rig):
    with rig.memory_limit_reached():
        assert await store(rig).settle(DESK, [Reconciled(BTC, None, FIRST)]) == [True]


async def test_fills_are_read_in_pages_and_what_cannot_be_read_is_left_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    from libs.common.store import reconciliation as module

    monkeypatch.setattr(module, "PAGE", 2)
    key = rig.keys.fills(DESK)
    for number, quantity in enumerate(["1", "-2", "junk", "NaN", "0.000000000000000001"], 1):
        rig.redis.xadd(key, {"market": "BTC", "order": "o", "quantity": quantity}, id=f"{number}-0")
    everything = await store(rig).fills(DESK, "0-0")
    assert [(one.entry_id, one.quantity) for one in everything] == [
        ("1-0", 1),
        ("2-0", -2),
        ("5-0", Decimal("0.000000000000000001")),
    ]
    assert [one.entry_id for one in await store(rig).fills(DESK, "1-0")] == ["2-0", "5-0"]
