"""Many alerts at one instant: how soon the last of their orders reaches the venue."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import pytest

from tests.e2e.ledger import all_accepted, assert_never_twice, assert_nobody_reclaimed
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.http_client import Connection, send_on
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

ACCOUNTS = 7
SYMBOLS = 12
ALERTS = ACCOUNTS * SYMBOLS
ANSWER_MS = 800
SPREAD_MS = 50
ROUNDS = 6
"""At most. The machine has other work too: the best round tells what the bridge can do."""

LONG_ROUNDS = 3

BUSY_MS = 100
"""What that other work may add to a long round, which is hit by all of it in five seconds."""

BARE_ORDERS = 3

Post = tuple[str, Mapping[str, Any]]
"""Where to, and an alert."""


@pytest.fixture
def slow_venue() -> Iterator[Venue]:
    """A venue that takes the signatures of all accounts, whose secrets differ."""
    with Venue() as running:
        running.control(delay_ms=ANSWER_MS)
        yield running


async def post_at_once(posts: Sequence[Post]) -> list[str]:
    """Post every alert at the same moment, each down a connection of its own; return their ids."""
    connections = [await Connection.open(url) for url, _ in posts]
    bodies = [orjson.dumps(alert) for _, alert in posts]
    sending = [
        send_on(connection, url, body)
        for connection, (url, _), body in zip(connections, posts, bodies, strict=True)
    ]
    answers = [answer for answer, _ in await asyncio.gather(*sending)]
    for connection in connections:
        connection.close()
    return all_accepted(answers)


async def spread_ms(bridge: Bridge, venue: Venue, posts: Sequence[Post], timeout_s: float) -> float:
    """Post at one instant; return how long after the first order the last one arrived, by the venue's clock."""
    before = len(bridge.instructions())
    alert_ids = await post_at_once(posts)
    await bridge.wait_ended(before + len(posts), timeout_s)
    ours = [entry for entry in venue.ledger() if entry["alert_id"] in set(alert_ids)]
    assert_never_twice(ours)
    assert {entry["alert_id"] for entry in ours} == set(alert_ids)
    arrived_us = [int(entry["received_at_us"]) for entry in ours]
    return (max(arrived_us) - min(arrived_us)) / 1_000


async def best_of(
    rounds: int,
    measure: Callable[[], Awaitable[float]],
    bound_ms: float,
    record: Callable[[str, object], None],
) -> float:
    """Measure until a round keeps within the bound; return the best."""
    measured: list[float] = []
    while len(measured) < rounds and min(measured, default=bound_ms + 1) > bound_ms:
        measured.append(await measure())
    record("measured_ms", measured)
    print(f"last order after the first, ms: {measured}, bound {bound_ms:.0f}")
    return min(measured)


def seven_accounts(venue: Venue) -> tuple[dict[str, Any], dict[str, str]]:
    """Return configuration and environment: accounts of one venue, each with a webhook and a secret of its own."""
    names = [f"desk-{number}" for number in range(1, ACCOUNTS + 1)]
    variable = {name: f"DESK_{number}" for number, name in enumerate(names, 1)}
    config = {
        "accounts": {
            ACCOUNT: None,
            **{
                name: {
                    "broker": "http",
                    "default_quantity": 1,
                    "url": f"{venue.url}/{name}",
                    "secret": f"{variable[name]}_SECRET",
                }
                for name in names
            },
        },
        "webhooks": {
            "default": {"accounts": names[:1]},
            **{
                name: {
                    "accounts": [name],
                    "secret": "WEBHOOK_SECRET",
                    "token": f"{variable[name]}_TOKEN",
                    "rate": "off",
                }
                for name in names
            },
        },
    }
    environment = {f"{of}_SECRET": f"the-signing-secret-of-{name}" for name, of in variable.items()}
    environment |= {f"{of}_TOKEN": f"the-token-in-the-url-of-{name}" for name, of in variable.items()}
    return config, environment


