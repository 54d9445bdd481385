"""Records and histories as real scripts leave them."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AlertId, client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.store.readings import Readings
from libs.common.store.records import AlertRecord, Records
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as filled:
        yield filled


async def read(store: FilledStore, alert_id: AlertId) -> AlertRecord:
    record = await Records(store.client, store.keys).alert(alert_id)
    assert record is not None
    return record


async def test_an_unknown_alert_is_none(store: FilledStore) -> None:
    assert await Records(store.client, store.keys).alert(AlertId("nothing")) is None


async def test_a_waiting_alert_has_a_queued_instruction_and_no_order(store: FilledStore) -> None:
    record = await read(store, await store.admit("ETHUSDT", quantity="0.10"))

    [instruction] = record.instructions
    assert (instruction.account, instruction.market, instruction.state) == (
        "paper",
        "ETHUSDT",
        InstructionState.QUEUED,
    )
    assert instruction.orders == ()
    assert str(record.alert.content.quantity) == "0.10"
    assert not record.has_ended


async def test_an_executed_alert_has_its_order_with_the_venues_answer(store: FilledStore) -> None:
    alert_id = await store.admit(quantity="0.10", price="100")
    await store.execute(at_price="100.5")

    record = await read(store, alert_id)

    assert record.has_ended
    [instruction] = record.instructions
    [order] = instruction.orders
    assert (instruction.state, instruction.reason) == (InstructionState.EXECUTED, "filled")
    assert order.client_order_id == client_order_id(instruction.account, alert_id, 0)
    assert (order.state, order.attempts, order.market) == (OrderState.FILLED, 1, "BTCUSDT")
    assert order.report is not None
    assert order.report.average_price == Decimal("100.5")


@pytest.mark.parametrize(
    ("action", "price", "fill", "slippage"),
    [
        (Action.BUY, "100", "100.5", 50.0),
        (Action.SELL, "100", "100.5", -50.0),
        (Action.BUY, None, "100.5", None),
    ],
)
async def test_slippage_is_positive_where_the_fill_was_worse_than_the_alerts_price(
    store: FilledStore, action: Action, price: str | None, fill: str, slippage: float | None
) -> None:
    alert_id = await store.admit(action=action, price=price)
    await store.execute(at_price=fill)

    assert (await read(store, alert_id)).instructions[0].slippage_bps == slippage


async def test_the_worst_of_several_instructions_stands_for_the_alert(store: FilledStore) -> None:
    alert_id = await store.admit(accounts=("one", "two"))
    await store.execute()
    assert (await read(store, alert_id)).decisive.state is InstructionState.QUEUED  # type: ignore[union-attr]

    await store.reject()

    record = await read(store, alert_id)
    assert record.decisive is not None
    assert (record.decisive.state, record.decisive.account) == (InstructionState.REJECTED, "two")
    assert record.has_ended


async def test_the_history_of_several_instructions_is_in_the_order_in_which_it_happened(
    store: FilledStore, redis_server: RedisServer
) -> None:
    alert_id = await store.admit(accounts=("one", "two"))
    await store.execute()
    await store.reject()

    async with Readings.at(redis_server.url) as readings:
        history = await readings.history(await read(store, alert_id))

    assert [(entry.event, entry.account) for entry in history] == [
        ("QUEUED", "one"),
        ("QUEUED", "two"),
        ("SENDING", "one"),
        ("EXECUTED", "one"),
        ("SENDING", "two"),
        ("REJECTED", "two"),
    ]
    assert history[2].client_order_id == client_order_id(history[2].account, alert_id, 0)  # type: ignore[arg-type]


async def test_history_that_was_trimmed_is_left_out(store: FilledStore, redis_server: RedisServer) -> None:
    alert_id = await store.admit()
    await store.execute()
    await store.client.xtrim(store.keys.journal, maxlen=1, approximate=False)

    async with Readings.at(redis_server.url) as readings:
        history = await readings.history(await read(store, alert_id))

    assert [entry.event for entry in history] == ["EXECUTED"]


async def test_a_record_that_cannot_be_read_is_refused_by_name_and_left_out_of_lists(
    store: FilledStore,
) -> None:
    whole = await store.admit("AAA")
    broken = await store.admit("BBB")
    await store.client.hset(store.keys.alert(broken), "alert", "{")
    records = Records(store.client, store.keys)

    with pytest.raises(StoreCorrupt):
        await records.alert(broken)
    assert [record.alert.alert_id for record in await records.alerts([broken, whole])] == [whole]


async def test_searches_find_the_newest_and_each_once(store: FilledStore, redis_server: RedisServer) -> None:
    ids = []
    for symbol in ("AAA", "BBB", "CCC"):
        ids.append(await store.admit(symbol, accounts=("one", "two")))
        await store.execute()
        await store.execute()

    async with Readings.at(redis_server.url) as readings:
        alerts = await readings.newest_alerts(limit=2)
        orders = await readings.newest_orders(limit=10, matches=lambda order: order.account == "two")
        later = await readings.newest_alerts(limit=9, since_ms=await readings.now_ms() + 1_000)
        prefixed = await readings.alerts_beginning(ids[1])

    assert [record.alert.alert_id for record in alerts.items] == [ids[2], ids[1]]
    assert [order.alert_id for order in orders.items] == ids[::-1]
    assert later.items == []
    assert prefixed == [ids[1]]


async def test_a_search_goes_on_page_after_page(store: FilledStore, redis_server: RedisServer) -> None:
    first = await store.admit("AAA")
    async with store.client.pipeline(transaction=False) as pipeline:
        for number in range(1_200):
            pipeline.xadd(store.keys.journal, {"event": "BREAKER", "reason": str(number)})
        await pipeline.execute()

    async with Readings.at(redis_server.url) as readings:
        found = await readings.newest_alerts(limit=1)

    assert [record.alert.alert_id for record in found.items] == [first]


async def test_refused_posts_come_newest_first(store: FilledStore, redis_server: RedisServer) -> None:
    older = await store.refuse("unauthorized", 401)
    newer = await store.refuse("invalid_action", 422, field="action", detail="not buy")

    async with Readings.at(redis_server.url) as readings:
        found = await readings.newest_refused(limit=10)

    assert [post.event_id for post in found.items] == [newer, older]
    assert (found.items[0].status, found.items[0].field) == (422, "action")
