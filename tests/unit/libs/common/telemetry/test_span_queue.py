import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from structlog.typing import EventDict

from libs.common.telemetry import span_queue
from libs.common.telemetry.span_metrics import SpanMetrics
from libs.common.telemetry.span_queue import SpanQueue
from libs.common.telemetry.span_record import Hello
from libs.common.telemetry.trace_sampler import ALWAYS
from libs.common.telemetry.tracing_settings import HTTP, TracingSettings
from tests.support.eventually import eventually
from tests.support.tree import ROOT

HELLO = Hello("bascule-test", "1", "one")
SPAN = b"\xa1x"
"""Packed, as every span is that is put here."""

TAKES = """
def batch(number, spans): return Report(len(spans), 0, "")
"""
REFUSES_ONE = """
def batch(number, spans): return Report(0, len(spans), "away") if number == 1 else Report(len(spans), 0, "")
"""
HANGS = """
import time
def batch(number, spans): time.sleep(600)
"""
DIES = """
import os
def batch(number, spans): os._exit(1)
"""
PROGRAM = """
import socket
from pathlib import Path
import msgspec
from libs.common.telemetry.frames import Unframer, frame
from libs.common.telemetry.span_record import Report
{}
channel, unframer, number = socket.socket(fileno=0), Unframer(), -1
while data := channel.recv(65536):
    for message in unframer.feed(data):
        number += 1
        if number:
            report = batch(number, msgspec.msgpack.decode(message))
            channel.sendall(frame(msgspec.msgpack.encode(report)))
        else:
            assert msgspec.msgpack.decode(message)["service"] == "bascule-test"
"""

Make = Callable[..., SpanQueue]


class Figures:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    @property
    def exported(self) -> float:
        return self.registry.get_sample_value("bascule_spans_exported_total") or 0

    def dropped(self, reason: str) -> float:
        return self.registry.get_sample_value("bascule_spans_dropped_total", {"reason": reason}) or 0


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def events() -> Any:
    with capture_logs() as captured:
        yield captured


ENDPOINT = "http://127.0.0.1:4318"
"""Told to people alone: the exporters here export nothing."""


@pytest.fixture
async def queue(figures: Figures) -> AsyncIterator[Make]:
    made: list[SpanQueue] = []

    def make(
        exporter: str, *, queue: int = 100, batch: int = 2, delay_ms: int = 10, **options: Any
    ) -> SpanQueue:
        settings = TracingSettings(
            endpoint=ENDPOINT, sampler=ALWAYS, protocol=HTTP, queue=queue, batch=batch, delay_ms=delay_ms
        )
        options.setdefault("command", [sys.executable, "-c", PROGRAM.format(exporter)])
        environ = {"PYTHONPATH": str(ROOT), **options.pop("environ", {})}
        one = SpanQueue(settings, HELLO, environ, SpanMetrics(figures.registry), **options)
        made.append(one)
        one.start()
        return one

    yield make
    for one in made:
        await one.aclose()


def said(events: list[EventDict], event: str) -> list[EventDict]:
    return [one for one in events if one["event"] == event]


async def test_spans_that_a_collector_takes_are_counted(queue: Make, figures: Figures):
    spans = queue(TAKES)
    for _ in range(7):
        spans.put(SPAN)
    await eventually(lambda: figures.exported == 7)
    spans.put(SPAN)
    await eventually(lambda: figures.exported == 8)


async def test_what_the_queue_does_not_hold_is_dropped_counted_and_said_once(
    queue: Make, figures: Figures, events: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(span_queue, "CLOSE_WITHIN_S", 0.1)
    spans = queue(HANGS, queue=4, batch=2)
    for _ in range(20):
        spans.put(SPAN)
    # Two batches are with the exporter, four spans wait.
    assert figures.dropped("queue_full") == 20 - 2 * span_queue.MAX_IN_FLIGHT - 4
    assert [one["spans"] for one in said(events, "span_queue_full")] == [4]


async def test_spans_that_no_collector_takes_are_counted_and_said_until_one_does(
    queue: Make, figures: Figures, events: list[EventDict]
):
    spans = queue(REFUSES_ONE)
    for _ in range(2):
        spans.put(SPAN)
    await eventually(lambda: figures.dropped("not_exported") == 2)
    assert [one["error"] for one in said(events, "spans_not_exported")] == ["away"]
    spans.put(SPAN)
    await eventually(lambda: figures.exported == 1)
    assert len(said(events, "spans_exported_again")) == 1


async def test_an_exporter_that_ends_loses_what_it_had_and_is_started_again(
    queue: Make, figures: Figures, events: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(span_queue, "RESTART_S", 0.01)
    spans = queue(DIES, batch=1)
    spans.put(SPAN)
    await eventually(lambda: figures.dropped("exporter_lost") == 1)
    spans.put(SPAN)
    await eventually(lambda: figures.dropped("exporter_lost") == 2)
    assert len(said(events, "span_exporter_ended")) >= 2


async def test_an_exporter_that_cannot_be_started_costs_spans_alone(
    queue: Make, figures: Figures, events: list[EventDict], tmp_path: Path
):
    spans = queue(TAKES, queue=3, command=[str(tmp_path / "nothing")])
    for _ in range(5):
        spans.put(SPAN)
    assert len(said(events, "span_exporter_not_started")) == 1
    assert figures.dropped("queue_full") == 2
    await spans.aclose()
    assert figures.dropped("not_exported") == 3


async def test_at_the_end_the_last_spans_are_exported_whatever_their_delay(queue: Make, figures: Figures):
    spans = queue(TAKES, batch=100, delay_ms=600_000)
    for _ in range(5):
        spans.put(SPAN)
    await spans.aclose()
    assert figures.exported == 5


async def test_at_the_end_an_exporter_that_hangs_is_given_up(
    queue: Make, figures: Figures, events: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(span_queue, "CLOSE_WITHIN_S", 0.1)
    spans = queue(HANGS, batch=1)
    for _ in range(5):
        spans.put(SPAN)
    async with asyncio.timeout(10):
        await spans.aclose()
    assert figures.dropped("exporter_lost") == span_queue.MAX_IN_FLIGHT
    assert figures.dropped("not_exported") == 5 - span_queue.MAX_IN_FLIGHT
    assert [one["spans"] for one in said(events, "spans_lost")] == [5 - span_queue.MAX_IN_FLIGHT]


async def test_an_exporter_gets_its_own_variables_and_none_of_our_secrets(queue: Make, tmp_path: Path):
    written = tmp_path / "environment"
    code = f"import os, pathlib; pathlib.Path({str(written)!r}).write_text(repr(dict(os.environ)))"
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://here",
        "https_proxy": "http://there",
        "WEBHOOK_SECRET": "hidden-1",
        "REDIS_URL": "redis://:hidden-2@redis",
    }
    queue(TAKES, environ=environ, command=[sys.executable, "-c", code])
    await eventually(lambda: written.exists() and written.read_text())
    assert "http://here" in written.read_text()
    assert "http://there" in written.read_text()
    assert "hidden" not in written.read_text()
