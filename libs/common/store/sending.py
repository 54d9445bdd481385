"""How commands leave: packed in C, and at once."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import hiredis

Command = tuple[str | bytes | int, ...]

# Its stub wants a tuple of one.
_PACK: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]


def packed(command: Command) -> bytes:
    """Return a command as it is sent.

    redis-py packs asynchronous commands in Python: with dozens of items in a call that was a sixth of all that
    admitting an alert costs.
    """
    try:
        return _PACK(command)
    except TypeError:
        # It takes no subclass of int, such as our durations.
        return _PACK(tuple(int(word) if isinstance(word, int) else word for word in command))


async def send(connection: Any, command: bytes) -> None:
    """Send a packed command within the connection's time-out, at once.

    redis-py's own time-out would send from a task of its own on Python 3.11: after everything else that is ready to
    run, while Redis has nothing to do.
    """
    timeout_s, connection.socket_timeout = connection.socket_timeout, None
    try:
        async with asyncio.timeout(timeout_s):
            await connection.send_packed_command(command)
    finally:
        connection.socket_timeout = timeout_s
