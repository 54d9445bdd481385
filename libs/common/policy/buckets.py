"""What the buckets of a histogram tell of percentiles."""

import math
from collections.abc import Mapping


def estimate(buckets: Mapping[float, float], share: float) -> float | None:
    """Return a percentile as the buckets of a histogram let one guess it; None where nothing was counted.

    The true one lies in the same bucket as what is returned; within it values are taken to be spread evenly.

    Args:
        buckets: Upper bound -> values that are not above it, those of all lower buckets among them; the last bound is
            infinity. Of histograms with unlike bounds that were added up, counts may fall; the highest so far holds.
        share: Of all values, above 0 and below 1: 0.99 asks for the 99th percentile.

    Returns:
        A value in the unit of the bounds; beyond the last finite bound that bound, which the true one is above then.

    Source:
        `histogram_quantile` of Prometheus, for bounds above 0.
    """
    total = max(buckets.values(), default=0)
    if total <= 0:
        return None
    rank = share * total
    lower, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= rank:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        if not math.isinf(bound):
            lower, below = bound, max(below, count)
    return lower
