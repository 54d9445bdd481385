import asyncio
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.support import http_client
from tests.support.eventually import eventually
from tests.support.http_client import NO_ANSWER, Answer
from tests.support.venue import Venue, signature


@pytest.fixture
def open_venue() -> Iterator[Venue]:
    """A venue that checks no signatures."""
    with Venue() as venue:
        yield venue


def order(client_order_id: str = "c-1", *, expires_in_ms: int = 60_000, **fields: Any) -> dict[str, Any]:
    return {
        "client_order_id": client_order_id,
        "alert_id": f"alert-of-{client_order_id}",
        "account": "desk",
        "symbol": "BTCUSDT",
        "side": "buy",
        "type": "market",
        "quantity": "1.5",
        "expires_at_ms": time.time_ns() // 1_000_000 + expires_in_ms,
        **fields,
    }


async def place(venue: Venue, document: dict[str, Any] | bytes, **options: Any) -> Answer:
    return await http_client.post(f"{venue.url}/orders", document, **options)


async def find(venue: Venue, client_order_id: str) -> Answer:
    return await http_client.get(f"{venue.url}/orders/{client_order_id}")


def executed_ids(venue: Venue) -> list[str]:
    return [entry["client_order_id"] for entry in venue.ledger()]


async def test_the_same_order_twice_is_executed_twice(open_venue: Venue):
    for _ in range(2):
        status, _ = await place(open_venue, order())
        assert status == 201
    ledger = open_venue.ledger()
    assert [(entry["seq"], entry["client_order_id"]) for entry in ledger] == [(1, "c-1"), (2, "c-1")]


