"""Runs the Lua scripts of `store/lua/`."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import MovedError, NoScriptError, RedisError, ResponseError

from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.store.client import translate
from libs.common.store.copies import Copies
from libs.common.store.pipe import Pipe
from libs.common.store.routing import electable_of
from libs.common.store.sending import exchange, packed, send

Answer = TypeVar("Answer")

PARTS: Final = dict.fromkeys(("begin", "settle", "take"), ("intent",))
"""Of `store/lua/` as well: what a script shares with another one, besides the prelude."""


class Script:
    """One script: the shared prelude, the parts that it shares with another script, and one operation.

    Raises:
        FileNotFoundError: There is no such operation in `store/lua/`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = "".join(_read(one) for one in ("prelude", *PARTS.get(name, ()), name))
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def run(
        self,
        client: Redis | Pipe,
        keys: Sequence[str],
        args: Sequence[str | bytes | int],
        *,
        copies: Copies | None = None,
    ) -> Any:
        """Run it once and return the raw reply.

        NOSCRIPT means that nothing was executed (a restart empties the cache), so only then it is sent again.

        Args:
            client: Where.
            keys: Its keys.
            args: Its arguments.
            copies: Replicas that must have what it wrote before the reply counts.

        Raises:
            StoreUnavailable: No answer, or a refusal that passes, or too few replicas: assume nothing.
            StoreCorrupt: The script itself failed.
        """
        try:
            try:
                return await _call(client, copies, "EVALSHA", self.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await _call(client, copies, "EVAL", self.source, len(keys), *keys, *args)
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


async def _call(client: Redis | Pipe, copies: Copies | None, *command: str | bytes | int) -> Any:
    """Send one command.

    MOVED means that nothing was executed, and has the next connection lead to the right node of a cluster. What goes
    down a pipe is not sent again: it could come behind what was sent after it.
    """
    words = packed(command)
    if isinstance(client, Pipe):
        return await client.call(words) if copies is None else await client.call_copied(words, copies)
    try:
        return await _exchange(client, words, copies)
    except MovedError:
        return await _exchange(client, words, copies)


async def _exchange(client: Redis, words: bytes, copies: Copies | None) -> Any:
    if copies is None:
        return await exchange(client, words)
    pool = client.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it so
    try:
        electable = electable_of(connection)
        asked = copies.asked(electable())
        await send(connection, words + asked.words)
        reply, *rest = await _read_all(connection, 1 + asked.count)
        if isinstance(reply, RedisError):
            raise reply
        electable()  # of the same server still
        copies.judge(asked, rest)
        return reply
    finally:
        await pool.release(connection)


async def _read_all(connection: Any, count: int) -> list[Any]:
    """Return so many replies, errors among them as they came."""
    replies: list[Any] = []
    while len(replies) < count:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
            if not connection.is_connected:
                raise
    return replies


@cache
def _read(name: str) -> str:
    return files("libs.common.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
