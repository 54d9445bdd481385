"""Notices that Redis was restarted, or that a replica took over: its data may lack the newest writes then.

Both break every connection. So each new one asks, before anything else is called on it, which start of Redis it was
made to, and marks what became suspect; see `lua/incarnate.lua`. Whether that start keeps every write may change while
it runs: so the reaper looks again every second.
"""

from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from libs.common.domain.errors import StoreBarred
from libs.common.policy.shards import HASH
from libs.common.store.checks import FSYNC_SETTINGS
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script

GRANTED_BEHIND_MS: Final = 2_500
"""For so long a primary that was replaced may grant requests all the same, where it runs on: until its caller hears of the other
(0.5 s), and for as long as a call may take (2 s)."""

_NEVER: Final = "0" * 40
"""What a server that was no replica since its start says of the primary that it followed."""


@dataclass(frozen=True, slots=True)
class Incarnated:
    """Another start of Redis than the last one."""

    run_id: str
    before: str
    """The last one's run id; empty where there was none yet."""
    suspect_until_ms: int | None
    """Until when orders of what was admitted so far may execute without our knowing, by Redis' clock; None where its data
    lacks nothing."""


class Incarnations:
    """Looks at every new connection of one process."""

    def __init__(
        self,
        keys: Keys,
        *,
        durability: str,
        lease_ms: int,
        shards: int = 1,
        on_new: Callable[[Incarnated], None] = lambda _: None,
        now_ms: int | None = None,
    ) -> None:
        """Args:
        keys: The shard's.
        durability: As configured; with `declared` CONFIG is not asked, and every new start makes what there is suspect.
        lease_ms: The longest lease in use: every request is over before its lane's lease.
        shards: How many there are: its process found that to be so, or noted it, at its start.
        on_new: Told of each new start, by the first connection of any process that meets it.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._keys = keys
        self._is_declared = durability == "declared"
        self._window_ms = lease_ms + GRANTED_BEHIND_MS
        """How long after another took over a request may execute that was granted before or behind it."""
        self._shards = shards
        self._on_new = on_new
        self._now = "" if now_ms is None else str(now_ms)
        self._script = Script("incarnate")
        self._met = ""
        self._met_before = set[str]()
        """Starts that another was met after."""
        self._epoch = 0
        """The highest that was met."""

    async def look(self, client: Redis) -> None:
        """Look again, on a connection that may have been open for long.

        Raises:
            StoreUnavailable: It cannot be told.
        """
        pool = client.connection_pool
        try:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it so
            try:
                await self.greet(connection)
            except BaseException:
                # An answer may be under way that nobody waits for.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def greet(self, connection: AbstractConnection) -> None:
        """Find out which start of Redis a new connection was made to, and note what may be missing.

        Raises:
            RedisError: It cannot be told: the connection must not be used.
            StoreBarred: The same, and it will not pass by itself.
        """
        info = await self._info(connection)
        if info.get("loading", "0") != "0":
            raise BusyLoadingError("Redis is loading its data")
        run_id = info.get("run_id", "")
        if run_id == "":
            raise StoreBarred(
                "INFO of Redis names no run_id: it cannot be seen that it came back without its newest writes",
                "connect to Redis itself, with nothing in between that changes what INFO answers",
            )
        was_replica = info.get("master_replid2", _NEVER) != _NEVER
        keeps_all = await self._keeps_all(connection, info)
        args = [
            self._now,
            run_id,
            "1" if keeps_all else "0",
            "1" if was_replica else "0",
            str(self._window_ms),
            self._met,
            str(self._epoch),
            "1" if run_id in self._met_before else "0",
            str(self._shards),
            HASH,
        ]
        answer = await self._run(connection, args)
        self._meet(run_id, int(answer[-1]))
        if answer[0] == b"NEW":
            until_ms = int(answer[2])
            # Whoever needed the connection: it is no alert's.
            Context().run(self._on_new, Incarnated(run_id, answer[1].decode(), until_ms or None))

    def _meet(self, run_id: str, epoch: int) -> None:
        self._met_before.discard(run_id)
        if self._met not in ("", run_id):
            self._met_before.add(self._met)
        self._met, self._epoch = run_id, max(self._epoch, epoch)

    async def _info(self, connection: AbstractConnection) -> Mapping[str, str]:
        try:
            text: bytes = await _ask(connection, "INFO")
        except NoPermissionError as error:
            words = "without INFO it cannot be seen that Redis came back without its newest writes"
            raise NoPermissionError(f"{error}; {words}, and an order could be sent twice") from error
        pairs = (line.partition(":") for line in text.decode("utf-8", "replace").splitlines())
        return {name: value for name, _, value in pairs}

    async def _keeps_all(self, connection: AbstractConnection, info: Mapping[str, str]) -> bool:
        """Tell whether nothing that this start ever answers can be lost by a crash, nor by another that takes over."""
        is_alone = info.get("role") == "master" and info.get("connected_slaves") == "0"
        if self._is_declared or not is_alone or info.get("aof_enabled") != "1":
            return False
        try:
            found: list[bytes] = await _ask(connection, "CONFIG", "GET", FSYNC_SETTINGS)
        except ResponseError:  # barred
            return False
        settings = dict(zip(found[::2], found[1::2], strict=True))
        return (
            settings.get(b"appendfsync") == b"always" and settings.get(b"no-appendfsync-on-rewrite") == b"no"
        )

    async def _run(self, connection: AbstractConnection, args: list[str]) -> list[bytes]:
        call = (str(len(self._keys.fixed)), *self._keys.fixed, *args)
        try:
            answer: list[bytes] = await _ask(connection, "EVALSHA", self._script.sha, *call)
        except NoScriptError:
            answer = await _ask(connection, "EVAL", self._script.source, *call)
        return answer


async def _ask(connection: AbstractConnection, *command: str) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()
