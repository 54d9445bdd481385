"""One trace from alert to fill: what services hand to a collector, and that nothing depends on it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import bascule, run
from tests.e2e.faults import SHORT_LEASE, kill_holding
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET
from tests.support.eventually import eventually
from tests.support.otlp_sink import OtlpSink, Received
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT
from tests.support.venue import Venue

SENDERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as sink:
        yield sink


async def admitted(bridge: Bridge, *args: Any, headers: dict[str, str] | None = None, **fields: Any) -> str:
    """Post an alert and return its id."""
    status, body = await bridge.post(bridge.alert(*args, **fields), headers=headers)
    assert status == 200, body
    alert_id: str = body["alert_id"]
    return alert_id


def the(spans: list[Received], name: str) -> Received:
    """Return the one span of that name."""
    [found] = [span for span in spans if span.name == name]
    return found


async def spans_of(sink: OtlpSink, alert_id: str, *names: str) -> list[Received]:
    """Return the spans of an alert once there is one of each of these names."""

    def have_come() -> list[Received]:
        spans = sink.spans(alert_id=alert_id)
        missing = set(names) - {span.name for span in spans}
        assert not missing, f"missing {missing} among {[span.name for span in spans]}"
        return spans

    return await eventually(have_come, 15, message="the spans of an alert come")


async def test_an_alert_is_one_trace_from_its_post_to_the_call_of_the_broker(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(redis_server, environment=sink.environment)
    alert_id = await admitted(
        bridge, "BTCUSDT", bascule=1, strategy="golden", headers={"traceparent": SENDERS}
    )
    spans = await spans_of(sink, alert_id, "POST /webhook", "process alerts", "place_order paper")
    post, process, place = (
        the(spans, name) for name in ("POST /webhook", "process alerts", "place_order paper")
    )
    assert {span.trace_id for span in spans} == {post.trace_id}
    assert [post.kind, process.kind, place.kind] == ["SERVER", "CONSUMER", "CLIENT"]
    assert [post.parent_id, process.parent_id, place.parent_id] == ["", post.span_id, process.span_id]
    assert process.links == ((post.trace_id, post.span_id),)
    assert post.links == (), "nobody is believed which trace they belong to"
    assert post.trace_id not in SENDERS
    assert [post.service, process.service] == ["bascule-ingress", "bascule-worker"]
    assert post.resource["service.instance.id"] != process.resource["service.instance.id"]
    assert {"service.version", "service.namespace"} <= post.resource.keys()
    assert (
        post.attributes
        | {
            "bascule.webhook": "default",
            "bascule.symbol": "BTCUSDT",
            "bascule.strategy": "golden",
            "bascule.outcome": "admitted",
            "http.response.status_code": 200,
        }
        == post.attributes
    )
    assert (
        process.attributes
        | {
            "messaging.system": "redis",
            "messaging.operation.name": "process",
            "bascule.account": ACCOUNT,
            "bascule.symbol": "BTCUSDT",
            "bascule.market": "BTCUSDT",
            "bascule.strategy": "golden",
            "bascule.attempt": 1,
            "bascule.outcome": "EXECUTED",
            "bascule.reason": "filled",
        }
        == process.attributes
    )
    assert process.attributes["bascule.queue_wait_ms"] >= 0
    assert (
        place.attributes
        | {
            "bascule.account": ACCOUNT,
            "bascule.market": "BTCUSDT",
            "bascule.attempt": 1,
            "bascule.outcome": "FILLED",
        }
        == place.attributes
    )
    [order] = bridge.orders()
    assert place.attributes["bascule.client_order_id"] == order
    assert bridge.orders()[order]["traceparent"] == f"00-{post.trace_id}-{post.span_id}-01"
    assert not any(span.has_failed for span in spans)
    assert post.started_at_ns <= process.started_at_ns <= place.started_at_ns <= place.ended_at_ns


async def test_a_lane_of_a_dead_worker_stays_one_trace_over_reaper_and_successor(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(
        private_redis, venue=venue, workers=2, config=SHORT_LEASE, environment=sink.environment
    )
    venue.control(delay_ms=600)
    alert_id = await admitted(bridge)
    [holder] = await eventually(lambda: [w for w in bridge.workers if bridge.lanes_held_by(w)], 10)
    assert await kill_holding(bridge, holder) is not None, "it handed its lane back in that very moment"
    await bridge.wait_ended(len(bridge.instructions()), 30)
    spans = await spans_of(sink, alert_id, "POST /webhook", "reclaim alerts", "process alerts")
    post, reclaim = (the(spans, name) for name in ("POST /webhook", "reclaim alerts"))
    # One for each time that the successor came to it: the venue may not know the order at the first look-up.
    processes = [span for span in spans if span.name == "process alerts"]
    process = min(processes, key=lambda span: span.started_at_ns)
    assert {span.trace_id for span in spans} == {post.trace_id}
    assert [span.service for span in (post, reclaim, process)] == [
        "bascule-ingress",
        "bascule-reaper",
        "bascule-worker",
    ]
    origin = (post.trace_id, post.span_id)
    assert [reclaim.parent_id, reclaim.links] == [post.span_id, (origin,)]
    assert [process.parent_id, process.links] == [post.span_id, (origin,)]
    assert reclaim.attributes["bascule.account"] == ACCOUNT
    assert reclaim.attributes["bascule.lost_holders"] == process.attributes["bascule.lost_holders"] == 1
    survivor = next(worker for worker in bridge.workers if worker is not holder)
    taken = [line for line in survivor.log() if line.get("event") == "head_taken_over"]
    assert {line["trace_id"] for line in taken} == {post.trace_id}


async def test_a_replay_begins_a_new_trace_that_is_linked_to_the_old(
    redis_server: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(redis_server, venue=venue, environment=sink.environment)
    venue.control(reject="no_money")
    alert_id = await admitted(bridge)
    await bridge.wait_ended(1)
    before = await spans_of(sink, alert_id, "POST /webhook", "process alerts", "place_order http")
    post, failed, refused = (
        the(before, name) for name in ("POST /webhook", "process alerts", "place_order http")
    )
    assert failed.has_failed
    assert failed.attributes["bascule.outcome"] == "REJECTED"
    assert failed.attributes["error.type"] == failed.attributes["bascule.reason"] == "venue_rejected"
    assert refused.has_failed
    assert refused.attributes["error.type"] == "OrderRejected"

    for number in range(2):
        if number == 1:
            venue.control(reject="")
        assert len(bridge.dead_letters()) == 1
        letter = await bascule(bridge, "dead-letters", "show", alert_id, "--json")
        assert letter.data["trace_id"] == post.trace_id
        sink.bodies.clear()
        await run(bridge, "dead-letters", "replay", alert_id)
        await bridge.wait_ended(1)
        after = await spans_of(sink, alert_id, "replay alerts", "process alerts", "place_order http")
        replay, process = (the(after, name) for name in ("replay alerts", "process alerts"))
        assert {span.trace_id for span in after} == {replay.trace_id}
        assert replay.trace_id != post.trace_id
        assert [replay.parent_id, replay.kind, replay.service] == ["", "PRODUCER", "bascule-command"]
        assert replay.links == ((post.trace_id, post.span_id),)
        assert process.parent_id == replay.span_id
        assert process.links == ((replay.trace_id, replay.span_id), (post.trace_id, post.span_id))
        post = replay
    assert bridge.state_counts() == {"EXECUTED": 1}
    shown = await bascule(bridge, "alerts", alert_id, "--json")
    assert shown.data["trace_id"] == failed.trace_id


async def test_the_fill_of_a_resting_order_belongs_to_the_trace_of_its_alert(
    redis_server: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(redis_server, venue=venue, environment=sink.environment)
    alert_id = await admitted(bridge, bascule=1, quantity="2", order_type="limit", limit_price="100")
    await bridge.wait_ended(1)
    [placed] = venue.ledger()
    before = await spans_of(sink, alert_id, "POST /webhook", "process alerts", "place_order http")
    assert the(before, "place_order http").attributes["bascule.outcome"] == "ACCEPTED"
    venue.fill(str(placed["client_order_id"]))
    spans = await spans_of(sink, alert_id, "find_order http")
    post, found = the(spans, "POST /webhook"), the(spans, "find_order http")
    assert (found.trace_id, found.parent_id) == (post.trace_id, post.span_id)
    assert found.attributes["bascule.outcome"] == "FILLED"


async def test_refused_posts_are_traced_where_they_proved_themselves_and_log_lines_name_the_trace(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(
        redis_server, environment=sink.environment, config={"ingress": {"link_traceparent": True}}
    )
    stranger, _ = await bridge.post({**bridge.alert(), "secret": "wrong"})
    refused, _ = await bridge.post(bridge.alert(action="nonsense"), headers={"traceparent": SENDERS})
    again = bridge.alert(id="same")
    first, _ = await bridge.post(again, headers={"traceparent": SENDERS})
    second, body = await bridge.post(again, headers={"traceparent": "00-nonsense"})
    assert [stranger, refused, first, second] == [401, 422, 200, 200]
    await eventually(lambda: len([s for s in sink.spans() if s.kind == "SERVER"]) == 3, 10)
    failed, admission, duplicate = (span for span in sink.spans() if span.kind == "SERVER")
    assert failed.attributes | {"bascule.outcome": "refused", "http.response.status_code": 422} == (
        failed.attributes
    )
    assert not failed.has_failed, "the sender's fault is no failure of ours"
    [line] = [line for line in bridge.ingresses[0].log() if line.get("event") == "post_refused"]
    assert line["trace_id"] == failed.trace_id
    assert admission.links == ((SENDERS[3:35], SENDERS[36:52]),)
    assert admission.trace_id != SENDERS[3:35]
    assert duplicate.links == ()
    assert duplicate.attributes | {"bascule.outcome": "duplicate", "bascule.alert_id": body["alert_id"]} == (
        duplicate.attributes
    )


async def test_with_the_collector_away_alerts_are_executed_and_the_spans_counted_as_dropped(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
):
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
    }
    bridge = bridge_factory(redis_server, environment=environment)
    answers = await bridge.send_many([bridge.alert(f"S{number % 9}") for number in range(300)])
    assert {status for status, _ in answers} == {200}
    assert await bridge.wait_ended(300) == {"EXECUTED": 300}
    for service in (bridge.ingresses[0], bridge.workers[0]):
        for reason in ("queue_full", "not_exported"):
            has_dropped = partial(service.metric, "bascule_spans_dropped_total", reason=reason)
            await eventually(has_dropped, 15)
    ends = {service.label: service.terminate() for service in bridge.services}
    assert {name: end.code for name, end in ends.items()} == dict.fromkeys(ends, 0)
    for service in bridge.services[:2]:
        words = [line["event"] for line in service.log()]
        assert words.count("spans_not_exported") == words.count("span_queue_full") == 1
        [line] = [line for line in service.log() if line["event"] == "spans_not_exported"]
        assert line["endpoint"] == environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert "Connection refused" in line["error"]
        assert service.errors() == ""


async def test_a_collector_that_never_answers_keeps_no_service_from_ending(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    sink.status = 0
    bridge = bridge_factory(redis_server, environment=sink.environment)
    await admitted(bridge)
    assert await bridge.wait_ended(1) == {"EXECUTED": 1}
    for service in bridge.services:
        service.signal_terminate()
    await eventually(lambda: [service.exit_code for service in bridge.services] == [0, 0, 0], 20)


async def test_what_waits_is_exported_when_a_service_is_told_to_end(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    late = {**sink.environment, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    bridge = bridge_factory(redis_server, environment=late)
    alert_id = await admitted(bridge)
    assert await bridge.wait_ended(1) == {"EXECUTED": 1}
    assert sink.spans() == []
    assert [service.terminate().code for service in bridge.services] == [0, 0, 0]
    names = {span.name for span in sink.spans(alert_id=alert_id)}
    assert {"POST /webhook", "process alerts", "place_order paper"} <= names


async def test_a_trace_that_the_ingress_does_not_keep_nobody_keeps(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    environment = {**sink.environment, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    bridge = bridge_factory(redis_server, environment={**environment, "OTEL_TRACES_SAMPLER_ARG": "0"})
    await admitted(bridge)
    assert await bridge.wait_ended(1) == {"EXECUTED": 1}
    assert [service.terminate().code for service in bridge.services] == [0, 0, 0]
    assert sink.bodies == []
    [order] = bridge.orders().values()
    assert order["traceparent"].endswith("-00")


async def test_an_exporter_that_dies_is_started_again(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], sink: OtlpSink
):
    bridge = bridge_factory(redis_server, environment=sink.environment)
    await spans_of(sink, await admitted(bridge), "POST /webhook")
    exporter = exporter_of(bridge.ingresses[0])
    environment = Path(f"/proc/{exporter}/environ").read_bytes()
    assert b"OTEL_EXPORTER_OTLP_ENDPOINT" in environment
    assert SECRET.encode() not in environment
    os.kill(exporter, signal.SIGTERM)
    os.kill(exporter, signal.SIGKILL)
    await spans_of(sink, await admitted(bridge), "POST /webhook")
    last = await admitted(bridge)
    assert bridge.ingresses[0].terminate().code == 0
    assert [span.name for span in sink.spans(alert_id=last)][:1] == ["POST /webhook"]


def test_the_services_load_nothing_that_makes_or_exports_spans_by_the_sdk():
    modules = ", ".join(f"services.{name}.__main__" for name in ("ingress", "worker", "reaper", "relay"))
    heavy = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "requests")
    code = f"import sys, {modules}; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def exporter_of(service: Service) -> int:
    """Return the process id of a service's exporter."""
    [child] = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return int(child)
