"""How full Redis and its lanes may be for alerts to be taken."""

from collections.abc import Callable
from typing import Final

REOPENS_AT: Final = 0.95
"""The part of the configured share below which alerts are taken again, so that a full Redis is not full and free by turns."""

FREE_AFTER_MS: Final = 30_000
"""After so long below the share it is free all the same: what keeps it up may be history, which stays for days."""

PLENTY_BYTES: Final = 64 * 2**20
"""With so much to the bound there is plenty: what was heard then holds for a while."""

HOLDS_MS: Final = 100
"""How long it holds. Nobody fills as much meanwhile: a Redis that does nothing else takes 7 MB of alerts of ordinary
size, and 20 MB of the longest."""


class Room:
    """Holds what Redis says of its memory against what may be used, and remembers whether it was too much."""

    def __init__(self, *, memory: float, backlog: int) -> None:
        """Args:
        memory: The share of its memory from which on Redis is full.
        backlog: The most entries in one lane.
        """
        self._memory = memory
        self.backlog = backlog
        self.on_change: Callable[[], None] = lambda: None
        """Called when it has become full, and when it is full no more."""
        self.is_full = False
        self.share = 0.0
        """Of its memory, as last heard; 0 where it does not say."""
        self._used_bytes = self._of_bytes = 0
        self._heard_at_ms: int | None = None
        """Monotonic."""
        self._below_since_ms: int | None = None
        """Since when it has been below the share, monotonic."""

    @property
    def bound(self) -> float:
        """Return the share from which on nothing is taken now."""
        return self._memory * REOPENS_AT if self.is_full else self._memory

    @property
    def words(self) -> str:
        """Return what is used and what may be, in words."""
        return f"Redis uses {self.share:.1%} of its memory, and alerts are taken below {self.bound:.1%} of it"

    def must_be_asked(self, at_ms: int) -> bool:
        """Tell whether Redis must be asked at a monotonic time: there is not plenty, or not known whether there is."""
        if self._heard_at_ms is None or at_ms - self._heard_at_ms >= HOLDS_MS:
            return True
        return self._of_bytes > 0 and self.bound * self._of_bytes - self._used_bytes < PLENTY_BYTES

    def learn(self, used_bytes: int, of_bytes: int, at_ms: int) -> None:
        """Note what is used of what there is, at a monotonic time; `of_bytes` 0: it does not say."""
        self.share = used_bytes / of_bytes if of_bytes else 0.0
        self._used_bytes, self._of_bytes, self._heard_at_ms = used_bytes, of_bytes, at_ms
        is_full = self.share >= self.bound
        if self.share >= self._memory:
            self._below_since_ms = None
        elif self._below_since_ms is None:
            self._below_since_ms = at_ms
        elif at_ms - self._below_since_ms >= FREE_AFTER_MS:
            is_full = False
        if is_full != self.is_full:
            self.is_full = is_full
            self.on_change()
