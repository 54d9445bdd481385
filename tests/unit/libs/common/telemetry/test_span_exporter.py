import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from libs.common.telemetry.frames import Unframer, frame
from libs.common.telemetry.span_exporter import (
    MAX_WORDS_LENGTH,
    Exporting,
    LastWords,
    export_one,
    readable,
    resource_of,
    run,
)
from libs.common.telemetry.span_queue import COMMAND
from libs.common.telemetry.span_record import CONSUMER, Hello, Report, SpanRecord
from libs.common.telemetry.tracing_settings import HTTP
from tests.support.otlp_sink import OtlpSink
from tests.support.ports import free_port
from tests.support.tree import ROOT

HELLO = Hello("bascule-test", "1.2.3", "one")
RECORD = SpanRecord(
    name="process alerts",
    kind=CONSUMER,
    trace_id="a" * 32,
    span_id="b" * 16,
    parent_id="c" * 16,
    has_remote_parent=True,
    started_at_ns=1,
    ended_at_ns=2,
    attributes={"bascule.alert_id": "alert00001", "bascule.attempt": 1},
    links=(("d" * 32, "e" * 16),),
    has_failed=True,
)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpSink]:
    with OtlpSink() as sink:
        for name, value in sink.environment.items():
            monkeypatch.setenv(name, value)
        yield sink


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")


def test_a_resource_names_the_service_and_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=mine,k8s.pod.name=pod-1")
    attributes = resource_of(HELLO).attributes
    assert attributes["service.name"] == "bascule-test"
    assert attributes["service.namespace"] == "bascule"
    assert attributes["service.instance.id"] == "one"
    assert (attributes["service.version"], attributes["k8s.pod.name"]) == ("mine", "pod-1")


def test_a_record_reads_to_the_sdk_as_the_span_that_it_was():
    span = readable(RECORD, resource_of(HELLO), InstrumentationScope("bascule", "1.2.3"))
    assert (span.name, span.kind, span.status.status_code) == (
        "process alerts",
        SpanKind.CONSUMER,
        StatusCode.ERROR,
    )
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.context.span_id) == (int("a" * 32, 16), int("b" * 16, 16))
    assert (span.parent.span_id, span.parent.is_remote) == (int("c" * 16, 16), True)
    [link] = span.links
    assert (link.context.trace_id, link.context.span_id) == (int("d" * 32, 16), int("e" * 16, 16))
    assert span.attributes == RECORD.attributes
    assert (span.start_time, span.end_time) == (1, 2)


def test_a_record_without_a_parent_is_a_root():
    root = msgspec.structs.replace(RECORD, parent_id="", has_failed=False, links=())
    span = readable(root, resource_of(HELLO), InstrumentationScope("bascule"))
    assert (span.parent, list(span.links), span.status.status_code) == (None, [], StatusCode.UNSET)


def test_a_batch_that_a_collector_takes_comes_whole_and_is_reported(sink: OtlpSink):
    exporting = Exporting(HELLO, HTTP, LastWords())
    assert exporting.export([RECORD, msgspec.structs.replace(RECORD, span_id="f" * 16)]) == Report(2, 0, "")
    exporting.shutdown()
    [span, _] = sink.spans()
    assert (span.name, span.kind, span.parent_id) == ("process alerts", "CONSUMER", "c" * 16)
    assert span.attributes == RECORD.attributes
    assert (span.service, span.has_failed, span.links) == ("bascule-test", True, RECORD.links)


def test_a_batch_that_a_collector_refuses_is_reported_as_failed(sink: OtlpSink):
    sink.status = 400
    exporting = Exporting(HELLO, HTTP, LastWords())
    report = exporting.export([RECORD])
    exporting.shutdown()
    assert (report.exported, report.failed) == (0, 1)
    assert report.words


def test_a_way_that_breaks_is_a_batch_that_failed(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch):
    exporting = Exporting(HELLO, HTTP, LastWords())

    def breaks(_: Any) -> bool:
        raise RuntimeError("x" * 1_000)

    monkeypatch.setattr(exporting._way, "export", breaks)
    report = exporting.export([RECORD])
    assert (report.exported, report.failed) == (0, 1)
    assert report.words.startswith("RuntimeError('xxx")
    assert len(report.words) == MAX_WORDS_LENGTH


def test_it_exports_what_comes_and_ends_with_its_service(sink: OtlpSink):
    ours, its = socket.socketpair()
    thread = threading.Thread(target=run, args=(its,))
    thread.start()
    with ours, its:
        ours.sendall(frame(msgspec.msgpack.encode(HELLO)) + frame(msgspec.msgpack.encode([RECORD])))
        [message] = Unframer().feed(ours.recv(65_536))
        assert msgspec.msgpack.decode(message, type=Report) == Report(1, 0, "")
        ours.shutdown(socket.SHUT_WR)
        thread.join(10)
    assert not thread.is_alive()
    assert len(sink.spans()) == 1


def test_it_outlives_the_signals_that_end_its_service(sink: OtlpSink):
    ours, its = socket.socketpair()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(COMMAND, stdin=its.fileno(), env=environment)
    its.close()
    with ours:
        ours.sendall(frame(msgspec.msgpack.encode(HELLO)) + frame(msgspec.msgpack.encode([RECORD])))
        assert ours.recv(65_536)
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        ours.sendall(frame(msgspec.msgpack.encode([RECORD])))
        assert ours.recv(65_536)
    assert process.wait(10) == 0
    assert len(sink.spans()) == 2


def test_one_that_cannot_work_tells_its_service_why():
    ours, its = socket.socketpair()
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with ours:
        process = subprocess.Popen([sys.executable, *COMMAND[1:]], stdin=its.fileno(), env=environment)
        its.close()
        [message] = Unframer().feed(ours.recv(65_536))
        report = msgspec.msgpack.decode(message, type=Report)
        assert process.wait(10) == 0
    assert (report.exported, report.failed) == (0, 0)
    assert "started without an endpoint" in report.words


def test_one_span_is_exported_from_a_process_that_is_about_to_end(sink: OtlpSink):
    export_one(RECORD, HELLO, HTTP, 10)
    assert [span.name for span in sink.spans()] == ["process alerts"]


def test_one_span_waits_for_no_collector_that_does_not_answer(
    sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")
    sink.status = 0
    export_one(RECORD, HELLO, HTTP, 0.2)
    assert sink.spans() == []


@pytest.mark.usefixtures("away")
def test_a_collector_that_is_away_is_no_words_of_a_command(capfd: pytest.CaptureFixture[str]):
    export_one(RECORD, HELLO, HTTP, 10)
    assert capfd.readouterr() == ("", "")


def test_last_words_are_one_short_line():
    last = LastWords()
    last.emit(logging.LogRecord("sdk", 30, "x.py", 1, "two\nlines %s", ("and more " * 100,), None))
    assert last.words.startswith("two lines and more")
    assert len(last.words) <= MAX_WORDS_LENGTH
