"""Waits until alerts have ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final

from libs.common.domain.errors import StoreBarred, StoreUnavailable

if TYPE_CHECKING:
    from libs.common.domain.ids import AlertId
    from libs.common.store.records import AlertRecord

POLL_S: Final = 0.05

ENDED_WELL: Final = frozenset({"EXECUTED", "SKIPPED"})
"""End states of an alert that did what it was meant to."""


async def until_ended(
    read: "Callable[[list[AlertId]], Awaitable[list[AlertRecord]]]",
    ids: "Iterable[AlertId]",
    timeout_ms: int,
) -> "list[AlertRecord]":
    """Return those of these alerts that are on record, once all of them have ended or the time is up.

    Args:
        read: Returns those of some alerts that are on record, of all shards or of the one that is concerned.
        ids: Of the alerts.
        timeout_ms: How long to wait.

    Raises:
        StoreUnavailable: No answer when the time was up; at once where Redis does not let us in.
    """
    names = list(dict.fromkeys(ids))
    deadline_s = time.monotonic() + timeout_ms / 1_000
    while True:
        is_over = time.monotonic() >= deadline_s
        try:
            records = await read(names)
            if is_over or all(record.has_ended for record in records):
                return records
        except StoreBarred:
            raise
        except StoreUnavailable:  # a restart of Redis passes
            if is_over:
                raise
        await asyncio.sleep(POLL_S)
