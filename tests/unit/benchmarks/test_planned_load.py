import pytest

from benchmarks.planned_load import Planned, Posted, Posts, post_as_planned
from benchmarks.scene import evenly_us, received_ms
from benchmarks.sink import Sink
from libs.common.domain.ids import alert_id


def test_every_post_is_made_once_when_it_is_due_and_never_before() -> None:
    planned = [Planned(due_us, "/p", b"{}") for due_us in evenly_us(200, 2_000)]

    with Sink() as sink:
        posts = post_as_planned(sink.port, planned, connections=4)

    posts.require_all_taken()
    assert len(posts.posted) == 200
    first_us = posts.posted[0].due_us
    # Due times are told on another clock than they are kept by: they may differ by a moment.
    assert [post.due_us - first_us for post in posts.posted] == pytest.approx(
        [post.due_us for post in planned], abs=1_000
    )
    assert all(post.due_us <= post.sent_us <= post.acked_us for post in posts.posted)


def test_a_post_that_finds_every_connection_busy_waits_and_keeps_its_due_time() -> None:
    with Sink() as sink:
        posts = post_as_planned(sink.port, [Planned(0, "/p", b"{}")] * 50, connections=1)

    assert max(post.due_us for post in posts.posted) - min(post.due_us for post in posts.posted) < 1_000
    for before, after in zip(posts.posted, posts.posted[1:], strict=False):
        assert after.sent_us >= before.acked_us


def test_an_alert_that_was_not_taken_ends_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="1 of 2 alerts"):
        Posts([Posted(0, 0, 0, 200, "a"), Posted(0, 0, 0, 503, "")], 0.0).require_all_taken()


def test_an_alert_id_tells_when_the_ingress_received_it() -> None:
    assert received_ms(alert_id(1_785_000_000_123, b"\xff" * 10)) == 1_785_000_000_123
