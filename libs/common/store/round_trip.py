"""Many small questions in one round trip."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.store.client import translate
from libs.common.store.sending import Command, packed, send


async def ask_many(client: Redis, commands: Sequence[Command]) -> list[Any]:
    """Return the replies to commands that only read, as they came.

    It takes half the processor time of a pipeline of redis-py, which packs in Python and bounds each reply by itself.

    Args:
        client: Its time-out bounds the sending, and then all replies together.
        commands: Some hundred at most, so that all replies fit into the time-out.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: A key is of another type.
    """
    if not commands:
        return []
    try:
        connection = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            await send(connection, b"".join([packed(command) for command in commands]))
            async with asyncio.timeout(connection.socket_timeout):
                return [await connection.read_response(timeout=math.inf) for _ in commands]
        except BaseException:
            # Replies may be under way that the next user must not get.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await client.connection_pool.release(connection)
    except (RedisError, OSError) as error:
        raise translate(error) from error
