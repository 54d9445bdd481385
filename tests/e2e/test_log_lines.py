"""What stands on the log lines of alerts, whatever becomes of them: real services, traced, with a venue that misbehaves."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from libs.common.telemetry.events import EVENTS, OF_ALERTS
from libs.common.telemetry.subject import OF_AN_ALERT
from tests.e2e.commands import run
from tests.e2e.faults import SHORT_LEASE, kill_holding
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET, VENUE_SECRET, merge
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

STRATEGY = "golden-cross"

AWAY = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
"""Traced, for no collector."""


def lines_of(bridge: Bridge) -> dict[str, list[dict[str, Any]]]:
    """Return the lines about each alert, by its id."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in bridge.log():
        if "alert_id" in line:
            found[line["alert_id"]].append(line)
    return found


def hold_to_it(bridge: Bridge, symbols: dict[str, str]) -> None:
    """Hold every line so far to what must stand on it: `symbols` is alert id -> symbol."""
    for line in bridge.log():
        assert "raw" not in line, line
        assert line["event"] in EVENTS, line
        assert not any(secret in str(line) for secret in (SECRET, VENUE_SECRET)), line
        if line["event"] in OF_ALERTS:
            assert set(OF_AN_ALERT) <= line.keys(), line
            assert (line["account"], line["symbol"]) == (ACCOUNT, symbols[line["alert_id"]]), line
            assert 0 <= line["elapsed_ms"] < 120_000, line
    for alert_id, lines in lines_of(bridge).items():
        assert {line["strategy"] for line in lines} == {None if symbols[alert_id] == "DEAD" else STRATEGY}, (
            lines
        )
        assert {line["trace_id"] for line in lines if line["service"] == "worker"}, alert_id


async def test_every_line_about_an_alert_says_which_whose_of_what_and_after_how_long(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
):
    bridge = bridge_factory(
        private_redis,
        venue=venue,
        workers=2,
        config=merge(SHORT_LEASE, {"accounts": {ACCOUNT: {"timeout": "300ms"}}}),
        environment=AWAY,
    )
    symbols: dict[str, str] = {}

    async def send(symbol: str, **fields: Any) -> str:
        status, body = await bridge.post(bridge.alert(symbol, bascule=1, strategy=STRATEGY, **fields))
        assert status == 200, body
        symbols[body["alert_id"]] = symbol
        return str(body["alert_id"])

    venue.control(
        symbols={
            "REFUSED": {"reject": "no_money"},
            "RETRIED": {"status": 429},
            "UNKNOWN": {"drop_after": 1},
        }
    )
    fates = {
        "executed": await send("EXECUTED"),
        "rejected": await send("REFUSED"),
        "retried": await send("RETRIED"),
        "unknown": await send("UNKNOWN"),
        "expired": await send("EXPIRED", fired_at=1_600_000_000_000),
        "resting": await send("RESTING", order_type="limit", limit_price="100"),
    }
    events = lambda fate: {line["event"] for line in lines_of(bridge)[fates[fate]]}  # noqa: E731
    await eventually(lambda: "order_not_executed" in events("retried"), 20)
    venue.control(symbols={"RETRIED": {"status": 0}})
    await bridge.wait_ended(6)

    # One whose venue takes its time while its worker dies.
    venue.control(delay_ms=200)
    fates["reclaimed"] = await send("RECLAIMED")
    [holder] = await eventually(lambda: [w for w in bridge.workers if bridge.lanes_held_by(w)], 10)
    assert await kill_holding(bridge, holder) is not None, "it handed its lane back in that very moment"
    await bridge.wait_ended(7)
    venue.control(reset=True)

    # One that nobody can read, as a fault of ours would leave it.
    for worker in bridge.workers:
        worker.kill()
    fates["dead"] = await send("DEAD")
    lane = f"bascule:{{s0}}:lane:{ACCOUNT}:DEAD"
    [(entry_id, fields)] = bridge.client.xrange(lane)
    bridge.client.xadd(
        lane,
        {
            **fields,
            "body": f'{{"traceparent":{fields["body"].partition(chr(34) + "traceparent" + chr(34) + ":")[2]}',
        },
    )
    bridge.client.xdel(lane, entry_id)
    bridge.workers[0].start().wait_ready()
    await bridge.wait_ended(8)

    [resting] = [one["client_order_id"] for one in venue.ledger() if one["symbol"] == "RESTING"]
    venue.fill(str(resting))
    await eventually(lambda: "followed_order_ended" in events("resting"), 30)

    venue.control(symbols={"REFUSED": {"reject": "still_no_money"}})
    await run(bridge, "dead-letters", "replay", fates["rejected"])
    await bridge.wait_ended(8)

    assert events("rejected") == events("expired") == events("dead") == {"instruction_ended"}
    assert {"order_unknown"} <= events("unknown")
    assert {"head_taken_over", "instruction_reclaimed"} <= events("reclaimed")
    assert len({line["trace_id"] for line in lines_of(bridge)[fates["rejected"]]}) == 2
    hold_to_it(bridge, symbols)


async def test_lines_of_refused_posts_say_what_was_understood_of_them(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
):
    bridge = bridge_factory(redis_server, environment=AWAY)
    first = bridge.alert("BTCUSDT", bascule=1, quantity="1", strategy=STRATEGY, id="same")
    assert (await bridge.post(first)).status == 200
    status, body = await bridge.post({**first, "quantity": "7"})
    assert status == 409, body
    [line] = await eventually(
        lambda: [line for line in bridge.ingresses[0].log() if line["event"] == "post_refused"], 10
    )
    assert (line["symbol"], line["strategy"]) == ("BTCUSDT", STRATEGY)
    assert line["event_id"] == body["event_id"]
    assert line["elapsed_ms"] >= 0
    assert line["trace_id"]
