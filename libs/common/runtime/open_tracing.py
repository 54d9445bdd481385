"""Tracing of one process, from its environment to its last span."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from libs.common.telemetry.span_metrics import SpanMetrics
from libs.common.telemetry.span_queue import SpanQueue
from libs.common.telemetry.span_record import Hello
from libs.common.telemetry.spans import OFF, KeepingTracer, Tracer
from libs.common.telemetry.tracing_settings import TracingSettings

PRODUCT: Final = "bascule"


@asynccontextmanager
async def open_tracing(
    name: str, settings: TracingSettings | None, environ: Mapping[str, str], registry: CollectorRegistry
) -> AsyncIterator[Tracer]:
    """Yield the tracer of a service, and see its last spans off.

    Args:
        name: Of the service.
        settings: None: tracing is off.
        environ: What the exporter is configured by.
        registry: For what is counted.
    """
    if settings is None:
        yield OFF
        return
    queue = SpanQueue(settings, hello_of(name), environ, SpanMetrics(registry))
    queue.start()
    try:
        yield KeepingTracer(queue, settings.sampler)
    finally:
        await queue.aclose()


def hello_of(name: str) -> Hello:
    """Return who a service is; another each time it is started."""
    # Slow to load, and not needed without tracing.
    from importlib.metadata import version
    from uuid import uuid4

    return Hello(f"{PRODUCT}-{name}", version(PRODUCT), str(uuid4()))
