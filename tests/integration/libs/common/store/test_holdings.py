"""What an account has open, and the alerts that close it."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from libs.common.domain.alert import Action
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, LaneName, Market, client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.store.admission import Admission
from libs.common.store.head import Head
from libs.common.store.holdings import LATELY_MS, Holding, Holdings
from libs.common.store.operator_alerts import OperatorAlert, OperatorAlerts
from libs.common.store.published import Published, PublishedPosition
from libs.common.store.records import Records
from libs.common.wire import codec
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer

DESK = AccountName("desk")


@pytest_asyncio.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as store:
        yield store


async def now_ms(store: FilledStore) -> int:
    seconds, micros = await store.client.time()
    return int(seconds) * 1_000 + int(micros) // 1_000


async def holdings(store: FilledStore, *, later_ms: int = 0) -> dict[str, Holding]:
    found = await Holdings(store.client, store.keys).of(DESK, await now_ms(store) + later_ms)
    return {one.market: one for one in found}


async def rest(store: FilledStore, market: str) -> Head:
    """Have an order of a market rest at the venue, half filled."""
    await store.admit(market, accounts=("desk",))
    held, head = await store.take()
    intent = await store.begin(held, head)
    report = OrderReport(order_id="v1", state=OrderState.PARTIAL, filled_quantity=Decimal("0.05"))
    await store.settle(held, head, InstructionState.EXECUTED, Reason.ACCEPTED, intent=intent, report=report)
    return head


async def test_of_an_account_that_never_did_anything_nothing_is_open(store: FilledStore):
    await store.admit("BTC", accounts=("fund",))
    assert await holdings(store) == {}


async def test_positions_are_those_that_workers_read(store: FilledStore):
    published = Published(store.client, store.keys)
    await published.publish_position(DESK, Market("BTC"), PublishedPosition(quantity=Decimal(-2), at_ms=5))
    await published.publish_position(DESK, Market("ETH"), PublishedPosition(quantity=Decimal(0), at_ms=5))
    assert await holdings(store) == {"BTC": Holding(Market("BTC"), Decimal(-2), 5, (), 0, was_traded=False)}


async def test_what_waits_in_a_lane_may_open_something(store: FilledStore):
    for market in ("BTC/USDT:USDT", "BTC/USDT:USDT", "ETH"):
        await store.admit(market, accounts=("desk",))
    held, _ = await store.take()
    await store.park(held)
    found = await holdings(store)
    assert {market: one.waiting for market, one in found.items()} == {"BTC/USDT:USDT": 2, "ETH": 1}


async def test_orders_that_rest_are_found_after_their_instruction_is_forgotten(store: FilledStore):
    head = await rest(store, "BTC")
    await store.client.delete(store.keys.instruction(head.alert_id, head.account))
    found = await holdings(store, later_ms=LATELY_MS * 2)
    [order] = found["BTC"].resting
    assert (order.client_order_id, order.market) == (client_order_id(DESK, head.alert_id, 0), "BTC")


async def test_a_market_that_was_traded_lately_may_hold_more_than_was_read(store: FilledStore):
    await store.admit("BTC", accounts=("desk",))
    await store.execute()
    assert (await holdings(store))["BTC"].was_traded
    assert await holdings(store, later_ms=LATELY_MS * 2) == {}


# The alerts of operators.


def asked(*actions: Action) -> list[OperatorAlert]:
    return [OperatorAlert(DESK, Market("BTC/USDT:USDT"), action) for action in actions]


async def test_an_operators_alerts_wait_in_their_lane_in_the_order_they_were_given(store: FilledStore):
    await store.admit("BTC/USDT:USDT", accounts=("desk",))
    ids = await OperatorAlerts(store.client, store.keys).send(
        asked(Action.CANCEL, Action.CLOSE_ALL),
        by="me",
        reason="x",
        max_age_ms=1_000,
        at_ms=await now_ms(store),
    )
    lane = await store.client.xrange(store.keys.lane(LaneName("desk:BTC/USDT:USDT")))
    bodies = [codec.INSTRUCTION.decode(fields[b"body"]) for _, fields in lane]
    assert [one.action for one in bodies] == [Action.BUY, Action.CANCEL, Action.CLOSE_ALL]
    assert [one.alert_id for one in bodies[1:]] == ids
    assert all(one.names_market and one.symbol is None for one in bodies[1:])


async def test_an_operators_alert_tells_who_asked_and_why(store: FilledStore):
    [alert_id] = await OperatorAlerts(store.client, store.keys).send(
        asked(Action.CLOSE_ALL), by="me", reason="bad fills", max_age_ms=600_000, at_ms=await now_ms(store)
    )
    record = await Records(store.client, store.keys).alert(alert_id)
    assert record is not None
    assert (record.alert.webhook, record.alert.content.dialect) == ("operator", "bascule")
    assert '"by":"me"' in record.alert.raw
    assert '"reason":"bad fills"' in record.alert.raw
    [instruction] = record.instructions
    assert 0 <= instruction.deadline_ms - record.admitted_at_ms <= 600_000


async def test_an_alert_whose_answer_was_lost_is_admitted_once(
    store: FilledStore, monkeypatch: pytest.MonkeyPatch
):
    alerts = OperatorAlerts(store.client, store.keys)
    submit = alerts._intake.admissions.submit
    calls = []

    async def lossy(item: Admission) -> object:
        verdict = await submit(item)
        calls.append(item)
        if len(calls) < 3:
            raise StoreUnavailable("the reply was lost")
        return verdict

    monkeypatch.setattr(alerts._intake.admissions, "submit", lossy)
    [alert_id] = await alerts.send(
        asked(Action.CANCEL), by="me", reason="x", max_age_ms=1_000, at_ms=await now_ms(store)
    )
    assert len(calls) == 3
    assert await store.client.xlen(store.keys.lane(LaneName("desk:BTC/USDT:USDT"))) == 1
    assert await Records(store.client, store.keys).alert(alert_id) is not None


async def test_two_calls_are_two_alerts(store: FilledStore):
    alerts = OperatorAlerts(store.client, store.keys)
    for _ in range(2):
        await alerts.send(
            asked(Action.CLOSE_ALL), by="me", reason="x", max_age_ms=1_000, at_ms=await now_ms(store)
        )
    assert await store.client.xlen(store.keys.lane(LaneName("desk:BTC/USDT:USDT"))) == 2
