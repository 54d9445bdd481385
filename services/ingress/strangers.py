"""Who fails to prove itself, and how often; so that their posts cannot push out what operators want to see.

Nobody is refused for it: all users of TradingView share four addresses, so a stranger's posts come from where ours do.
"""

from collections import OrderedDict
from typing import Final

from libs.common.domain.clock import Clock

RECORDED_AT_ONCE: Final = 100
RECORDED_EVERY_MS: Final = 2_000
MAX_SOURCES: Final = 1_000
"""Sources that are told apart; the one that was silent longest is forgotten first."""


class _Source:
    __slots__ = ("failures", "full_at_ms")

    def __init__(self) -> None:
        self.failures = 0
        self.full_at_ms = 0


class Strangers:
    """Counts failures by source, and says which of them are still recorded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def fail(self, source: str) -> int:
        """Count one more failed credential of a source; return how many that makes."""
        found = self._find(source)
        found.failures += 1
        return found.failures

    def may_record(self, source: str) -> bool:
        """Tell whether one more post of a source that proved nothing is recorded, and count it."""
        found = self._find(source)
        now_ms = self._clock.monotonic_ms()
        full_at_ms = max(found.full_at_ms, now_ms) + RECORDED_EVERY_MS
        if full_at_ms - now_ms > RECORDED_AT_ONCE * RECORDED_EVERY_MS:
            return False
        found.full_at_ms = full_at_ms
        return True

    def _find(self, source: str) -> _Source:
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = _Source()
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(source)
        return found