@pytest.mark.alone
async def test_eighty_four_alerts_at_one_instant_on_as_many_lanes_are_all_sent_within_fifty_milliseconds(
    private_redis: RedisServer,
    slow_venue: Venue,
    bridge_factory: Callable[..., Bridge],
    record_property: Callable[[str, object], None],
) -> None:
    config, environment = seven_accounts(slow_venue)
    bridge = bridge_factory(
        private_redis, venue=slow_venue, workers=3, config=config, environment=environment
    )
    hooks = [f"{bridge.ingresses[0].url}/hooks/the-token-in-the-url-of-desk-{n + 1}" for n in range(ACCOUNTS)]

    async def measure() -> float:
        posts = [(hook, bridge.alert(symbol=f"S{n}")) for hook in hooks for n in range(SYMBOLS)]
        return await spread_ms(bridge, slow_venue, posts, 10)

    best_ms = await best_of(ROUNDS, measure, SPREAD_MS, record_property)

    places = Counter((entry["book"], entry["symbol"]) for entry in slow_venue.ledger())
    assert len(places) == ALERTS
    assert_nobody_reclaimed(bridge)
    assert best_ms <= SPREAD_MS


async def answer_ms(venue: Venue) -> float:
    """Return what an answer takes a client that does nothing else, with one order under way for each lane."""
    connections = [await Connection.open(venue.url) for _ in range(SYMBOLS)]

    async def trade(number: int, connection: Connection) -> None:
        for turn in range(BARE_ORDERS):
            order = {
                "client_order_id": f"bare-{number}-{turn}",
                "symbol": f"BARE{number}",
                "side": "buy",
                "quantity": "1",
                "expires_at_ms": 9_999_999_999_999,
            }
            answer, _ = await send_on(connection, f"{venue.url}/orders", orjson.dumps(order))
            assert answer.status == 201

    await asyncio.gather(*(trade(*pair) for pair in enumerate(connections)))
    for connection in connections:
        connection.close()
    arrived_us = [int(entry["received_at_us"]) for entry in venue.ledger()]
    return (max(arrived_us) - min(arrived_us)) / 1_000 / (BARE_ORDERS - 1)


@pytest.mark.alone
async def test_seven_alerts_on_each_of_twelve_lanes_take_no_longer_than_the_answers_of_the_venue(
    private_redis: RedisServer,
    slow_venue: Venue,
    bridge_factory: Callable[..., Bridge],
    record_property: Callable[[str, object], None],
) -> None:
    bare_ms = await answer_ms(slow_venue)
    assert bare_ms >= ANSWER_MS
    bound_ms = (ACCOUNTS - 1) * bare_ms + SPREAD_MS
    bridge = bridge_factory(private_redis, venue=slow_venue, workers=3)
    [hook] = bridge.webhook_urls

    async def measure() -> float:
        posts = [(hook, bridge.alert(symbol=f"S{n % SYMBOLS}")) for n in range(ALERTS)]
        return await spread_ms(bridge, slow_venue, posts, 30)

    best_ms = await best_of(LONG_ROUNDS, measure, bound_ms, record_property)

    assert_nobody_reclaimed(bridge)
    assert best_ms <= bound_ms + BUSY_MS


@pytest.mark.alone
async def test_lanes_by_strategy_send_seven_strategies_of_twelve_symbols_within_fifty_milliseconds(
    private_redis: RedisServer,
    slow_venue: Venue,
    bridge_factory: Callable[..., Bridge],
    record_property: Callable[[str, object], None],
) -> None:
    config = {"accounts": {ACCOUNT: {"lane_by": "strategy"}}}
    bridge = bridge_factory(private_redis, venue=slow_venue, workers=3, config=config)
    [hook] = bridge.webhook_urls

    async def measure() -> float:
        posts = [
            (hook, bridge.alert(symbol=f"S{n % SYMBOLS}", bascule=1, strategy=f"strategy-{n // SYMBOLS}"))
            for n in range(ALERTS)
        ]
        return await spread_ms(bridge, slow_venue, posts, 10)

    best_ms = await best_of(ROUNDS, measure, SPREAD_MS, record_property)

    places = Counter((entry["strategy"], entry["symbol"]) for entry in slow_venue.ledger())
    assert len(places) == ALERTS
    assert_nobody_reclaimed(bridge)
    assert best_ms <= SPREAD_MS
