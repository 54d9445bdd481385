"""The registry that a service's metrics are declared in.

Each service has a module with one class: its constructor declares every metric, once, with its unit; its methods say
what happened, and take it as the caller has it. What has labels is bound at its first use, since a look-up costs more
than the count. Names are `bascule_` and the thing, counters end in `_total`. Symbols are never labels: there is no
bound on them.
"""

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)


def new_registry() -> CollectorRegistry:
    """Return a registry that already tells about the process itself."""
    # A second series for each counter that nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it so
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
