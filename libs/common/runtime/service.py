"""The life of a service process: it runs until a signal asks it to drain, and says by its exit code how it ended."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

from libs.common.domain.errors import ConfigError
from libs.common.telemetry.logs import get_logger

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""A service: it returns once it has drained after the event was set."""


def run_service(name: str, main: Main) -> int:
    """Run `main` until it returns and return the exit code of the process.

    The first SIGTERM or SIGINT sets the event that `main` was given; a second one cancels it.

    Returns:
        0 where `main` returned; 1 where it raised: one line on stderr for a `ConfigError`, else a log event.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_supervise(main))
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


async def _supervise(main: Main) -> None:
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
        await main(stopping)
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    get_logger().info("service_stopped")
