import asyncio

import pytest

from libs.common.telemetry.span_record import CLIENT, CONSUMER, SERVER
from libs.common.telemetry.spans import (
    MAX_TEXT_LENGTH,
    NO_SPAN,
    OFF,
    KeepingTracer,
    clipped,
    current_span,
    within,
)
from libs.common.telemetry.trace_sampler import Sampler
from libs.common.wire.trace_context import TraceContext
from tests.support.kept_spans import Kept

PARENT = TraceContext("a" * 32, "b" * 16, is_sampled=True)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_span_is_handed_on_when_it_ends_with_all_that_was_noted(kept: Kept):
    span = KeepingTracer(kept).start("process alerts", CONSUMER, PARENT, {"known": 1})
    span.set("later", "yes")
    span.set("nothing", None)
    span.link(PARENT)
    assert kept.spans == []
    span.end()
    [record] = kept.spans
    assert (record.name, record.kind) == ("process alerts", CONSUMER)
    assert (record.trace_id, record.parent_id, record.has_remote_parent) == ("a" * 32, "b" * 16, True)
    assert record.attributes == {"known": 1, "later": "yes"}
    assert record.links == (("a" * 32, "b" * 16),)
    assert not record.has_failed
    assert 0 < record.started_at_ns <= record.ended_at_ns


def test_every_span_has_an_id_of_its_own_and_without_a_parent_a_trace_of_its_own(kept: Kept):
    tracer = KeepingTracer(kept)
    contexts = [tracer.start("post", SERVER, None, {}).context for _ in range(1_000)]
    assert len({context.trace_id for context in contexts if context}) == 1_000
    assert len({context.span_id for context in contexts if context}) == 1_000
    assert {(len(context.trace_id), len(context.span_id)) for context in contexts if context} == {(32, 16)}
    child = tracer.start("call", CLIENT, contexts[0], {}, is_remote=False)
    child.end()
    [record] = kept.spans
    assert contexts[0] is not None
    assert (record.trace_id, record.parent_id) == (contexts[0].trace_id, contexts[0].span_id)
    assert not record.has_remote_parent


def test_what_the_sampler_leaves_out_has_a_context_and_is_never_handed_on(kept: Kept):
    tracer = KeepingTracer(kept, Sampler(0, obeys_parent=True))
    span = tracer.start("post", SERVER, None, {})
    assert span.context is not None
    assert not span.context.is_sampled
    assert not span.is_kept
    span.set("a", 1)
    span.fail("late")
    span.link(PARENT)
    span.end()
    assert kept.spans == []
    assert tracer.start("process", CONSUMER, PARENT, {}).is_kept


def test_with_tracing_off_there_is_no_trace():
    span = OFF.start("post", SERVER, PARENT, {})
    assert span is NO_SPAN
    assert span.context is None


def test_a_long_text_is_cut(kept: Kept):
    span = KeepingTracer(kept).start("post", SERVER, None, clipped({"a": "x" * 999, "b": None, "c": ""}))
    span.set("d", "y" * 999)
    span.end()
    assert kept.spans[0].attributes == {"a": "x" * MAX_TEXT_LENGTH, "d": "y" * MAX_TEXT_LENGTH}


async def test_a_task_knows_its_own_span_and_an_error_fails_it(kept: Kept):
    tracer = KeepingTracer(kept)

    async def work(name: str) -> None:
        with within(tracer.start(name, CLIENT, None, {})) as span:
            await asyncio.sleep(0)
            assert current_span() is span
            raise TimeoutError(name)

    results = await asyncio.gather(work("one"), work("two"), return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError, TimeoutError]
    assert current_span() is NO_SPAN
    assert {(record.name, record.has_failed) for record in kept.spans} == {("one", True), ("two", True)}
    assert {record.attributes["error.type"] for record in kept.spans} == {"TimeoutError"}
