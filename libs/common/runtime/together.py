"""Running the parts of a service side by side."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_together(stopping: asyncio.Event, *parts: Coroutine[Any, Any, None]) -> None:
    """Run parts until all have ended; where one fails, have the others stop, and raise its error.

    Args:
        stopping: Ends every part; set where one fails.
        parts: At least one.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        _, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if running:
            stopping.set()
            await asyncio.wait(running)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    for task in tasks:
        task.result()
