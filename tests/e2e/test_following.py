"""Orders that rest at their venue, followed while workers die."""

from collections.abc import Callable
from decimal import Decimal

import orjson

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, VENUE_SECRET
from tests.support.eventually import eventually
from tests.support.stray_keys import assert_no_stray_keys
from tests.support.venue import Venue, signature

RECONCILED_OFTEN = {"accounts": {ACCOUNT: {"reconcile": {"every": "1s"}}}}


def limit_order(bridge: Bridge, quantity: str = "2") -> dict[str, str]:
    return bridge.alert(bascule=1, quantity=quantity, order_type="limit", limit_price="100")


async def trade_by_hand(venue: Venue) -> None:
    """Buy one at the venue past the bridge."""
    order = {
        "client_order_id": "by-hand",
        "symbol": "BTCUSDT",
        "side": "buy",
        "quantity": "1",
        "expires_at_ms": 9_999_999_999_999,
    }
    body = orjson.dumps(order)
    signed = {"X-Signature": signature(VENUE_SECRET.encode(), body)}
    status, _ = await http_client.post(f"{venue.url}/orders", body, headers=signed)
    assert status == 201


def events(bridge: Bridge, *wanted: str) -> list[tuple[str, str]]:
    """Return event and detail of the journal's entries of these kinds."""
    return [
        (fields["event"], fields["detail"])
        for _, fields in bridge.client.xrange("bascule:{s0}:journal")
        if fields["event"] in wanted
    ]


def has_journalled(bridge: Bridge, *wanted: tuple[str, str]) -> Callable[[], bool]:
    return lambda: events(bridge, *{event for event, _ in wanted}) == list(wanted)


async def rest(bridge: Bridge, venue: Venue) -> str:
    """Let an order rest; return its client order id."""
    status, _ = await bridge.post(limit_order(bridge))
    assert status == 200
    await bridge.wait_ended(1)
    assert bridge.state_counts() == {"EXECUTED": 1}
    [order] = bridge.orders().values()
    assert order["state"] == "ACCEPTED"
    [placed] = venue.ledger()
    return str(placed["client_order_id"])


async def test_a_resting_order_is_followed_to_its_end_by_whoever_is_alive_and_each_fill_counts_once(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=RECONCILED_OFTEN)
    order = await rest(bridge, venue)
    first, second = bridge.workers

    venue.fill(order, Decimal("0.5"), price=Decimal(99))
    await eventually(has_journalled(bridge, ("FILL", "0.5 at 99, 0.5 of 2")), 30)
    first.kill()
    venue.fill(order, Decimal("0.5"), price=Decimal(100))
    await eventually(lambda: len(events(bridge, "FILL")) == 2, 30)
    # In the middle of a look-up whose answer holds the last fill.
    venue.fill(order)
    venue.control(lookup_delay_ms=1_000)
    await eventually(lambda: venue.stats()["in_flight"], 30)
    second.kill()
    assert bridge.orders()[order]["state"] == "PARTIAL"
    venue.control(reset=True)
    first.start().wait_ready()
    await eventually(lambda: bridge.orders()[order]["state"] == "FILLED", 30)

    assert events(bridge, "FILL", "ORDER_FILLED") == [
        ("FILL", "0.5 at 99, 0.5 of 2"),
        ("FILL", "0.5 at 100, 1 of 2"),
        ("FILL", "1 at 100, 2 of 2"),
        ("ORDER_FILLED", ""),
    ]
    fills = bridge.client.xrange("bascule:{s0}:fills:" + ACCOUNT)
    assert sum(Decimal(fields["quantity"]) for _, fields in fills) == 2
    assert bridge.client.zcard("bascule:{s0}:following") == 0
    assert_no_stray_keys(bridge.client)


async def test_what_a_stranger_trades_on_the_account_is_told_and_our_own_fills_are_not(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, config=RECONCILED_OFTEN)
    order = await rest(bridge, venue)
    venue.fill(order)
    published = "bascule:{s0}:positions:" + ACCOUNT
    await eventually(lambda: '"quantity":"2"' in (bridge.client.hget(published, "BTCUSDT") or ""), 30)
    await eventually(lambda: bridge.client.hget("bascule:{s0}:reconciled:" + ACCOUNT, "BTCUSDT"), 30)
    await trade_by_hand(venue)
    await eventually(
        has_journalled(bridge, ("DRIFT", "expected 2, the venue says 3")), 30, message="the drift is told"
    )


async def test_an_order_that_rests_too_long_is_cancelled_at_its_venue(private_redis, venue, bridge_factory):
    bridge = bridge_factory(
        private_redis, venue=venue, workers=2, config={"accounts": {ACCOUNT: {"order_time_limit": "1s"}}}
    )
    order = await rest(bridge, venue)
    await eventually(lambda: bridge.orders()[order]["state"] == "CANCELED", 30)
    assert [change["status"] for change in venue.changes()] == ["canceled"]
    assert events(bridge, "ORDER_CANCELING", "ORDER_CANCELED", "FILL") == [
        ("ORDER_CANCELING", "it has rested for 1s"),
        ("ORDER_CANCELED", ""),
    ]
    assert_no_stray_keys(bridge.client)
