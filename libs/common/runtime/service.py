"""The life of a service process: it runs until a signal asks it to drain, and says by its exit code how it ended."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import uvloop
from prometheus_client import CollectorRegistry

from libs.common.domain.clock import Clock
from libs.common.domain.errors import ConfigError
from libs.common.runtime.known_secrets import known_secrets
from libs.common.runtime.load_settings import settings_from_environment
from libs.common.runtime.open_tracing import open_tracing
from libs.common.runtime.settings import Settings
from libs.common.runtime.system_clock import SystemClock
from libs.common.telemetry.logs import configure_logs, get_logger
from libs.common.telemetry.registry import new_registry
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.tracing_settings import TracingSettings, exporter_secrets, tracing_settings
from libs.common.wire.masking import Masker

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

_THREADS: Final = "UV_THREADPOOL_SIZE"
_THREADS_AT_LEAST: Final = "32"
"""Half of libuv's threads look up names, by itself two: a pair of lookups that hang would keep us from finding Redis."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Process:
    """What every process of ours has."""

    name: str
    masker: Masker
    """Knows every secret that the process was given; the log goes through it."""
    registry: CollectorRegistry
    """Its metrics."""
    clock: Clock
    stopping: asyncio.Event
    """Set once it is to drain and return."""

    def started(self, **facts: Any) -> None:
        """Say that everything is up, and on which ports."""
        _spare_collector()
        get_logger().info("service_started", **facts)


@dataclass(frozen=True, slots=True)
class Service(Process):
    """A process that goes by the configuration file."""

    settings: Settings
    tracer: Tracer = OFF


S = TypeVar("S")

Main = Callable[[Service], Coroutine[Any, Any, None]]
"""A service: it returns once it has drained after `stopping` was set."""


def run_service(name: str, main: Main, environ: Mapping[str, str]) -> int:
    """Run `main` with the settings of the configuration file; see `run_process`.

    Args:
        name: Stands on every line of the log.
        main: The service.
        environ: Names the file with the settings, holds the secrets, and says whether spans are exported.
    """

    async def run(process: Process, loaded: tuple[Settings, TracingSettings | None]) -> None:
        settings, tracing = loaded
        async with open_tracing(process.name, tracing, environ, process.registry) as tracer:
            await main(
                Service(
                    process.name,
                    process.masker,
                    process.registry,
                    process.clock,
                    process.stopping,
                    settings,
                    tracer,
                )
            )

    return run_process(
        name,
        run,
        load=lambda: (settings_from_environment(environ), tracing_settings(environ)),
        secrets_of=lambda loaded: known_secrets(loaded[0], environ) | exporter_secrets(environ),
    )


def run_process(
    name: str,
    main: Callable[[Process, S], Coroutine[Any, Any, None]],
    *,
    load: Callable[[], S],
    secrets_of: Callable[[S], Iterable[str]],
) -> int:
    """Run `main` until it returns and return the exit code of the process.

    The first SIGTERM or SIGINT sets `stopping`; a second one cancels `main`.

    Args:
        name: Stands on every line of the log.
        main: What to run; it returns once it has drained after `stopping` was set.
        load: Returns its settings.
        secrets_of: Returns what in them must never show.

    Returns:
        0 where `main` returned; 1 where it raised: one line on stderr for a `ConfigError`, else a log event.
    """
    os.environ.setdefault(_THREADS, _THREADS_AT_LEAST)
    try:
        settings = load()
        masker = Masker(secrets_of(settings))
        configure_logs(name, mask=masker.mask_text)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_supervise(name, masker, lambda process: main(process, settings)))
    except ConfigError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_FAILED
    except asyncio.CancelledError:
        get_logger().warning("service_aborted")
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever it was, it ends the process
        get_logger().error("service_failed", error=repr(error), exc_info=True)
        return EXIT_FAILED
    return EXIT_OK


async def _supervise(name: str, masker: Masker, main: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
    stopping = asyncio.Event()
    running = asyncio.current_task()
    assert running is not None
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stopping.is_set():
            running.cancel()
            return
        get_logger().info("service_stopping", signal=number.name)
        stopping.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await main(Process(name, masker, new_registry(), SystemClock(), stopping))
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    get_logger().info("service_stopped")


def _spare_collector() -> None:
    # What start-up made lives as long as the process, and alerts leave next to no cycles behind: look seldom, and never
    # through all of it again: that stopped a busy worker for 50 ms.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
