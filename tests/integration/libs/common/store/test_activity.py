"""What came in within a period, and what became of it."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest

from libs.common.domain.ids import AccountName, Market
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.policy.report import Asked, Tally
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.intake import KEPT_BYTES
from libs.common.store.readings import Readings
from libs.common.store.report import Report
from libs.common.store.streams import PAGE, at_ms
from libs.common.wire import codec
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer
from tests.support.sharded_store import ShardedStore, sharded_store

pytestmark = [pytest.mark.redis, pytest.mark.integration]

EVER: Final = (0, 2**52)
ALL: Final = Asked()

EXECUTED, SKIPPED, REJECTED = (
    InstructionState.EXECUTED,
    InstructionState.SKIPPED,
    InstructionState.REJECTED,
)


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as filled:
        yield filled


@pytest.fixture
async def sharded(redis_server: RedisServer) -> AsyncIterator[ShardedStore]:
    async with sharded_store(redis_server.url) as filled:
        yield filled


async def report(server: RedisServer, asked: Asked = ALL, period: tuple[int, int] = EVER) -> Report:
    async with Readings.at(server.url) as readings:
        return await readings.report(asked, *period)


async def tally(server: RedisServer, asked: Asked = ALL, period: tuple[int, int] = EVER) -> Tally:
    return (await report(server, asked, period)).tally


async def newest_at_ms(store: FilledStore, event: bytes | None = None) -> int:
    """Return when the journal's newest change, or that of one kind, was added; a record may say a millisecond less."""
    newest_first = await store.client.xrevrange(store.keys.journal)
    return next(at_ms(name.decode()) for name, fields in newest_first if event in (None, fields[b"event"]))


