"""Counters with labels, as our metrics keep them."""

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter


def labelled_counter(
    registry: CollectorRegistry, name: str, documentation: str, *labels: str
) -> Callable[..., Counter]:
    """Return what gives the counter for values of its labels, in their order; each is looked up but once.

    The values of a label must be a small set: none is ever dropped.
    """
    return cache(Counter(name, documentation, labels, registry=registry).labels)
