"""Dead letters of real settlements: read, replayed once, discarded."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.common.domain.ids import client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.store.dead_letters import (
    DeadLetter,
    DeadLetters,
    Discarded,
    Gone,
    Malformed,
    NoRecord,
    NotDead,
    Replayed,
)
from libs.common.store.head import Head
from libs.common.store.journal import Journal
from libs.common.store.records import Records
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as filled:
        yield filled


def letters_of(store: FilledStore) -> DeadLetters:
    return DeadLetters(store.client, store.keys)


async def all_letters(store: FilledStore) -> list[DeadLetter]:
    return [letter async for page in letters_of(store).backwards() for letter in page]


async def one_letter(store: FilledStore) -> DeadLetter:
    [letter] = await all_letters(store)
    return letter


async def test_a_letter_tells_what_was_given_up(store: FilledStore) -> None:
    alert_id = await store.admit("ETHUSDT")
    await store.reject()

    letter = await one_letter(store)

    assert (letter.alert_id, letter.account, letter.market) == (alert_id, "paper", "ETHUSDT")
    assert (letter.state, letter.reason, letter.detail) == ("REJECTED", "venue_rejected", "no funds")
    assert letter.attempts == 1
    assert await letters_of(store).get(letter.letter_id) == letter


async def test_letters_come_newest_first(store: FilledStore) -> None:
    ids = []
    for symbol in ("AAA", "BBB", "CCC"):
        ids.append(await store.admit(symbol))
        await store.reject(with_order=False)

    assert [letter.alert_id for letter in await all_letters(store)] == ids[::-1]


async def test_a_replay_queues_the_instruction_again_with_a_new_deadline(store: FilledStore) -> None:
    alert_id = await store.admit("ETHUSDT", max_age_ms=60_000)
    await store.reject(with_order=False)
    letter = await one_letter(store)

    outcome = await letters_of(store).replay(letter.letter_id, max_age_ms=600_000)

    assert outcome == Replayed(alert_id, "paper")
    record = await Records(store.client, store.keys).alert(alert_id)
    assert record is not None
    [instruction] = record.instructions
    assert (instruction.state, instruction.reason) == (InstructionState.QUEUED, "replayed")
    assert letter.deadline_ms is not None
    assert instruction.deadline_ms > letter.deadline_ms + 500_000
    assert not record.has_ended
    assert await all_letters(store) == []


async def test_a_replayed_instruction_executes_and_keeps_its_history(store: FilledStore) -> None:
    alert_id = await store.admit("ETHUSDT")
    await store.reject(with_order=False)
    await letters_of(store).replay((await one_letter(store)).letter_id, max_age_ms=60_000)

    head = await store.execute()

    assert head.alert_id == alert_id
    record = await Records(store.client, store.keys).alert(alert_id)
    assert record is not None
    history = await Journal(store.client, store.keys).entries(record.journal_ids)
    assert [(entry.event, entry.reason) for entry in history] == [
        ("QUEUED", "admitted"),
        ("DEAD", "poison"),
        ("QUEUED", "replayed"),
        ("SENDING", ""),
        ("EXECUTED", "filled"),
    ]


async def test_an_order_that_the_venue_refused_is_attempted_under_the_same_id_after_a_replay(
    store: FilledStore,
) -> None:
    alert_id = await store.admit("ETHUSDT")
    await store.reject()
    await letters_of(store).replay((await one_letter(store)).letter_id, max_age_ms=60_000)

    held, head = await store.take()

    [order] = head.orders
    assert order.client_order_id == client_order_id(head.account, alert_id, 0)
    assert (order.state, order.attempt) == (OrderState.NOT_EXECUTED, 1)
    intent = await store.begin(held, head, attempt=2)
    assert intent.client_order_id == order.client_order_id


async def test_a_letter_is_replayed_once(store: FilledStore) -> None:
    await store.admit()
    await store.reject(with_order=False)
    letters, letter = letters_of(store), await one_letter(store)

    outcomes = await asyncio.gather(*(letters.replay(letter.letter_id, max_age_ms=60_000) for _ in range(5)))

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Gone"] * 4 + ["Replayed"]
    assert await store.client.xlen(store.keys.lane(letter.lane)) == 1  # type: ignore[arg-type]


async def test_a_letter_is_not_replayed_where_an_order_was_attempted_and_its_record_is_gone(
    store: FilledStore,
) -> None:
    alert_id = await store.admit()
    head = await store.reject()
    await store.client.delete(store.keys.order(client_order_id(head.account, alert_id, 0)))
    letter = await one_letter(store)

    assert await letters_of(store).replay(letter.letter_id, max_age_ms=60_000) == NoRecord()
    assert await one_letter(store) == letter


async def test_a_letter_is_not_replayed_where_the_whole_instruction_is_gone_after_an_attempt(
    store: FilledStore,
) -> None:
    alert_id = await store.admit()
    head = await store.reject()
    await store.client.delete(store.keys.instruction(alert_id, head.account))

    outcome = await letters_of(store).replay((await one_letter(store)).letter_id, max_age_ms=60_000)

    assert outcome == NoRecord()


async def test_a_letter_is_not_replayed_while_its_instruction_is_in_another_state(store: FilledStore) -> None:
    await store.admit()
    head = await store.reject(with_order=False)
    letter = await one_letter(store)
    await store.client.hset(store.keys.instruction(head.alert_id, head.account), "state", "ACTIVE")

    assert await letters_of(store).replay(letter.letter_id, max_age_ms=60_000) == NotDead("ACTIVE")


async def test_a_malformed_letter_is_not_replayed(store: FilledStore) -> None:
    await store.client.xadd(store.keys.dead, {"alert": "", "lane": "paper:X", "state": "DEAD"})
    letter = await one_letter(store)

    assert await letters_of(store).replay(letter.letter_id, max_age_ms=60_000) == Malformed()


async def test_a_discarded_letter_is_gone_and_the_history_says_so(store: FilledStore) -> None:
    alert_id = await store.admit()
    await store.reject(with_order=False)
    letters, letter = letters_of(store), await one_letter(store)

    assert await letters.discard(letter.letter_id) == Discarded(alert_id, "paper")

    assert await letters.discard(letter.letter_id) == Gone()
    assert await letters.replay(letter.letter_id, max_age_ms=60_000) == Gone()
    record = await Records(store.client, store.keys).alert(alert_id)
    assert record is not None
    history = await Journal(store.client, store.keys).entries(record.journal_ids)
    assert history[-1].event == "DISCARDED"
    assert record.instructions[0].state is InstructionState.DEAD


async def test_a_replay_and_a_discard_work_at_the_memory_limit(store: FilledStore) -> None:
    for symbol in ("AAA", "BBB"):
        await store.admit(symbol)
        await store.reject(with_order=False)
    letters = letters_of(store)
    newer, older = await all_letters(store)

    await store.client.config_set("maxmemory", "1mb")

    assert isinstance(await letters.replay(older.letter_id, max_age_ms=60_000), Replayed)
    assert isinstance(await letters.discard(newer.letter_id), Discarded)


async def test_a_replayed_lane_gets_one_token(store: FilledStore) -> None:
    await store.admit("ETHUSDT")
    await store.reject(with_order=False)
    await letters_of(store).replay((await one_letter(store)).letter_id, max_age_ms=60_000)
    await store.admit("ETHUSDT")

    assert await store.client.xlen(store.keys.ready) == 1
    _, head = await store.take()
    assert isinstance(head, Head)
