"""Who fails to prove itself, and how often; so that their posts cannot push out what operators want to see.

Nobody is refused for it: all users of TradingView share four addresses, so a stranger's posts come from where ours do.
"""

from collections import OrderedDict
from typing import Final

from libs.common.domain.clock import Clock

RECORDED_AT_ONCE: Final = 100
RECORDED_EVERY_MS: Final = 2_000
"""Of one source."""
ALL_RECORDED_AT_ONCE: Final = 300
ALL_RECORDED_EVERY_MS: Final = 60_000
"""Of all sources together: whoever has many addresses must not push out what the others left."""
MAX_SOURCES: Final = 1_000
"""Sources that are told apart; the one that was silent longest is forgotten first."""


class _Source:
    __slots__ = ("failures", "full_at_ms")

    def __init__(self) -> None:
        self.failures = 0
        self.full_at_ms = 0

    def after_one_more(self, now_ms: int, every_ms: int, at_once: int) -> int | None:
        """Return when its bucket would be full after one more; None where it holds no more."""
        full_at_ms = max(self.full_at_ms, now_ms) + every_ms
        return None if full_at_ms - now_ms > at_once * every_ms else full_at_ms


class Strangers:
    """Counts failures by source, and says which of them are still recorded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._all = _Source()

    def fail(self, source: str) -> int:
        """Count one more failed credential of a source; return how many that makes."""
        found = self._find(source)
        found.failures += 1
        return found.failures

    def may_record(self, source: str) -> bool:
        """Tell whether one more post of a source that proved nothing is recorded, and count it."""
        own, now_ms = self._find(source), self._clock.monotonic_ms()
        own_ms = own.after_one_more(now_ms, RECORDED_EVERY_MS, RECORDED_AT_ONCE)
        all_ms = self._all.after_one_more(now_ms, ALL_RECORDED_EVERY_MS, ALL_RECORDED_AT_ONCE)
        if own_ms is None or all_ms is None:
            return False
        own.full_at_ms, self._all.full_at_ms = own_ms, all_ms
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
