from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.support import http_client
from tests.support.http_client import NO_ANSWER, Answer
from tests.support.venue import Venue
from tests.unit.tests_support.test_venue import find, order, place

BTC = "BTCUSDT"


@pytest.fixture(scope="module")
def kept_venue() -> Iterator[Venue]:
    """A venue that checks no signatures; each test has a book of its own."""
    with Venue() as venue:
        yield venue


@pytest.fixture
def open_venue(kept_venue: Venue) -> Iterator[Venue]:
    kept_venue.control(reset=True)
    kept_venue.tell()
    yield kept_venue
    # What still rests would be executed by the next test's prices.
    kept_venue.price(BTC, Decimal(0))
    kept_venue.price(BTC, Decimal(10**9))


async def get(venue: Venue, path: str) -> Answer:
    return await http_client.get(f"{venue.url}{path}")


async def delete(venue: Venue, *order_ids: str, symbol: str = BTC) -> Answer:
    query = urlencode([("symbol", symbol), *(("order_id", each) for each in order_ids)])
    answer, connection = await http_client.send_on(None, f"{venue.url}/orders?{query}", b"", method="DELETE")
    if connection is not None:
        connection.close()
    return answer


async def resting(venue: Venue, symbol: str = BTC) -> list[str]:
    status, listed = await get(venue, f"/orders?symbol={quote(symbol)}")
    assert status == 200
    return [entry["client_order_id"] for entry in listed]


async def state_of(venue: Venue, client_order_id: str) -> tuple[str, str, str | None]:
    status, body = await find(venue, client_order_id)
    assert status == 200
    return body["status"], body["filled_quantity"], body["average_price"]


PRICED = [
    # side, limit, stop, prices on the way, price that executes it, executed at
    ("buy", "90", None, ["91", "90.01"], "90", "90"),
    ("buy", "90", None, ["91"], "80", "90"),
    ("sell", "110", None, ["109"], "110", "110"),
    ("buy", None, "110", ["100", "109.99"], "111", "111"),
    ("sell", None, "90", ["100"], "89", "89"),
    ("buy", "112", "110", ["100", "113"], "111", "112"),
    ("sell", "88", "90", ["100", "87"], "89", "88"),
]


@pytest.mark.parametrize(("side", "limit", "stop", "before", "then", "at"), PRICED)
async def test_an_order_rests_until_the_price_is_there(
    open_venue: Venue, side: str, limit: str | None, stop: str | None, before: list[str], then: str, at: str
):
    kind = "stop_limit" if limit and stop else "limit" if limit else "stop"
    await place(open_venue, order("c-1", side=side, type=kind, limit_price=limit, stop_price=stop))
    for price in before:
        open_venue.price(BTC, Decimal(price))
        assert await resting(open_venue) == ["c-1"]
    open_venue.price(BTC, Decimal(then))
    assert await resting(open_venue) == []
    assert await state_of(open_venue, "c-1") == ("filled", "1.5", at)


async def test_the_price_of_another_market_executes_nothing(open_venue: Venue):
    await place(open_venue, order(type="limit", limit_price="90"))
    open_venue.price("ETHUSDT", Decimal(1))
    assert await resting(open_venue) == ["c-1"]


async def test_an_order_is_filled_in_parts_and_its_average_is_theirs(open_venue: Venue):
    await place(open_venue, order("c-1", quantity="4", type="limit", limit_price="90"))
    open_venue.fill("c-1", Decimal(1))
    assert await state_of(open_venue, "c-1") == ("partial", "1", "90")
    open_venue.fill("c-1", Decimal(1), price=Decimal(80))
    assert await state_of(open_venue, "c-1") == ("partial", "2", "85")
    open_venue.fill("c-1")
    assert (await state_of(open_venue, "c-1"))[:2] == ("filled", "4")
    assert [change["quantity"] for change in open_venue.changes()[-3:]] == ["1", "1", "2"]


