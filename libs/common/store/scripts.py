"""Runs the Lua scripts of `store/lua/`."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar

import hiredis
from redis.asyncio import Redis
from redis.exceptions import MovedError, NoScriptError, RedisError

from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.store.client import translate

Answer = TypeVar("Answer")

Command = tuple[str | bytes | int, ...]

# Its stub wants a tuple of one.
_PACK: Final[Callable[[Command], bytes]] = hiredis.pack_command  # type: ignore[assignment]


class Script:
    """One script: the shared prelude and one operation.

    Raises:
        FileNotFoundError: There is no such operation in `store/lua/`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = _read("prelude") + _read(name)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Redis, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """Run it once and return the raw reply.

        NOSCRIPT means that nothing was executed (a restart empties the cache), so only then it is sent again.

        Raises:
            StoreUnavailable: No answer, or a refusal that passes: assume nothing.
            StoreCorrupt: The script itself failed.
        """
        try:
            try:
                return await _call(client, "EVALSHA", self.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await _call(client, "EVAL", self.source, len(keys), *keys, *args)
        except (RedisError, OSError) as error:
            raise translate(error) from error


def read_each(
    reply: Sequence[Any], read: Callable[[Any], Answer | BridgeError]
) -> list[Answer | BridgeError]:
    """Return what each item's answer says; one that cannot be read, as its records hold junk, fails alone."""
    return [_read_one(answer, read) for answer in reply]


def _read_one(answer: Any, read: Callable[[Any], Answer | BridgeError]) -> Answer | BridgeError:
    try:
        return read(answer)
    except (ValueError, ArithmeticError, IndexError, TypeError) as error:
        return StoreCorrupt(f"an answer that cannot be read, {error}: {answer!r}"[:500])


async def _call(client: Redis, *command: str | bytes | int) -> Any:
    """Send one command as redis-py does, but packed in C.

    redis-py packs asynchronous commands in Python: with dozens of items in a call that was a sixth of all that
    admitting an alert costs.

    MOVED means that nothing was executed, and has the next connection lead to the right node of a cluster.
    """
    packed = _packed(command)
    try:
        return await _exchange(client, packed)
    except MovedError:
        return await _exchange(client, packed)


async def _exchange(client: Redis, packed: bytes) -> Any:
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it so
    try:
        # Each closes the connection when it fails or is cancelled, so that no reply is left for the next caller.
        await _send(connection, packed)
        return await connection.read_response()
    finally:
        await pool.release(connection)


async def _send(connection: Any, packed: bytes) -> None:
    """Send within the connection's time-out, at once.

    redis-py's own time-out would send from a task of its own on Python 3.11: after everything else that is ready to
    run, while Redis has nothing to do.
    """
    timeout_s, connection.socket_timeout = connection.socket_timeout, None
    try:
        async with asyncio.timeout(timeout_s):
            await connection.send_packed_command(packed)
    finally:
        connection.socket_timeout = timeout_s


def _packed(command: Command) -> bytes:
    try:
        return _PACK(command)
    except TypeError:
        # It takes no subclass of int, such as our durations.
        return _PACK(tuple(int(word) if isinstance(word, int) else word for word in command))


@cache
def _read(name: str) -> str:
    return files("libs.common.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