async def test_alerts_are_counted_by_what_they_have_come_to(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit("AAA", strategy="trend")
    await store.execute("100.5")
    await store.admit("BBB", strategy="trend")
    await store.reject()
    await store.admit("CCC")

    found = await tally(redis_server)

    assert found.alerts == 3
    assert found.outcomes == {
        (EXECUTED, "filled"): 1,
        (REJECTED, "venue_rejected"): 1,
        (InstructionState.QUEUED, "admitted"): 1,
    }
    assert found.orders == {OrderState.FILLED: 1, OrderState.REJECTED: 1}
    assert (found.fills, found.slippage.largest) == (1, 5_000)
    assert {name: group.alerts for name, group in found.strategies.busiest()} == {"trend": 2, None: 1}
    assert {name for name, _ in found.symbols.busiest()} == {"AAA", "BBB", "CCC"}
    assert (found.admitted_ms.count, found.sent_ms.count) == (3, 2)
    assert (found.answered_ms.count, found.filled_ms.count) == (2, 1)
    for one in (found.admitted_ms, found.sent_ms, found.answered_ms, found.filled_ms):
        assert one.smallest is not None
        assert one.smallest >= 0


async def test_an_order_that_rests_was_answered_when_its_instruction_ended(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit()
    held, head = await store.take()
    intent = await store.begin(held, head)
    resting = OrderReport(order_id="1", state=OrderState.ACCEPTED)
    await store.settle(held, head, EXECUTED, Reason.ACCEPTED, intent=intent, report=resting)
    order = store.keys.order(intent.client_order_id)
    signed_at = int(await store.client.hget(order, "signed_at") or 0)
    instruction = store.keys.instruction(head.alert_id, head.account)
    await store.client.hset(instruction, "ended_at", str(signed_at + 70))

    found = await tally(redis_server)
    assert (found.answered_ms.largest, found.filled_ms.count) == (70, 0)

    await store.client.hset(order, mapping={"state": "FILLED", "ended_at": str(signed_at + 9_000)})
    found = await tally(redis_server)
    assert (found.answered_ms.largest, found.filled_ms.count) == (70, 1)


async def test_a_period_takes_in_its_beginning_and_not_its_end(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit()
    came = await newest_at_ms(store)

    assert (await tally(redis_server, period=(came, came + 1))).alerts == 1
    assert (await tally(redis_server, period=(came + 1, came + 10))).alerts == 0
    assert (await tally(redis_server, period=(came - 10, came))).alerts == 0


async def test_an_alert_for_several_accounts_is_one_with_a_share_each(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit(accounts=("paper", "desk"))
    await store.execute()

    found = await tally(redis_server)

    assert (found.alerts, found.outcomes.total()) == (1, 2)
    assert [(name, group.alerts) for name, group in found.accounts.busiest()] == [("desk", 1), ("paper", 1)]


async def test_shares_that_stand_on_two_pages_of_the_journal_are_counted_once(
    store: FilledStore, redis_server: RedisServer
) -> None:
    for _ in range(PAGE - 1):
        await store.client.xadd(store.keys.journal, {"event": "BREAKER"})
    await store.admit(accounts=("paper", "desk"))
    assert await store.client.xlen(store.keys.journal) == PAGE + 1

    found = await tally(redis_server)

    assert (found.alerts, found.outcomes.total()) == (1, 2)


async def test_a_share_that_its_account_declined_is_counted_with_its_reason(
    store: FilledStore, redis_server: RedisServer
) -> None:
    admission = await store.admission(accounts=("paper", "desk"))
    taken, declined = admission.routed
    declined = msgspec.structs.replace(
        declined, market=Market(""), state="SKIPPED", reason="not_allowed", detail="no"
    )
    await store.submit(msgspec.structs.replace(admission, routed=(taken, declined)))

    found = await tally(redis_server)

    assert found.alerts == 1
    assert found.outcomes[SKIPPED, "not_allowed"] == 1


async def test_what_was_replayed_counts_once_as_what_it_is_now_and_was_sent_when_it_was_sent_first(
    store: FilledStore, redis_server: RedisServer
) -> None:
    alert = await store.admit()
    await store.reject()
    letters = DeadLetters(store.client, store.keys)
    [letter] = [letter async for page in letters.backwards() for letter in page]
    sent_at_ms = await newest_at_ms(store, event=b"SENDING")
    await letters.replay(letter.letter_id, max_age_ms=60_000)
    held, head = await store.take()
    intent = await store.begin(held, head, attempt=2)
    await store.client.hincrby(store.keys.order(intent.client_order_id), "signed_at", 5_000)

    found = await tally(redis_server)

    assert found.alerts == 1
    assert found.outcomes == {(InstructionState.ACTIVE, "replayed"): 1}
    assert found.orders == {OrderState.SENDING: 1}
    received_at_ms = codec.ALERT.decode(
        await store.client.hget(store.keys.alert(alert), "alert")
    ).received_at_ms
    assert found.sent_ms.largest == sent_at_ms - received_at_ms
    assert found.answered_ms.count == 0


async def test_the_time_until_an_operator_replayed_it_is_not_counted_as_ours(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit()
    await store.reject(with_order=False)
    letters = DeadLetters(store.client, store.keys)
    [letter] = [letter async for page in letters.backwards() for letter in page]
    await letters.replay(letter.letter_id, max_age_ms=60_000)
    await store.execute("100.5")

    found = await tally(redis_server)

    assert found.outcomes == {(EXECUTED, "filled"): 1}
    assert found.sent_ms.count == 0
    assert found.answered_ms.count == 1


async def test_posts_that_were_not_admitted_are_counted_by_their_answers(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit(sender_id="same")
    await store.admit(sender_id="same")
    await store.refuse("invalid_action", 422)
    await store.refuse("invalid_action", 422)
    await store.refuse(webhook="other")

    found = await tally(redis_server)

    assert found.duplicates == {"default": 1}
    assert found.refused == {
        ("default", 422, "invalid_action"): 2,
        ("other", 401, "unauthorized"): 1,
    }
    assert (await tally(redis_server, Asked(webhook="other"))).refused.total() == 1
    assert (await tally(redis_server, Asked(account="paper"))).refused.total() == 0


async def test_alerts_whose_records_are_gone_or_unreadable_are_told_and_not_passed_over(
    store: FilledStore, redis_server: RedisServer
) -> None:
    gone = await store.admit(accounts=("paper", "desk"))
    unreadable = await store.admit("BBB", accounts=("paper",))
    strange = await store.admit("CCC", accounts=("paper",))
    await store.admit("DDD")
    await store.client.delete(store.keys.alert(gone))
    await store.client.hset(store.keys.alert(unreadable), "alert", "{")
    await store.client.hset(store.keys.instruction(strange, AccountName("paper")), "state", "NEW")

    found = await tally(redis_server)

    assert (found.alerts, found.gone, found.unreadable) == (1, 1, 2)


async def test_a_journal_that_begins_within_the_period_is_told(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit()
    first = await newest_at_ms(store)

    assert (await report(redis_server, period=(first - 1, first + 1))).journal_begins_at_ms == {0: first}
    assert (await report(redis_server, period=(first, first + 1))).journal_begins_at_ms == {}


async def test_posts_that_were_pushed_out_are_told_and_those_that_never_were_are_not(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.refuse()
    assert (await report(redis_server)).posts_begin_at_ms == {}

    await store.refuse(raw="x" * (KEPT_BYTES * 95 // 100))

    found = await report(redis_server)
    assert list(found.posts_begin_at_ms) == [0]
    oldest = found.posts_begin_at_ms[0]
    assert (await report(redis_server, period=(oldest, oldest + 1))).posts_begin_at_ms == {}


async def test_nothing_that_came_in_is_an_empty_report(redis_server: RedisServer) -> None:
    found = await report(redis_server)

    assert (found.tally.alerts, found.tally.gone, found.journal_begins_at_ms) == (0, 0, {})


async def test_of_an_alert_on_several_shards_each_share_is_counted_and_the_alert_once(
    sharded: ShardedStore, redis_server: RedisServer
) -> None:
    await sharded.admit(accounts=("scalp", "main", "gamma"))
    await sharded.of("main").execute()
    await sharded.admit(accounts=("paper",))

    found = await tally(redis_server)

    assert (found.alerts, found.outcomes.total()) == (2, 4)
    assert found.orders == {OrderState.FILLED: 1}
    assert (await tally(redis_server, Asked(account="gamma"))).alerts == 1


async def test_an_owner_whose_accounts_all_decline_counts_the_alert_all_the_same(
    sharded: ShardedStore, redis_server: RedisServer
) -> None:
    whole = await sharded.of("scalp").admission(accounts=("scalp", "main"))
    declined, taken = whole.routed
    declined = msgspec.structs.replace(
        declined, market=Market(""), state="REJECTED", reason="unknown_symbol", detail="no"
    )
    await sharded.of("scalp").submit(msgspec.structs.replace(whole, routed=(declined,)))
    await sharded.of("main").submit(
        msgspec.structs.replace(whole, routed=(taken,), dedup_keys=("part",), is_part=True)
    )
    await sharded.of("main").reject()

    found = await tally(redis_server)

    assert found.alerts == 1
    assert found.outcomes == {(REJECTED, "unknown_symbol"): 1, (REJECTED, "venue_rejected"): 1}


async def test_a_report_says_what_it_is_of(store: FilledStore, redis_server: RedisServer) -> None:
    found = await report(redis_server, Asked(strategy="trend"), (5, 9))

    assert dataclasses.astuple(found)[:2] == (5, 9)
    assert (found.asked.strategy, found.shards, found.away) == ("trend", 1, {})
