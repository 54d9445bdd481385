"""How numbers are spread: a few at hand, or any number of them in little memory."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

_KEPT_BITS: Final = 11
"""Of a large number; the rest is dropped."""

EXACT_BELOW: Final = 1 << _KEPT_BITS
"""Numbers closer to zero are kept exactly; others are told at most one in 2,048 of themselves off."""


def quantile(values: Sequence[int], share: float) -> int:
    """Return the least of the values that this share of them does not exceed; of none 0."""
    if not values:
        return 0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


class Distribution:
    """Counts whole numbers, and tells how they are spread.

    It holds one count for each number up to 2,048, and 1,024 for each doubling beyond.
    """

    __slots__ = ("count", "counts", "largest", "smallest")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        """By the number, large ones rounded."""
        self.count = 0
        self.smallest: int | None = None
        """Exact; None where nothing was counted."""
        self.largest: int | None = None
        """The same."""

    def add(self, value: int) -> None:
        """Count one number."""
        self.counts[value if -EXACT_BELOW < value < EXACT_BELOW else _rounded(value)] += 1
        self.count += 1
        if self.smallest is None or value < self.smallest:
            self.smallest = value
        if self.largest is None or value > self.largest:
            self.largest = value

    def merge(self, other: "Distribution") -> None:
        """Count all that another one has counted."""
        self.counts.update(other.counts)
        self.count += other.count
        for value in (other.smallest, other.largest):
            if value is not None:
                self.smallest = value if self.smallest is None else min(self.smallest, value)
                self.largest = value if self.largest is None else max(self.largest, value)

    def percentile(self, per_mille: int) -> int | None:
        """Return the smallest counted number that at least so many of all are not above; None where there are none.

        Args:
            per_mille: Of all that were counted, 1 to 1,000: 500 asks for the median.

        Returns:
            A number that was counted, or one at most a 2,048th of it off where that is 2,048 away from zero or more.
        """
        if self.smallest is None or self.largest is None:
            return None
        rank = -(-self.count * per_mille // 1_000)
        for value in sorted(self.counts):
            rank -= self.counts[value]
            if rank <= 0:
                return min(max(value, self.smallest), self.largest)
        return self.largest


def _rounded(value: int) -> int:
    """Return the middle of the numbers that a large one is counted with."""
    if value < 0:
        return -_rounded(-value)
    dropped = value.bit_length() - _KEPT_BITS
    return (value >> dropped << dropped) + (1 << dropped >> 1)
