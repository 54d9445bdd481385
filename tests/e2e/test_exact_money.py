"""Quantities and prices of eighteen digits, from the body of an alert to the wire of a venue."""

import json
from collections.abc import Callable

from tests.e2e.ledger import all_accepted
from tests.support.bridge import Bridge
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

NUMBERS = [
    "123456789.123456789",
    "0.123456789012345678",
    "123456789012345.678",
    "987654321098765432",
    "0.000000000000000001",
    "100000000000000000.1",
    "0.3",
]
"""None of them is what a float of it would be."""


async def test_eighteen_digits_reach_the_venue_as_they_were_sent_whether_as_strings_or_as_numbers(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(private_redis, venue=venue)
    bodies: list[bytes] = []
    wanted: dict[str, tuple[str, str, str]] = {}
    for number, quantity in enumerate(NUMBERS):
        limit, stop = NUMBERS[number - 1], NUMBERS[number - 2]
        for kind, quote in (("TEXT", '"'), ("NUMBER", "")):
            symbol = f"{kind}{number}"
            alert = bridge.alert(symbol, "buy", bascule=1, order_type="stop_limit")
            fields = {"quantity": quantity, "limit_price": limit, "stop_price": stop}
            money = ",".join(f'"{name}":{quote}{value}{quote}' for name, value in fields.items())
            bodies.append(f"{json.dumps(alert)[:-1]},{money}}}".encode())
            wanted[symbol] = (quantity, limit, stop)

    all_accepted(await bridge.send_many(bodies, in_order=False))
    await bridge.wait_ended(len(bodies))

    ledger = venue.ledger()
    sent = {one["symbol"]: (one["quantity"], one["limit_price"], one["stop_price"]) for one in ledger}
    assert sent == wanted
    assert len(ledger) == len(bodies)


async def test_what_is_open_to_eighteen_digits_is_closed_to_the_last_of_them(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(private_redis, venue=venue)
    bought = ["123456789.123456789", "0.000000000000000001", "0.1"]
    alerts = [bridge.alert(action="buy", bascule=1, quantity=quantity) for quantity in bought]
    all_accepted(await bridge.send_many([*alerts, bridge.alert(action="close_long", bascule=1)]))
    await bridge.wait_ended(4)

    *opened, closed = venue.ledger()
    assert [one["quantity"] for one in opened] == bought
    assert (closed["side"], closed["quantity"]) == ("sell", "123456789.223456789000000001")
