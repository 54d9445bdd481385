"""Counters with labels, and histograms, of what happens in one thread: without a lock, a fifth of the cost."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import inf

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Count:
    """One series of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, times: int = 1) -> None:
        """Count so many more; 0 says that there were none."""
        self.value += times


class LabelledCounter(Collector):
    """A counter for each combination of its labels' values, which must be a small set: none is ever dropped."""

    def __init__(self, registry: CollectorRegistry, name: str, documentation: str, *labels: str) -> None:
        """Args:
        registry: Shows it.
        name: Ends in `_total`.
        documentation: Shown with it.
        labels: Their names.
        """
        self._name = name
        self._documentation = documentation
        # Named as in the library's own, for whoever looks at both.
        self._labelnames = labels
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def of(self, *values: str) -> Count:
        """Return the counter for values of its labels, in their order."""
        return self._counts.setdefault(values, Count())

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Yield what it is."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield what was counted."""
        (family,) = self.describe()
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class Histogram(Collector):
    """How often values were within bounds, and their sum."""

    def __init__(
        self, registry: CollectorRegistry, name: str, documentation: str, bounds: Sequence[float]
    ) -> None:
        """Args:
        registry: Shows it.
        name: Ends in its unit.
        documentation: Shown with it.
        bounds: Of its buckets, rising; a value that is one is within it. Above the last there is one more.
        """
        self._name = name
        self._documentation = documentation
        self._bounds = (*bounds, inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        """Note one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield what it is."""
        yield HistogramMetricFamily(self._name, self._documentation)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what was noted."""
        names = map(floatToGoString, self._bounds)
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)
