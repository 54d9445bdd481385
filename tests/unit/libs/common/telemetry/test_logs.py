import asyncio
import gc
import io
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from libs.common.telemetry.logs import configure_logs, get_logger
from libs.common.telemetry.spans import Span, within
from libs.common.wire.masking import Masker
from libs.common.wire.trace_context import TraceContext

SECRET = "demo-secret-01"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    out = io.StringIO()
    configure_logs("ingress", mask=Masker([SECRET]).mask_text, stream=out)
    return out


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_service(stream: io.StringIO) -> None:
    get_logger().info("post_refused", status=422, code="wrong_type")
    (line,) = lines(stream)
    assert line["event"] == "post_refused"
    assert (line["service"], line["level"], line["status"]) == ("ingress", "info", 422)


def test_the_standard_library_logs_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("somebody").warning("careful: %s", "odd")
    (line,) = lines(stream)
    assert (line["event"], line["service"], line["level"]) == ("careful: odd", "ingress", "warning")


def test_no_field_shows_a_secret(stream: io.StringIO) -> None:
    log = get_logger()
    log.warning("post_refused", detail=f"got {SECRET}", fields={"raw": [SECRET]}, error=ValueError(SECRET))
    logging.getLogger("somebody").warning("got %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("post_failed")
    assert SECRET not in stream.getvalue()
    assert len(lines(stream)) == 3


def test_libraries_are_quiet_below_warnings(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("httpx").info("HTTP Request")
    assert lines(stream) == []


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(socket.gaierror(-2, "unknown"), False), (OSError(111, "refused"), False), (KeyError("x"), True)],
)
def test_a_connection_that_fails_after_it_was_given_up_is_not_told_again(
    stream: io.StringIO, error: Exception, is_told: bool
) -> None:
    async def nobody_takes_it() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        del future
        gc.collect()

    asyncio.run(nobody_takes_it())
    assert len(lines(stream)) == is_told


def test_what_json_cannot_hold_is_written_as_text(stream: io.StringIO) -> None:
    get_logger().info("thing_seen", thing=io.StringIO, numbers={1, 2}, big=2**70, half="\ud800")
    assert len(lines(stream)) == 1


def test_a_line_written_within_a_span_names_its_trace_kept_or_not(stream: io.StringIO) -> None:
    span = Span(TraceContext("a" * 32, "b" * 16, is_sampled=False))
    with within(span):
        get_logger().info("order_unknown")
    get_logger().info("service_stopped")
    first, second = lines(stream)
    assert first["trace_id"] == "a" * 32
    assert "trace_id" not in second
