"""Ids for what comes in."""

import os
from collections.abc import Iterator
from typing import Final

from libs.common.domain import ids
from libs.common.domain.ids import AlertId, EventId

_ENTROPY_BYTES: Final = 10
_IDS_PER_CALL: Final = 512


class FreshIds:
    """Makes ids that nobody else has."""

    def __init__(self) -> None:
        self._entropy = _entropy()

    def alert_id(self, at_ms: int) -> AlertId:
        """Return an id for an alert that came at this time."""
        return ids.alert_id(at_ms, next(self._entropy))

    def event_id(self, at_ms: int) -> EventId:
        """Return an id for a post that was refused at this time."""
        return EventId(self.alert_id(at_ms))


def _entropy() -> Iterator[bytes]:
    """Yield a few random bytes at a time, of which the system is asked for many at once: asking is dear."""
    while True:
        pool = os.urandom(_ENTROPY_BYTES * _IDS_PER_CALL)
        for start in range(0, len(pool), _ENTROPY_BYTES):
            yield pool[start : start + _ENTROPY_BYTES]
