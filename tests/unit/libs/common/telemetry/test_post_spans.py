import pytest

from libs.common.telemetry.post_spans import (
    end_admitted,
    end_broken,
    end_refused,
    note_alert,
    note_declined,
    note_sender,
    start_post,
)
from libs.common.telemetry.span_record import SERVER, SpanRecord
from libs.common.telemetry.spans import KeepingTracer, Span
from tests.support.kept_spans import Kept

SENDERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def span(kept: Kept) -> Span:
    return start_post(KeepingTracer(kept), "default", is_named=False)


def the(kept: Kept) -> SpanRecord:
    [record] = kept.spans
    return record


@pytest.mark.parametrize(
    ("is_named", "name", "route"),
    [(False, "POST /webhook", "/webhook"), (True, "POST /hooks/{token}", "/hooks/{token}")],
)
def test_a_post_is_named_by_its_route_and_not_by_its_url(kept: Kept, is_named: bool, name: str, route: str):
    start_post(KeepingTracer(kept), "default", is_named=is_named).end()
    record = the(kept)
    assert (record.name, record.kind, record.parent_id) == (name, SERVER, "")
    assert record.attributes == {
        "http.request.method": "POST",
        "http.route": route,
        "bascule.webhook": "default",
    }


def test_an_admitted_post_says_its_alert_and_who_declines_it(kept: Kept, span: Span):
    note_alert(span, "alert00001", "BTCUSDT", None)
    note_declined(span, [("desk", "unknown_symbol"), ("second", "not_allowed")])
    end_admitted(span)
    attributes = the(kept).attributes
    assert attributes["bascule.alert_id"] == "alert00001"
    assert attributes["bascule.outcome"] == "admitted"
    assert attributes["bascule.declined"] == "desk=unknown_symbol second=not_allowed"
    assert "bascule.strategy" not in attributes


def test_a_post_that_every_account_takes_says_nothing_of_declining(kept: Kept, span: Span):
    note_declined(span, [])
    end_admitted(span)
    assert "bascule.declined" not in the(kept).attributes


def test_a_duplicate_says_the_alert_that_came_first(kept: Kept, span: Span):
    note_alert(span, "its-own", "BTCUSDT", "golden")
    end_admitted(span, "the-first")
    attributes = the(kept).attributes
    assert (attributes["bascule.outcome"], attributes["bascule.alert_id"]) == ("duplicate", "the-first")


@pytest.mark.parametrize(("status", "has_failed"), [(422, False), (429, False), (500, True), (503, True)])
def test_a_refused_post_has_failed_where_the_fault_is_ours(
    kept: Kept, span: Span, status: int, has_failed: bool
):
    end_refused(span, status, "some_code")
    record = the(kept)
    assert record.has_failed is has_failed
    assert record.attributes["http.response.status_code"] == status
    assert record.attributes["bascule.reason"] == "some_code"


def test_a_post_that_met_an_error_nobody_expected_has_failed_by_its_kind(kept: Kept, span: Span):
    end_broken(span, KeyError("what a sender wrote"))
    record = the(kept)
    assert (record.has_failed, record.attributes["error.type"]) == (True, "KeyError")
    assert "what a sender wrote" not in repr(record)


@pytest.mark.parametrize(
    ("traceparent", "links"),
    [(SENDERS, ((SENDERS[3:35], SENDERS[36:52]),)), ("00-nonsense", ()), (None, ())],
)
def test_a_sender_is_linked_to_and_never_followed(
    kept: Kept, span: Span, traceparent: str | None, links: tuple[tuple[str, str], ...]
):
    note_sender(span, traceparent)
    span.end()
    assert the(kept).links == links
    assert the(kept).trace_id != SENDERS[3:35]
