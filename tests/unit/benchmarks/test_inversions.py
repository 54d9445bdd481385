import pytest

from benchmarks.inversions import count_inverted, count_overtaken, lanes_of
from benchmarks.planned_load import Posted


def entry(event: str, alert: str, lane: str = "a") -> tuple[str, dict[str, str]]:
    return "1-0", {"event": event, "alert": alert, "lane": lane}


def test_each_lane_has_the_order_of_the_journal() -> None:
    journal = [entry("QUEUED", "1"), entry("SENDING", "1"), entry("QUEUED", "2", "b"), entry("QUEUED", "3")]

    assert lanes_of(journal, "QUEUED") == {"a": ["1", "3"], "b": ["2"]}


@pytest.mark.parametrize(
    ("met", "inverted"),
    [
        ({"a": ["1", "2", "3"], "b": ["4"]}, 0),
        ({"a": ["2", "1", "3"], "b": ["4"]}, 2),
        ({"a": ["1", "2"]}, 0),  # what is missing is lost, which is counted by itself
    ],
)
def test_what_stands_elsewhere_than_in_its_queue_is_inverted(met, inverted) -> None:
    assert count_inverted({"a": ["1", "2", "3"], "b": ["4"]}, met) == inverted


@pytest.mark.parametrize(
    ("queue", "overtaken"),
    [
        (["first", "second"], 0),
        (["second", "first"], 1),  # answered before the one ahead of it was sent
        (["second", "beside"], 0),  # under way at the same time: either order is right
        (["beside", "second"], 0),
    ],
)
def test_an_alert_that_was_answered_before_another_was_sent_stands_before_it(queue, overtaken) -> None:
    posted = [
        Posted(0, 0, 10, 200, "first"),
        Posted(0, 20, 30, 200, "second"),
        Posted(0, 25, 40, 200, "beside"),
    ]

    assert count_overtaken({"a": queue}, posted) == overtaken
