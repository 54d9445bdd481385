"""Ids for what comes in."""

import os
from collections.abc import Iterator
from typing import Final

from libs.common.domain.ids import CHANCE_LENGTH, AlertId, EventId, alert_id_of, id_chances, id_time

_IDS_PER_CALL: Final = 512


class FreshIds:
    """Makes ids that nobody else has."""

    def __init__(self) -> None:
        self._chances = _chances()
        self._at_ms = 0
        self._time = id_time(0)

    def alert_id(self, at_ms: int) -> AlertId:
        """Return an id for an alert that came at this time."""
        if at_ms != self._at_ms:
            self._at_ms, self._time = at_ms, id_time(at_ms)
        return alert_id_of(self._time, next(self._chances))

    def event_id(self, at_ms: int) -> EventId:
        """Return an id for a post that was refused at this time."""
        return EventId(self.alert_id(at_ms))


def _chances() -> Iterator[str]:
    """Yield the random parts of ids; the system is asked for many at once: asking is dear."""
    while True:
        pool = id_chances(os.urandom(CHANCE_LENGTH * _IDS_PER_CALL))
        for start in range(0, len(pool), CHANCE_LENGTH):
            yield pool[start : start + CHANCE_LENGTH]
