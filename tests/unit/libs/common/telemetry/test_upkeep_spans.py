import pytest

from libs.common.telemetry.span_record import INTERNAL, PRODUCER
from libs.common.telemetry.spans import KeepingTracer
from libs.common.telemetry.upkeep_spans import note_expired, note_reclaim, replay_record
from libs.common.wire.trace_context import TraceContext
from tests.support.kept_spans import Kept

CONTEXT = TraceContext("a" * 32, "b" * 16, True)
POST = CONTEXT.traceparent
AGAIN = "00-" + "c" * 32 + "-" + "d" * 16 + "-01"
ORIGIN = ("a" * 32, "b" * 16)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_a_reclaim_is_a_child_of_the_post_and_linked_to_it(kept: Kept):
    note_reclaim(KeepingTracer(kept), CONTEXT, "alert00001", "desk", 2)
    [record] = kept.spans
    assert (record.name, record.kind, record.has_failed) == ("reclaim alerts", INTERNAL, False)
    assert (record.trace_id, record.parent_id, record.links) == (*ORIGIN, (ORIGIN,))
    assert record.attributes == {
        "bascule.alert_id": "alert00001",
        "bascule.account": "desk",
        "bascule.lost_holders": 2,
        "bascule.outcome": "reclaimed",
    }


def test_an_expiry_is_a_child_of_the_post_that_failed(kept: Kept):
    note_expired(KeepingTracer(kept), CONTEXT, "alert00001", "desk", "BTCUSDT")
    [record] = kept.spans
    assert (record.name, record.kind, record.has_failed) == ("expire alerts", INTERNAL, True)
    assert (record.trace_id, record.parent_id, record.links) == (*ORIGIN, (ORIGIN,))
    assert record.attributes == {
        "bascule.alert_id": "alert00001",
        "bascule.account": "desk",
        "bascule.market": "BTCUSDT",
        "bascule.outcome": "EXPIRED",
        "bascule.reason": "too_old",
        "error.type": "too_old",
    }


def test_what_befalls_a_trace_that_nobody_keeps_is_not_kept(kept: Kept):
    unkept = TraceContext("a" * 32, "b" * 16, False)
    note_reclaim(KeepingTracer(kept), unkept, "alert00001", "desk", 1)
    note_expired(KeepingTracer(kept), unkept, "alert00001", "desk", "BTCUSDT")
    assert kept.spans == []
    assert replay_record(unkept.traceparent, POST, "alert00001", "desk", 1, 2) is None


def test_a_replay_begins_its_trace_and_is_linked_to_the_one_before():
    record = replay_record(AGAIN, POST, "alert00001", "desk", 1, 2)
    assert record is not None
    assert (record.name, record.kind, record.parent_id) == ("replay alerts", PRODUCER, "")
    assert (record.trace_id, record.span_id, record.links) == ("c" * 32, "d" * 16, (ORIGIN,))
    assert (record.started_at_ns, record.ended_at_ns) == (1, 2)


def test_a_replay_of_what_was_never_traced_is_linked_to_nothing():
    record = replay_record(AGAIN, "", "alert00001", "desk", 1, 2)
    assert record is not None
    assert record.links == ()
