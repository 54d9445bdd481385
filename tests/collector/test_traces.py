"""What a real collector wrote of alerts that went through the running bridge."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.commands import bascule, run
from tests.e2e.faults import SHORT_LEASE, kill_holding
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET, VENUE_SECRET
from tests.support.collector.running import Collector
from tests.support.eventually import eventually
from tests.support.otlp_sink import Received
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

pytestmark = pytest.mark.slow

PROTOCOLS = ["http/protobuf", "grpc"]
HEADER = "collector-credential-1"
SERVICES = {"bascule-ingress", "bascule-worker", "bascule-reaper", "bascule-command"}
NAMES = re.compile(r"POST /webhook|(process|reclaim|expire|replay) alerts|[a-z]+(_[a-z]+)* (http|paper)")


def variables(collector: Collector, protocol: str) -> dict[str, str]:
    return {
        **collector.variables(protocol),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{HEADER}",
    }


async def admitted(bridge: Bridge, *args: Any, **fields: Any) -> str:
    """Post an alert and return its id."""
    status, body = await bridge.post(bridge.alert(*args, **fields))
    assert status == 200, body
    alert_id: str = body["alert_id"]
    return alert_id


async def spans_of(collector: Collector, alert_id: str, *names: str) -> list[Received]:
    """Return the spans of an alert once there is one of each of these names."""

    def have_come() -> list[Received]:
        spans = collector.spans(alert_id=alert_id)
        missing = set(names) - {span.name for span in spans}
        assert not missing, f"missing {missing} among {[span.name for span in spans]}"
        return spans

    return await eventually(have_come, 15, message="the spans of an alert come")


def the(spans: list[Received], name: str) -> Received:
    """Return the one span of that name."""
    [found] = [span for span in spans if span.name == name]
    return found


def origin(span: Received) -> tuple[str, str]:
    return (span.trace_id, span.span_id)


async def check_whole(collector: Collector) -> None:
    """Check what is true of every span where none was dropped: what it names came too."""

    def are_whole() -> bool:
        spans = collector.spans()
        ids = {origin(span) for span in spans}
        for span in spans:
            # A parent ends after its children, so it may come after them.
            assert not span.parent_id or (span.trace_id, span.parent_id) in ids, f"the parent of {span} lacks"
            assert ids.issuperset(span.links), f"{span} is linked to nothing"
        return bool(spans)

    await eventually(are_whole)
    check_each(collector)


def check_each(collector: Collector) -> None:
    """Check what is true of every span, whatever happened."""
    spans = collector.spans()
    ids = {origin(span) for span in spans}
    assert len(ids) == len(spans), "no span came twice"
    assert {span.service for span in spans} <= SERVICES
    assert all(NAMES.fullmatch(span.name) for span in spans), {span.name for span in spans}
    assert all(span.attributes.get("bascule.alert_id") for span in spans)
    for secret in (SECRET, VENUE_SECRET, HEADER):
        assert secret not in collector.written()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_alert_is_one_trace_over_the_processes_that_carry_it(
    redis_server: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    collector: Collector,
    protocol: str,
):
    bridge = bridge_factory(redis_server, venue=venue, environment=variables(collector, protocol))
    filled = await admitted(bridge, "BTCUSDT")
    rests = await admitted(bridge, "ETHUSDT", bascule=1, quantity="2", order_type="limit", limit_price="100")
    await bridge.wait_ended(2)
    for alert_id in (filled, rests):
        spans = await spans_of(collector, alert_id, "POST /webhook", "process alerts", "place_order http")
        post, process = the(spans, "POST /webhook"), the(spans, "process alerts")
        calls = [span for span in spans if span.kind == "CLIENT"]
        place = the(calls, "place_order http")
        assert {span.trace_id for span in spans} == {post.trace_id}
        assert (post.kind, post.parent_id, post.links) == ("SERVER", "", ())
        assert (process.kind, process.parent_id, process.links) == ("CONSUMER", post.span_id, (origin(post),))
        assert {call.parent_id for call in calls} == {process.span_id}
        assert len(spans) == 2 + len(calls)
        assert [span.service for span in (post, process, place)] == [
            "bascule-ingress",
            "bascule-worker",
            "bascule-worker",
        ]
        assert post.resource["service.instance.id"] != process.resource["service.instance.id"]
        assert process.attributes["bascule.account"] == place.attributes["bascule.account"] == ACCOUNT
        assert process.attributes["bascule.queue_wait_ms"] >= 0
        assert not any(span.has_failed for span in spans)
        shown = await bascule(bridge, "alerts", alert_id, "--json")
        assert shown.data["trace_id"] == post.trace_id
    [resting] = [order for order in venue.ledger() if order["symbol"] == "ETHUSDT"]
    venue.fill(str(resting["client_order_id"]))
    spans = await spans_of(collector, rests, "find_order http")
    post, found = the(spans, "POST /webhook"), the(spans, "find_order http")
    assert (found.trace_id, found.parent_id) == (post.trace_id, post.span_id)
    assert found.attributes["bascule.outcome"] == "FILLED"
    assert len({span.trace_id for span in collector.spans()}) == 2
    await check_whole(collector)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_reclaimed_instruction_stays_in_its_trace_over_reaper_and_successor(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    collector: Collector,
    protocol: str,
):
    bridge = bridge_factory(
        private_redis,
        venue=venue,
        workers=2,
        config=SHORT_LEASE,
        environment=variables(collector, protocol),
    )
    venue.control(delay_ms=600)
    alert_id = await admitted(bridge)
    [holder] = await eventually(lambda: [w for w in bridge.workers if bridge.lanes_held_by(w)], 10)
    assert await kill_holding(bridge, holder) is not None, "it handed its lane back in that very moment"
    await bridge.wait_ended(1, 30)
    spans = await spans_of(collector, alert_id, "POST /webhook", "reclaim alerts", "process alerts")
    post, reclaim = (the(spans, name) for name in ("POST /webhook", "reclaim alerts"))
    assert {span.trace_id for span in spans} == {post.trace_id}
    assert {span.service for span in spans} == {"bascule-ingress", "bascule-reaper", "bascule-worker"}
    assert (reclaim.parent_id, reclaim.links) == (post.span_id, (origin(post),))
    assert reclaim.attributes["bascule.lost_holders"] == 1
    await check_whole(collector)


async def test_an_instruction_that_expires_where_it_waits_ends_its_trace_at_the_reaper(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], collector: Collector
):
    bridge = bridge_factory(redis_server, environment=variables(collector, "http/protobuf"))
    await run(bridge, "halt", "--mode", "pause", "--reason", "news")
    waits = await admitted(bridge)
    late = await admitted(bridge, bascule=1, max_age="1s")
    spans = await spans_of(collector, late, "POST /webhook", "expire alerts")
    post, expired = spans
    assert (expired.trace_id, expired.parent_id, expired.links) == (
        post.trace_id,
        post.span_id,
        (origin(post),),
    )
    assert (expired.service, expired.has_failed) == ("bascule-reaper", True)
    await run(bridge, "resume")
    await bridge.wait_ended(2)
    found = await spans_of(collector, waits, "place_order paper")
    outcomes = [span.attributes["bascule.outcome"] for span in found if span.name == "process alerts"]
    assert (outcomes[0], outcomes[-1]) == ("parked", "EXECUTED")
    await check_whole(collector)


async def test_a_replay_is_a_trace_of_its_own_that_is_linked_to_the_first(
    redis_server: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], collector: Collector
):
    bridge = bridge_factory(redis_server, venue=venue, environment=variables(collector, "http/protobuf"))
    venue.control(reject="no_money")
    alert_id = await admitted(bridge)
    await bridge.wait_ended(1)
    before = await spans_of(collector, alert_id, "POST /webhook", "process alerts", "place_order http")
    post = the(before, "POST /webhook")
    assert [span.has_failed for span in before] == [False, True, True]
    venue.control(reject="")
    await run(bridge, "dead-letters", "replay", alert_id)
    await bridge.wait_ended(1)
    spans = await spans_of(collector, alert_id, "replay alerts")
    replay = the(spans, "replay alerts")

    def have_followed() -> list[Received]:
        after = [span for span in collector.spans(alert_id=alert_id) if span.trace_id == replay.trace_id]
        assert len(after) == 3, [span.name for span in after]
        return after

    after = await eventually(have_followed)
    assert [span.name for span in after] == ["replay alerts", "process alerts", "place_order http"]
    assert (replay.parent_id, replay.kind, replay.service) == ("", "PRODUCER", "bascule-command")
    assert replay.trace_id != post.trace_id
    assert replay.links == (origin(post),)
    assert after[1].parent_id == replay.span_id
    assert after[1].links == (origin(replay), origin(post))
    await check_whole(collector)
