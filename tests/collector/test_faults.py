"""The running bridge while its real collector dies, hangs, and comes back."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.collector.test_traces import PROTOCOLS, admitted, check_each, spans_of, variables
from tests.support.bridge import Bridge
from tests.support.collector.running import Collector
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service

pytestmark = pytest.mark.slow

SMALL_QUEUE = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
MEANWHILE = 200
"""Alerts: more spans than the queue holds."""


WHOLE = {"POST /webhook", "process alerts", "place_order paper"}


def spans_dropped(service: Service) -> float:
    return service.metric("bascule_spans_dropped_total")


async def send_and_execute(bridge: Bridge, count: int, in_all: int) -> None:
    answers = await bridge.send_many([bridge.alert(f"S{number % 9}") for number in range(count)])
    assert {status for status, _ in answers} == {200}
    assert await bridge.wait_ended(in_all) == {"EXECUTED": in_all}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_that_is_killed_costs_spans_alone_and_traces_go_on_when_it_is_back(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], collector: Collector, protocol: str
):
    bridge = bridge_factory(redis_server, environment={**variables(collector, protocol), **SMALL_QUEUE})
    carriers = [*bridge.ingresses, *bridge.workers]
    first = await admitted(bridge)
    await spans_of(collector, first, *WHOLE)
    assert [spans_dropped(service) for service in carriers] == [0, 0]

    collector.kill()
    await send_and_execute(bridge, MEANWHILE, 1 + MEANWHILE)
    for service in carriers:
        await eventually(partial(spans_dropped, service), 15, message="drops are counted")

    collector.start()
    # The queue is still full of what went before, so the spans of the first alerts may be dropped.
    later: list[str] = []

    async def is_one_whole() -> bool:
        later.append(await admitted(bridge))
        came = {alert_id: {span.name for span in collector.spans(alert_id=alert_id)} for alert_id in later}
        return WHOLE in came.values()

    await eventually(is_one_whole, 30, 0.2)
    sent = 1 + MEANWHILE + len(later)
    assert await bridge.wait_ended(sent) == {"EXECUTED": sent}
    assert [service.terminate().code for service in bridge.services] == [0, 0, 0]
    for service in carriers:
        words = [line["event"] for line in service.log()]
        # Over gRPC a batch may wait for the collector until it is back.
        assert words.count("spans_not_exported") == words.count("spans_exported_again")
        assert service.errors() == ""
    check_each(collector)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_that_hangs_for_the_whole_run_costs_spans_alone(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], collector: Collector, protocol: str
):
    collector.stop()
    bridge = bridge_factory(redis_server, environment={**variables(collector, protocol), **SMALL_QUEUE})
    await send_and_execute(bridge, MEANWHILE, MEANWHILE)
    for service in (*bridge.ingresses, *bridge.workers):
        await eventually(partial(spans_dropped, service), 15, message="drops are counted")
    assert {service.terminate().code for service in bridge.services} == {0}
    collector.cont()
    assert all(service.errors() == "" for service in bridge.services)
