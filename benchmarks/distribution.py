"""How a time is spread over many alerts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHARES = (*range(0, 90, 5), *range(90, 99), *(99 + tenth / 10 for tenth in range(10)), 100)
"""Percent: the points of a curve."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the least of some sorted values that so many percent of them do not exceed: one that occurred."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True)
class Distribution:
    """The spread of at least one value."""

    count: int
    p50: float
    p90: float
    p99: float
    highest: float
    curve: list[tuple[float, float]]
    """Percent and value, for a plot."""

    @classmethod
    def of(cls, values: Iterable[float]) -> "Distribution":
        """Return the distribution of at least one value."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("there is no distribution of nothing")
        return cls(
            count=len(ordered),
            p50=percentile(ordered, 50),
            p90=percentile(ordered, 90),
            p99=percentile(ordered, 99),
            highest=ordered[-1],
            curve=[(share, round(percentile(ordered, share), 4)) for share in SHARES],
        )
