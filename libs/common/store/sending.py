"""How commands leave, packed in C and at once, and how the reply to one comes back."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import hiredis
from redis.asyncio import Redis

Command = tuple[str | bytes | int, ...]

_AT_ONCE: Final = 32_768
"""Bytes that a connection takes without waiting: transports hold callers back from 64 KiB on."""

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


async def exchange(client: Redis, words: bytes) -> Any:
    """Send a packed command on a connection of its own and return the reply as it came.

    redis-py's own way packs in Python, and prepares for retries and metrics that nobody wants: it takes twice as long.

    Args:
        client: Its time-out bounds the sending, and then the wait for the reply.
        words: The command.

    Raises:
        RedisError, OSError: As redis-py raises them; see `translate`.
    """
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it so
    try:
        # Each closes the connection when it fails or is cancelled, so that no reply is left for the next caller.
        await send(connection, words)
        return await connection.read_in_time()
    finally:
        await pool.release(connection)


async def send(connection: Any, command: bytes) -> None:
    """Send a packed command within the connection's time-out, at once.

    redis-py's own time-out would send from a task of its own on Python 3.11: after everything else that is ready to
    run, while Redis has nothing to do.

    Args:
        connection: Where.
        command: One, or several.
    """
    timeout_s, connection.socket_timeout = connection.socket_timeout, None
    try:
        if connection.unsent_bytes() + len(command) <= _AT_ONCE:
            await connection.send_packed_command(command)
            return
        async with asyncio.timeout(timeout_s):
            await connection.send_packed_command(command)
    finally:
        connection.socket_timeout = timeout_s
