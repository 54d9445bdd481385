"""Flips and target positions, whose two orders must trade once each and in order whenever their worker dies."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.ids import AccountName, AlertId, client_order_id
from tests.e2e.ledger import PREFIX, all_accepted, assert_clean
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

HELD_UP_MS = 400
"""How long the venue takes where a worker is to die meanwhile: less than a request's expiry, more than a look."""

TOO_LATE_MS = 1_500
"""The same, but the request has expired by then."""

CONFIG: Mapping[str, Any] = {
    "worker": {"lease": "2s"},
    "accounts": {
        ACCOUNT: {
            "request_expiry": "1s",
            "look_up_lag": "200ms",
            # Orders of one market leave 200 ms apart, which is waited for in place: between two legs there is time.
            "limits": {"symbol": {"rate": "5/s", "burst": 1}},
        }
    },
    "webhooks": {"default": {"max_age": "600s"}},
}


@dataclass(frozen=True)
class Goal:
    """An alert for a market in which something is open, and the two orders that it comes to."""

    action: str
    position: str
    quantity: str
    orders: tuple[tuple[str, str, bool], ...]
    """Side, quantity, and whether it only reduces."""
    ends_at: str
    opened: str = "3"
    """What was bought before; negative: sold."""


GOALS: Mapping[str, Goal] = {
    "FLIP-SHORT": Goal("flip", "short", "2", (("sell", "3", True), ("sell", "2", False)), "-2"),
    "FLIP-LONG": Goal("flip", "long", "1.5", (("buy", "0.5", True), ("buy", "1.5", False)), "1.5", "-0.5"),
    "TARGET-SHORT": Goal("target", "short", "4", (("sell", "3", True), ("sell", "4", False)), "-4"),
}


@dataclass(frozen=True)
class Orders:
    """How far an alert's two orders have come, by Redis and by the venue."""

    states: tuple[str, str]
    """Empty: not begun."""
    executed: tuple[bool, bool]


@dataclass(frozen=True)
class Moment:
    """When a worker dies."""

    has_come: Callable[[Orders], bool]
    faults: Mapping[str, float] = field(default_factory=dict)
    """How the venue makes that moment last."""
    is_unheard: bool = False
    """Whether Redis hears of nothing from when the moment has come: the worker gets its answer and cannot note it."""


MOMENTS: Mapping[str, Moment] = {
    "while-the-venue-is-asked": Moment(lambda at: at.states == ("", ""), {"facts_delay_ms": HELD_UP_MS}),
    "sending-the-first": Moment(
        lambda at: at.states[0] == "SENDING" and not at.executed[0], {"delay_before_ms": HELD_UP_MS}
    ),
    "sending-the-first-which-expires": Moment(
        lambda at: at.states[0] == "SENDING", {"delay_before_ms": TOO_LATE_MS}
    ),
    "the-first-executed-and-not-answered": Moment(lambda at: at.executed[0], {"delay_ms": HELD_UP_MS}),
    "the-first-answered-and-not-noted": Moment(
        lambda at: at.executed[0], {"delay_ms": HELD_UP_MS}, is_unheard=True
    ),
    "between-the-two": Moment(lambda at: at.states == ("FILLED", "")),
    "sending-the-second": Moment(
        lambda at: at.states[1] == "SENDING" and not at.executed[1], {"delay_before_ms": HELD_UP_MS}
    ),
    "the-second-executed-and-not-answered": Moment(lambda at: at.executed[1], {"delay_ms": HELD_UP_MS}),
    "the-second-answered-and-not-settled": Moment(
        lambda at: at.executed[1], {"delay_ms": HELD_UP_MS}, is_unheard=True
    ),
}


@pytest.fixture
def proxy(private_redis: RedisServer) -> Iterator[Proxy]:
    with Proxy(private_redis.url) as running:
        yield running


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_whenever_its_worker_dies_each_order_of_a_goal_trades_once_and_the_position_is_right(
    private_redis: RedisServer,
    proxy: Proxy,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    moment: Moment,
) -> None:
    bridge = bridge_factory(proxy, server=private_redis, venue=venue, workers=2, config=CONFIG)
    await open_positions(bridge)
    before = len(venue.ledger())
    asked = venue.stats()["positions"]
    venue.control(**moment.faults)
    alerts = [
        bridge.alert(market, goal.action, bascule=1, position=goal.position, quantity=goal.quantity)
        for market, goal in GOALS.items()
    ]

    sent = dict(zip(GOALS, all_accepted(await bridge.send_many(alerts)), strict=True))
    await eventually(lambda: venue.stats()["positions"] >= asked + len(GOALS), 20, 0.002)
    await eventually(lambda: markets_at(bridge, venue, sent, moment), 20, 0.002, "the moment comes")
    if moment.is_unheard:
        proxy.black_hole()
        await eventually(lambda: venue.stats()["in_flight"] == 0)
    for worker in bridge.workers:
        worker.kill()
    assert markets_at(bridge, venue, sent, moment), "it passed before the workers were dead"
    proxy.reset_connections()
    proxy.pass_through()
    venue.control(reset=True)
    for worker in bridge.workers:
        worker.start()
    states = await bridge.wait_ended(2 * len(GOALS))

    assert states == {"EXECUTED": 2 * len(GOALS)}
    assert trades(venue.ledger()[before:]) == {
        sent[market]: [(order_id(sent[market], leg), market, *order) for leg, order in enumerate(goal.orders)]
        for market, goal in GOALS.items()
    }
    assert positions(venue) == {market: Decimal(goal.ends_at) for market, goal in GOALS.items()}
    assert not bridge.dead_letters()
    await assert_clean(bridge)


async def open_positions(bridge: Bridge) -> None:
    """Trade what is open before."""
    alerts = [
        bridge.alert(
            market,
            "sell" if goal.opened.startswith("-") else "buy",
            bascule=1,
            quantity=goal.opened.lstrip("-"),
        )
        for market, goal in GOALS.items()
    ]
    all_accepted(await bridge.send_many(alerts))
    await bridge.wait_ended(len(GOALS))


def order_id(alert_id: str, leg: int) -> str:
    return client_order_id(AccountName(ACCOUNT), AlertId(alert_id), leg)


def markets_at(bridge: Bridge, venue: Venue, sent: Mapping[str, str], moment: Moment) -> list[str]:
    """Return the markets whose alert is where its worker is to die."""
    executed = {entry["client_order_id"] for entry in venue.ledger()}
    found = []
    for market, alert_id in sent.items():
        ids = order_id(alert_id, 0), order_id(alert_id, 1)
        first, second = (bridge.client.hget(f"{PREFIX}order:{one}", "state") or "" for one in ids)
        if moment.has_come(Orders((first, second), (ids[0] in executed, ids[1] in executed))):
            found.append(market)
    return found


def trades(ledger: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the venue executed for each alert, in order."""
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for entry in ledger:
        order = (
            entry["client_order_id"],
            entry["symbol"],
            entry["side"],
            entry["quantity"],
            entry["reduce_only"],
        )
        found[entry["alert_id"]].append(order)
    return dict(found)


def positions(venue: Venue) -> dict[str, Decimal]:
    """Return what is open at the venue, by its ledger."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for entry in venue.ledger():
        quantity = Decimal(entry["quantity"])
        found[entry["symbol"]] += quantity if entry["side"] == "buy" else -quantity
    return dict(found)
