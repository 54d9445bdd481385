"""What came in and what became of it, on all shards that answer; what is missing is named."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.domain.errors import StoreUnavailable
from libs.common.policy.report import Asked, Tally
from libs.common.store.activity import Activity
from libs.common.store.fan_out import Spread
from libs.common.store.journal import Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """Of a period."""

    since_ms: int
    until_ms: int
    """Does not belong to it."""
    asked: Asked
    shards: int
    """How many were asked."""
    tally: Tally
    journal_begins_at_ms: Mapping[int, int]
    """Shards whose journal begins within the period, by their numbers: nothing older is known of them."""
    posts_begin_at_ms: Mapping[int, int]
    """Shards that had to drop older posts that were not admitted, and since when theirs are kept."""
    away: Mapping[int, StoreUnavailable]
    """Shards that did not answer, or not to the end; nothing of them is counted."""


def merge_activity(spread: Spread[Activity], asked: Asked, since_ms: int, until_ms: int) -> Report:
    """Return the report of all shards that answered.

    Raises:
        StoreUnavailable: None did.
        StoreCorrupt: What one holds cannot be read.
    """
    away, found = spread.away, spread.answers
    spread.need_any()
    tally = Tally(asked)
    # A post for accounts of several shards may leave a trace on each.
    told: set[str] = set()
    for one in found.values():
        tally.merge(one.tally)
        for post in one.posts:
            if post.event_id in told:
                continue
            if post.event_id:
                told.add(post.event_id)
            if post.outcome is Outcome.DUPLICATE:
                tally.count_duplicate(post.webhook)
            else:
                tally.count_refused(post.webhook, post.status, post.code)
    return Report(
        since_ms,
        until_ms,
        asked,
        len(away) + len(found),
        tally,
        {
            number: one.journal_begins_at_ms
            for number, one in found.items()
            if one.journal_begins_at_ms is not None
        },
        {number: one.posts_begin_at_ms for number, one in found.items() if one.posts_begin_at_ms is not None},
        away,
    )
