"""A halt under load, and what it lets through."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from tests.e2e.commands import bascule, run
from tests.e2e.faults import wait_orders
from tests.e2e.ledger import all_accepted, assert_clean, assert_executed_once, assert_never_twice
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

SYMBOLS = 20
RATE_PER_S = 60
OBEYED_MS = 1_000
RESUMED_MS = 3_000
LATE_MS = 1_000
"""What a busy machine may add to a time that is no promise to the millisecond."""


@asynccontextmanager
async def load(bridge: Bridge) -> AsyncIterator[list[Answer]]:
    """Post alerts on many symbols at a steady pace while the block runs; yields the answers as they come."""
    answers: list[Answer] = []
    is_over = asyncio.Event()

    async def send() -> None:
        while not is_over.is_set():
            alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(SYMBOLS)]
            answers.extend(await bridge.send_many(alerts, SYMBOLS, rate_per_s=RATE_PER_S))

    sending = asyncio.create_task(send())
    try:
        yield answers
    finally:
        # To the end of a round: an alert whose answer nobody read could not be told from one that traded by mistake.
        is_over.set()
        await sending


def arrivals_ms(venue: Venue) -> list[int]:
    return [entry["received_at_ms"] for entry in venue.ledger()]


async def taken(answers: list[Answer], count: int) -> None:
    """Wait until so many more alerts were taken."""
    wanted = len(answers) + count
    await eventually(lambda: len(answers) >= wanted, 30, message=f"{count} more alerts are taken")


@pytest.mark.parametrize("mode", ["reject", "pause"])
@pytest.mark.alone
async def test_a_second_after_a_halt_returns_no_worker_sends_and_after_a_resume_all_go_on(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], mode: str
) -> None:
    bridge = bridge_factory(private_redis, venue=venue, workers=3)
    venue.control(delay_ms=30)

    async with load(bridge) as answers:
        await wait_orders(venue, 60)
        halted_at_ms = (await run(bridge, "halt", "--mode", mode, "--reason", "drill")).ended_at_ms
        # While three seconds of alerts come in, which nobody may send.
        await taken(answers, 3 * RATE_PER_S)
        halted = arrivals_ms(venue)
        resumed_at_ms = (await run(bridge, "resume")).ended_at_ms
        await taken(answers, 2 * RATE_PER_S)
    alert_ids = all_accepted(answers)
    states = await bridge.wait_ended(len(alert_ids))

    late = [at_ms - halted_at_ms for at_ms in halted if at_ms > halted_at_ms + OBEYED_MS]
    assert not late, f"sent so long after the halt, ms: {late}"
    after = [entry for entry in venue.ledger() if entry["received_at_ms"] > resumed_at_ms]
    assert {entry["symbol"] for entry in after} == {f"S{number}" for number in range(SYMBOLS)}
    first: dict[str, int] = {}
    for entry in after:
        first.setdefault(entry["symbol"], entry["received_at_ms"] - resumed_at_ms)
    print(
        f"{mode}: last order {max(halted) - halted_at_ms} ms after the halt, first after the resume: {first}"
    )
    assert max(first.values()) <= RESUMED_MS + LATE_MS
    ended = bridge.instructions()
    executed = [one for one in alert_ids if ended[f"{one}:{ACCOUNT}"]["state"] == "EXECUTED"]
    assert_executed_once(bridge, venue, executed)
    if mode == "pause":
        assert states == {"EXECUTED": len(alert_ids)}
    else:
        reasons = Counter(one["reason"] for one in ended.values() if one["state"] == "REJECTED")
        assert reasons == {"halted": states["REJECTED"]}
        assert states["REJECTED"] >= RATE_PER_S
    await assert_clean(bridge)


async def test_close_only_lets_out_and_nobody_in(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(private_redis, venue=venue, workers=3)
    symbols = [f"S{number}" for number in range(6)]
    all_accepted(await bridge.send_many([bridge.alert(symbol=one) for one in symbols]))
    await bridge.wait_ended(6)

    await run(bridge, "halt", "--account", ACCOUNT, "--mode", "close-only", "--reason", "enough")
    entries = all_accepted(await bridge.send_many([bridge.alert(symbol=one) for one in symbols]))
    exits = all_accepted(
        await bridge.send_many([bridge.alert(one, "close_long", bascule=1) for one in symbols])
    )
    await bridge.wait_ended(18)

    states = bridge.instruction_states()
    assert {states[f"{one}:{ACCOUNT}"] for one in entries} == {"REJECTED"}
    assert_executed_once(bridge, venue, exits)
    assert {(entry["side"], entry["reduce_only"]) for entry in venue.ledger()[6:]} == {("sell", True)}
    assert positions(venue) == dict.fromkeys(symbols, Decimal(0))


async def test_flatten_closes_every_position_and_cancels_what_rests(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(private_redis, venue=venue, workers=3)
    opened = [
        bridge.alert("LONG", "buy", bascule=1, quantity="3"),
        bridge.alert("SHORT", "sell", bascule=1, quantity="0.5"),
        bridge.alert("LONG", "buy", bascule=1, quantity="2", order_type="limit", limit_price="90"),
        bridge.alert("RESTS", "sell", bascule=1, quantity="1", order_type="limit", limit_price="110"),
    ]
    all_accepted(await bridge.send_many(opened))
    await bridge.wait_ended(len(opened))
    assert positions(venue) == {"LONG": Decimal(3), "SHORT": Decimal("-0.5"), "RESTS": Decimal(0)}

    refused = await bascule(bridge, "flatten", ACCOUNT)
    assert refused.code != 0
    assert len(venue.ledger()) == len(opened)
    outcome = await run(bridge, "flatten", ACCOUNT, "--yes", "--json")

    assert {one["state"] for one in outcome.data["instructions"]} <= {"EXECUTED", "SKIPPED"}
    assert set(positions(venue).values()) == {Decimal(0)}
    cancelled = [change["client_order_id"] for change in venue.changes() if change["status"] == "canceled"]
    resting = [entry["client_order_id"] for entry in venue.ledger() if entry["type"] == "limit"]
    assert sorted(cancelled) == sorted(resting)
    closes = venue.ledger()[len(opened) :]
    assert {(one["symbol"], one["side"], one["quantity"]) for one in closes} == {
        ("LONG", "sell", "3"),
        ("SHORT", "buy", "0.5"),
    }
    assert_never_twice(venue.ledger())


def positions(venue: Venue) -> dict[str, Decimal]:
    """Return the net filled quantity of every symbol, from the ledger alone: what rests counts for nothing."""
    found: dict[str, Decimal] = {}
    for entry in venue.ledger():
        quantity = Decimal(entry["answer"]["filled_quantity"])
        signed = quantity if entry["side"] == "buy" else -quantity
        found[entry["symbol"]] = found.get(entry["symbol"], Decimal(0)) + signed
    return found