async def test_the_ledger_says_what_was_executed(open_venue: Venue):
    await place(open_venue, order(), headers={"Idempotency-Key": "key-1"})
    (entry,) = open_venue.ledger()
    expected = {"alert_id": "alert-of-c-1", "account": "desk", "symbol": "BTCUSDT", "side": "buy"}
    assert {name: entry[name] for name in expected} == expected
    assert entry["quantity"] == "1.5"
    assert entry["idempotency_key"] == "key-1"
    assert abs(entry["received_at_ms"] - time.time_ns() // 1_000_000) < 10_000


async def test_an_expired_order_is_refused_and_recorded_apart(open_venue: Venue):
    status, body = await place(open_venue, order(expires_in_ms=-1))
    assert (status, body["code"]) == (422, "expired")
    assert open_venue.ledger() == []
    assert [entry["client_order_id"] for entry in open_venue.refused()] == ["c-1"]
    assert (await find(open_venue, "c-1")).status == 404


async def test_expiry_is_judged_at_the_moment_of_execution(open_venue: Venue):
    open_venue.control(delay_before_ms=200)
    status, _ = await place(open_venue, order(expires_in_ms=100))
    assert status == 422
    assert open_venue.ledger() == []


async def test_an_order_executes_though_its_sender_has_hung_up(open_venue: Venue):
    open_venue.control(delay_before_ms=300)
    assert (await place(open_venue, order(), timeout_s=0.05)).status == NO_ANSWER
    assert open_venue.ledger() == []
    assert await eventually(open_venue.ledger)


async def test_a_request_without_a_fitting_signature_is_refused(venue: Venue):
    body = orjson.dumps(order())
    assert (await place(venue, body)).status == 401
    wrong = {"X-Signature": signature(b"another secret", body)}
    assert (await place(venue, body, headers=wrong)).status == 401
    assert venue.ledger() == []
    right = {"X-Signature": signature((venue.secret or "").encode(), body)}
    assert (await place(venue, body, headers=right)).status == 201
    assert venue.stats()["bad_signature"] == 2


async def test_a_get_is_signed_over_method_path_and_timestamp(venue: Venue):
    secret = (venue.secret or "").encode()
    url, path = f"{venue.url}/positions/BTC%2FUSD", "/positions/BTC%2FUSD"
    headers = {"X-Timestamp": "123", "X-Signature": signature(secret, f"GET\n{path}\n123".encode())}
    status, body = await http_client.get(url, headers=headers)
    assert (status, body) == (200, {"quantity": "0"})
    assert (await http_client.get(url, headers={**headers, "X-Timestamp": "124"})).status == 401


async def test_an_answer_is_signed_over_its_bytes(venue: Venue):
    answer = await http_client.get(f"{venue.url}/orders/none")
    secret = (venue.secret or "").encode()
    assert answer.headers["x-signature"] == signature(secret, orjson.dumps(answer.body))


async def test_a_look_up_finds_what_was_executed_and_nothing_else(open_venue: Venue):
    _, placed = await place(open_venue, order())
    assert tuple(await find(open_venue, "c-1")) == (200, placed)
    assert (await find(open_venue, "c-2")).status == 404


async def test_a_look_up_may_lag(open_venue: Venue):
    open_venue.control(lookup_lag_ms=150)
    await place(open_venue, order())
    assert (await find(open_venue, "c-1")).status == 404

    async def is_found() -> bool:
        return (await find(open_venue, "c-1")).status == 200

    await eventually(is_found, timeout_s=3)


async def test_the_position_is_the_sum_of_the_fills_of_its_book(open_venue: Venue):
    await place(open_venue, order("c-1", quantity="2.50"))
    await place(open_venue, order("c-2", quantity="1", side="sell"))
    await place(open_venue, order("c-3", type="limit", limit_price="90"))
    await http_client.post(f"{open_venue.url}/desk-b/orders", order("c-4"))
    status, body = await http_client.get(f"{open_venue.url}/positions/BTCUSDT")
    assert (status, body) == (200, {"quantity": "1.50"})


async def test_a_limit_order_is_accepted_and_fills_nothing(open_venue: Venue):
    _, body = await place(open_venue, order(type="limit", limit_price="90"))
    assert (body["status"], body["filled_quantity"], body["average_price"]) == ("accepted", "0", None)


async def test_a_drop_before_executes_nothing_and_a_drop_after_does(open_venue: Venue):
    open_venue.control(drop_before=1.0)
    assert (await place(open_venue, order("c-1"))).status == NO_ANSWER
    open_venue.control(reset=True, drop_after=1.0)
    assert (await place(open_venue, order("c-2"))).status == NO_ANSWER
    assert executed_ids(open_venue) == ["c-2"]


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_a_status_is_answered_without_executing(open_venue: Venue, status: int):
    open_venue.control(status=status, retry_after_s="3")
    answer = await place(open_venue, order())
    assert answer.status == status
    assert answer.headers.get("retry-after") == (None if status == 500 else "3")
    assert open_venue.ledger() == []


async def test_a_500_may_hide_an_execution(open_venue: Venue):
    open_venue.control(status=500, status_executes=True)
    assert (await place(open_venue, order())).status == 500
    assert executed_ids(open_venue) == ["c-1"]


async def test_a_rejection_executes_nothing(open_venue: Venue):
    open_venue.control(reject="insufficient_funds")
    status, body = await place(open_venue, order())
    assert (status, body["code"]) == (422, "insufficient_funds")
    assert open_venue.ledger() == []


@pytest.mark.parametrize("kind", ["no_order_id", "truncated", "not_json", "empty"])
async def test_garbage_is_answered_after_executing(open_venue: Venue, kind: str):
    open_venue.control(garbage=kind)
    status, body = await place(open_venue, order())
    assert status == (NO_ANSWER if kind == "truncated" else 200)
    assert not isinstance(body, dict) or "order_id" not in body
    assert executed_ids(open_venue) == ["c-1"]


async def test_faults_may_hold_for_one_symbol_alone(open_venue: Venue):
    open_venue.control(symbols={"BADUSDT": {"status": 503}})
    assert (await place(open_venue, order("c-1", symbol="BADUSDT"))).status == 503
    assert (await place(open_venue, order("c-2"))).status == 201


async def test_faults_may_end_after_so_many_orders(open_venue: Venue):
    open_venue.control(status=503, times=2)
    statuses = [(await place(open_venue, order(f"c-{number}"))).status for number in range(4)]
    assert statuses == [503, 503, 201, 201]


async def test_the_same_seed_drops_the_same_orders(open_venue: Venue):
    runs = []
    for _ in range(2):
        open_venue.control(reset=True, seed=7, drop_before=0.5)
        runs.append([(await place(open_venue, order())).status for _ in range(16)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {NO_ANSWER, 201}


async def test_an_unknown_mode_is_refused(open_venue: Venue):
    with pytest.raises(AssertionError, match="delya_ms"):
        open_venue.control(delya_ms=5)


@pytest.mark.alone
async def test_a_delayed_answer_does_not_hold_up_other_connections(open_venue: Venue):
    open_venue.control(delay_ms=300)
    started_s = time.monotonic()
    await asyncio.gather(*(place(open_venue, order(f"c-{number}")) for number in range(8)))
    assert time.monotonic() - started_s < 1.5
    assert open_venue.stats()["max_in_flight"] == 8


async def test_a_killed_venue_remembers_what_it_executed(open_venue: Venue):
    await place(open_venue, order())
    open_venue.kill()
    assert (await find(open_venue, "c-1")).status == NO_ANSWER
    open_venue.start()
    assert (await find(open_venue, "c-1")).status == 200
    await place(open_venue, order())
    assert [entry["seq"] for entry in open_venue.ledger()] == [1, 2]


@pytest.mark.parametrize(
    "broken", [{"quantity": "0"}, {"quantity": "NaN"}, {"side": "hold"}, {"expires_at_ms": None}]
)
async def test_a_malformed_order_is_refused(open_venue: Venue, broken: dict[str, Any]):
    status, body = await place(open_venue, order(**broken))
    assert (status, body["code"]) == (400, "malformed")
    assert open_venue.ledger() == []