async def test_an_order_may_end_without_our_doing(open_venue: Venue):
    await place(open_venue, order("c-1", type="limit", limit_price="90"))
    open_venue.end("c-1", "expired")
    assert await resting(open_venue) == []
    assert (await state_of(open_venue, "c-1"))[0] == "expired"
    with pytest.raises(AssertionError, match="no such resting order"):
        open_venue.fill("c-1")


async def test_a_cancellation_takes_what_it_names_in_its_market_and_book(open_venue: Venue):
    placed = [
        await place(open_venue, order(f"c-{number}", type="limit", limit_price="90")) for number in (1, 2)
    ]
    other = await http_client.post(f"{open_venue.url}/b/orders", order("c-3", type="limit", limit_price="90"))
    ids = [answer.body["order_id"] for answer in placed]
    assert (await delete(open_venue, ids[0], symbol="ETHUSDT")).body == {"cancelled": []}
    assert (await delete(open_venue, ids[0], other.body["order_id"], "none")).body == {"cancelled": ids[:1]}
    assert (await delete(open_venue, ids[0])).body == {"cancelled": []}
    assert await resting(open_venue) == ["c-2"]
    assert [entry["client_order_id"] for entry in (await get(open_venue, "/b/orders")).body] == ["c-3"]


async def test_a_cancellation_that_names_nothing_is_refused(open_venue: Venue):
    await place(open_venue, order(type="limit", limit_price="90"))
    assert (await delete(open_venue)).status == 400
    assert await resting(open_venue) == ["c-1"]


@pytest.mark.parametrize(
    ("faults", "status", "is_cancelled"),
    [
        ({"cancel_status": 503}, 503, False),
        ({"cancel_status": 500, "cancel_executes": True}, 500, True),
        ({"cancel_drop": 1.0}, NO_ANSWER, True),
    ],
)
async def test_a_cancellation_fails_as_it_was_asked_to(
    open_venue: Venue, faults: dict[str, Any], status: int, is_cancelled: bool
):
    placed = await place(open_venue, order(type="limit", limit_price="90"))
    open_venue.control(**faults)
    assert (await delete(open_venue, placed.body["order_id"])).status == status
    assert (await resting(open_venue) == []) == is_cancelled


@pytest.mark.parametrize("path", ["/account", "/instruments", f"/instruments/{BTC}", "/prices/NEVER"])
async def test_what_it_was_not_told_it_does_not_tell(open_venue: Venue, path: str):
    assert (await get(open_venue, path)).status == 404


async def test_it_tells_what_it_was_told(open_venue: Venue):
    account, steps = {"equity": "7", "currency": "USD"}, {"quantity_step": "0.1"}
    open_venue.tell(account=account, instruments={BTC: steps})
    open_venue.price(BTC, Decimal("101.50"))
    assert (await get(open_venue, "/account")).body == account
    assert (await get(open_venue, "/instruments")).body == {"symbols": [BTC]}
    assert (await get(open_venue, f"/instruments/{BTC}")).body == steps
    assert (await get(open_venue, f"/prices/{BTC}")).body == {"price": "101.50"}


async def test_facts_fail_as_they_were_asked_to(open_venue: Venue):
    open_venue.control(symbols={BTC: {"facts_status": 503}})
    assert (await get(open_venue, f"/positions/{BTC}")).status == 503
    assert (await get(open_venue, "/positions/ETHUSDT")).status == 200
    open_venue.control(reset=True, facts_drop=1.0)
    assert (await get(open_venue, "/orders")).status == NO_ANSWER


async def test_what_rests_still_does_after_a_restart(tmp_path: Path):
    venue = Venue(directory=tmp_path)
    with venue:
        for number in (1, 2, 3):
            await place(venue, order(f"c-{number}", quantity="4", type="limit", limit_price="90"))
        venue.fill("c-1", Decimal(1))
        venue.end("c-2")
        venue.fill("c-3")
        venue.kill()
        venue.start()
        assert await resting(venue) == ["c-1"]
        assert await state_of(venue, "c-1") == ("partial", "1", "90")
        assert (await state_of(venue, "c-2"))[0] == "canceled"
        assert (await get(venue, f"/positions/{BTC}")).body == {"quantity": "5"}
