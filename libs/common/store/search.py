"""Lists searched newest first, within bounds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from libs.common.store.streams import SCAN_AT_MOST

T = TypeVar("T")

Matches = Callable[[T], bool]


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a search found, newest first."""

    items: list[T]
    is_cut: bool
    """Whether it stopped looking before the end, so that there may be more."""


class Search(Generic[T]):
    """Keeps what matches until there is enough of it or too much was looked at."""

    def __init__(self, limit: int, matches: Matches[T]) -> None:
        self._limit = limit
        self._matches = matches
        self._items: list[T] = []
        self._looked_at = 0

    def is_over(self, candidates: list[T], looked_at: int) -> bool:
        """Take what matches of one page; tell whether to stop."""
        self._looked_at += looked_at
        self._items += [one for one in candidates if self._matches(one)]
        return len(self._items) >= self._limit or self._looked_at >= SCAN_AT_MOST

    def found(self) -> Found[T]:
        """Return what was kept."""
        is_cut = len(self._items) < self._limit and self._looked_at >= SCAN_AT_MOST
        return Found(self._items[: self._limit], is_cut)
