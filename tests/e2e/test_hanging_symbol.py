"""A venue that hangs for one symbol: what the others feel of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.ledger import all_accepted, assert_never_twice
from tests.support.processes import ACCOUNT, Bridge
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

OTHERS = 25
EACH = 8
RATE_PER_S = 100
ANSWER_MS = 150
"""Of the healthy symbols: with a venue that answers at once, the machine's own noise is all there would be to see."""

HANGING = "HANGS"
HANGING_MS = 60_000
MOST_SLOWER = 1.2
ROUNDS = 3


@dataclass(frozen=True)
class Round:
    """How long alerts took from their queueing to their end, 99 of 100, ms."""

    alone_ms: int
    beside_ms: int

    @property
    def ratio(self) -> float:
        return self.beside_ms / self.alone_ms


async def test_a_symbol_whose_broker_hangs_adds_less_than_a_fifth_to_the_slowest_of_the_others(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    record_property: Callable[[str, object], None],
) -> None:
    # Answers of the hanging symbol never come, and its look-ups neither: every worker meets it again and again.
    config = {"accounts": {ACCOUNT: {"timeout": "500ms", "request_expiry": "500ms"}}}
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=config)
    venue.control(delay_ms=ANSWER_MS)
    await p99_ms(bridge)
    rounds: list[Round] = []

    while len(rounds) < ROUNDS and not any(one.ratio < MOST_SLOWER for one in rounds):
        venue.control(symbols={HANGING: {"delay_ms": 0, "lookup_delay_ms": 0}})
        await bridge.wait_ended(len(bridge.instructions()))
        alone_ms = await p99_ms(bridge)
        venue.control(symbols={HANGING: {"delay_ms": HANGING_MS, "lookup_delay_ms": HANGING_MS}})
        before = venue.stats()["received"]
        all_accepted(await bridge.send_many([bridge.alert(symbol=HANGING) for _ in range(20)], 4))
        rounds.append(Round(alone_ms, await p99_ms(bridge)))
        assert venue.stats()["received"] - before > OTHERS * EACH, "nothing hung"

    record_property("rounds", rounds)
    print(f"p99 of the others: {rounds}")
    assert_never_twice(venue.ledger())
    assert min(one.ratio for one in rounds) < MOST_SLOWER, rounds


async def p99_ms(bridge: Bridge) -> int:
    """Send alerts of the other symbols at a steady pace; return how long 99 of 100 took at most, ms."""
    alerts = [bridge.alert(symbol=f"S{number % OTHERS}") for number in range(OTHERS * EACH)]
    alert_ids = all_accepted(await bridge.send_many(alerts, OTHERS, rate_per_s=RATE_PER_S))
    took_ms = await asyncio.to_thread(_times_ms, bridge, alert_ids)
    return took_ms[len(took_ms) * 99 // 100 - 1]
