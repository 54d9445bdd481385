"""How full Redis and its lanes may be for alerts to be taken."""

from collections.abc import Callable
from typing import Final

REOPENS_AT: Final = 0.95
"""The part of the configured share below which alerts are taken again, so that a full Redis is not full and free by turns."""


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

    @property
    def bound(self) -> float:
        """Return the share from which on nothing is taken now."""
        return self._memory * REOPENS_AT if self.is_full else self._memory

    @property
    def words(self) -> str:
        """Return what is used and what may be, in words."""
        return f"Redis uses {self.share:.1%} of its memory, and alerts are taken below {self.bound:.1%} of it"

    def learn(self, used_bytes: int, of_bytes: int) -> None:
        """Note what is used of what there is; `of_bytes` 0: it does not say."""
        self.share = used_bytes / of_bytes if of_bytes else 0.0
        is_full = self.share >= self.bound
        if is_full != self.is_full:
            self.is_full = is_full
            self.on_change()
