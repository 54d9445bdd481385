import asyncio
import itertools

import orjson
import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.halts import Effect, Halt, HaltMode, Scope, find_stop
from libs.common.store.scripts import Script
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

SCOPE = "account=desk;strategy=*;symbol=*"
EVERYTHING = "account=*;strategy=*;symbol=*"
DONE, CHANGED = b"DONE", b"CHANGED"


async def set_(
    rig: Rig, mode: str = "pause", scope: str = SCOPE, account: str = "desk", why: str = "news"
) -> list[bytes]:
    return await rig.run("halt", [rig.keys.halts], ["SET", scope, account, "me@host", why, mode])


async def lift(rig: Rig, seen: bytes, scope: str = SCOPE) -> list[bytes]:
    return await rig.run("halt", [rig.keys.halts], ["LIFT", scope, "desk", "me@host", "over", seen])


def table(rig: Rig) -> dict[str, str]:
    return rig.redis.hgetall(rig.keys.halts)


async def test_a_halt_is_set_and_lifted(rig: Rig):
    [word, record] = await set_(rig)
    assert (word, record) == (DONE, f"pause|{START_MS}|me@host|news".encode())
    assert table(rig) == {SCOPE: record.decode()}
    assert await lift(rig, record) == [DONE, record]
    assert table(rig) == {}


async def test_a_halt_takes_the_place_of_that_of_its_scope_and_of_no_other(rig: Rig):
    await set_(rig, "pause", EVERYTHING, "")
    await set_(rig, "pause")
    rig.now_ms += 5
    await set_(rig, "reject")
    assert table(rig) == {
        EVERYTHING: f"pause|{START_MS}|me@host|news",
        SCOPE: f"reject|{START_MS + 5}|me@host|news",
    }


async def test_the_same_halt_again_stays_as_it_was_first_set(rig: Rig):
    first = await set_(rig)
    rig.now_ms += 60_000
    with rig.nothing_written():
        assert await set_(rig) == first


async def test_a_halt_that_is_not_as_it_was_seen_is_not_lifted(rig: Rig):
    [_, seen] = await set_(rig)
    await set_(rig, "reject")
    with rig.nothing_written():
        assert await lift(rig, seen) == [CHANGED]


async def test_every_change_is_in_the_journal_once_with_who_and_why(rig: Rig):
    [_, seen] = await set_(rig, why="bad fills")
    await set_(rig, why="bad fills")
    await lift(rig, seen)
    await lift(rig, seen)
    entries = [fields for _, fields in rig.redis.xrange(rig.keys.journal)]
    assert [(one["event"], one["reason"], one["account"], one["lane"], one["detail"]) for one in entries] == [
        ("HALT", "pause", "desk", SCOPE, "bad fills (by me@host)"),
        ("RESUME", "pause", "desk", SCOPE, "over (by me@host)"),
    ]
    assert orjson.loads(entries[0]["note"]) == {
        "scope": SCOPE,
        "mode": "pause",
        "by": "me@host",
        "reason": "bad fills",
    }
    assert orjson.loads(entries[1]["note"])["halt"] == seen.decode()


async def test_re_sent_after_a_lost_reply_it_is_set_and_lifted_once(rig: Rig):
    [word, record] = await rig.lose_reply("halt", lambda: set_(rig))
    assert word == DONE
    assert await rig.lose_reply("halt", lambda: lift(rig, record)) == [DONE, record]
    assert [event for event, _ in rig.journal()] == ["HALT", "RESUME"]


async def test_of_two_who_lift_and_one_who_sets_the_one_who_sets_wins(rig: Rig):
    [_, seen] = await set_(rig)
    answers = await asyncio.gather(set_(rig, "reject"), lift(rig, seen), lift(rig, seen))
    assert answers[0][0] == DONE
    assert table(rig)[SCOPE].startswith("reject|")


async def test_at_the_memory_limit_trading_is_stopped_all_the_same(rig: Rig):
    with rig.memory_limit_reached():
        [_, record] = await set_(rig)
        assert table(rig) == {SCOPE: record.decode()}
        await lift(rig, record)
    assert table(rig) == {}


async def test_in_the_place_of_a_table_there_is_something_else_and_nothing_is_written(rig: Rig):
    rig.spoil(rig.keys.halts)
    with rig.nothing_written():
        with pytest.raises(StoreCorrupt):
            await set_(rig)
        with pytest.raises(StoreCorrupt):
            await lift(rig, b"pause|1|me|x")


# What workers make of it, held against the policy.

DESK, BTC, TREND = AccountName("desk"), Market("BTC"), "Trend; a=b"
SCOPES = [Scope(a, s, m) for a in (None, DESK) for s in (None, TREND) for m in (None, BTC)]
OTHERS = [Scope(AccountName("fund")), Scope(strategy="other"), Scope(symbol=Market("ETH"))]


async def stopped(rig: Rig, strategy: str, *, is_exit: bool) -> list[str]:
    source = Script("halt").source.partition("-- halt: ")[0]
    call = f"return {{halted(ARGV[2], ARGV[3], ARGV[4], {'true' if is_exit else 'false'})}}"
    answer = await rig.client.eval(
        source + call, len(rig.keys.fixed), *rig.keys.fixed, str(rig.now_ms), DESK, strategy, BTC
    )
    return [word.decode() for word in answer]


@pytest.mark.parametrize("is_exit", [False, True])
@pytest.mark.parametrize(
    "scopes", [*itertools.combinations([*SCOPES, OTHERS[0]], 2), tuple(OTHERS), ()], ids=str
)
async def test_workers_obey_halts_as_the_policy_says(rig: Rig, scopes: tuple[Scope, ...], is_exit: bool):
    for modes in itertools.product(HaltMode, repeat=min(len(scopes), 2)):
        rig.redis.delete(rig.keys.halts)
        halts = [
            Halt(scope, mode, 1, "me", "why | so")
            for scope, mode in zip(scopes, [*modes, HaltMode.REJECT], strict=False)
        ]
        for one in halts:
            await set_(rig, one.mode, one.scope.encode(), "", one.reason)
        stop = find_stop(halts, account=DESK, strategy=TREND, symbol=BTC, is_exit=is_exit)
        word = {None: [], Effect.REFUSED: ["reject"], Effect.PUT_OFF: ["pause"]}[
            None if stop is None else stop.effect
        ]
        answer = await stopped(rig, TREND, is_exit=is_exit)
        assert answer[:1] == word
        assert all("why | so" in words for words in answer[1:])
