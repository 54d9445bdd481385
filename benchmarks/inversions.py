"""Whether alerts overtook one another. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from benchmarks.planned_load import Posted

Journal = Iterable[tuple[str, Mapping[str, str]]]
"""Entries, oldest first."""


def lanes_of(journal: Journal, event: str) -> dict[str, list[str]]:
    """Return the alerts of each lane that met an event, in the order in which they met it."""
    lanes: dict[str, list[str]] = defaultdict(list)
    for _, fields in journal:
        if fields["event"] == event:
            lanes[fields["lane"]].append(fields["alert"])
    return dict(lanes)


def count_inverted(queued: Mapping[str, list[str]], met: Mapping[str, list[str]]) -> int:
    """Return how many alerts stand elsewhere in `met` than in the queue of their lane."""
    return sum(
        first != second
        for lane, alerts in queued.items()
        for first, second in zip(alerts, met.get(lane, []), strict=False)
    )


def count_overtaken(queued: Mapping[str, list[str]], posted: Iterable[Posted]) -> int:
    """Return how many alerts were answered before one was sent that stands before them in the queue of their lane."""
    posts = {post.alert_id: post for post in posted}
    overtaken = 0
    for alerts in queued.values():
        latest_sent_us = 0
        for alert in alerts:
            overtaken += posts[alert].acked_us < latest_sent_us
            latest_sent_us = max(latest_sent_us, posts[alert].sent_us)
    return overtaken
