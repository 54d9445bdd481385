"""Lanes and their tokens: read, open, renew, yield, park."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import Holder, LaneName, Token
from libs.common.domain.reasons import Reason
from libs.common.store.batch import Batch
from libs.common.store.client import call, translate
from libs.common.store.head import (
    Closed,
    HandedBack,
    HandedOut,
    Held,
    Queued,
    Stale,
    failure,
    handed_out,
    queued_of,
)
from libs.common.store.keys import GROUP, Keys
from libs.common.store.scripts import Script, read_each
from libs.common.store.sending import exchange, packed

READ_AT_MOST: Final = 16
"""Tokens in one read: more would let one worker take what another has free slots for."""


@dataclass(frozen=True, slots=True)
class Parking:
    """A lane to be put to wait."""

    held: Held
    wait_ms: int | None
    """From now; or None to wait until `due_at_ms`."""
    due_at_ms: int
    reason: Reason
    is_to_blame: bool = False
    """Whether the head counts as having failed: an unexpected error."""
    detail: str = ""


class Delivered(NamedTuple):
    """A token that was read."""

    token: Token
    lane: LaneName | None
    """None where it names none."""
    head: Queued | None = None
    """What was the head of the lane when it was issued, where that was known: by now it may be another."""


Return = HandedBack | Closed | Stale


class Lanes:
    """What a worker does with lanes, as one holder."""

    def __init__(self, client: Redis, keys: Keys, holder: Holder, *, now_ms: int | None = None) -> None:
        """Args:
        client: For scripts.
        keys: The shard's.
        holder: Random for each process start; also the consumer's name.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._holder = holder
        self._now = "" if now_ms is None else str(now_ms)
        self._scripts = {
            name: Script(name) for name in ("open", "renew", "yield", "park", "drop", "check_in")
        }
        self.open: Batch[Held, HandedOut] = Batch(self._send_open)
        """Submit a lane whose token was read; get its head."""
        self.yield_: Batch[Held, Return] = Batch(self._send_yield)
        """Submit a lane to hand back at once."""
        self.park: Batch[Parking, Return] = Batch(self._send_park)
        """Submit a lane to put to wait."""

    async def create_group(self) -> None:
        """Create the consumer group, at the beginning of the ready stream, unless it is there."""
        try:
            await self._client.xgroup_create(self._keys.ready, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise translate(error) from error
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def renew(self, held: Sequence[Held]) -> list[bool]:
        """Start the leases of these lanes afresh; answers which are still ours.

        Raises:
            StoreUnavailable: No answer.
        """
        args: list[str] = [self._now]
        for one in held:
            args += (one.lane, one.token, self._holder)
        reply = await self._scripts["renew"].run(self._client, self._keys.fixed, args)
        return [answer[0] == b"OK" for answer in reply]

    async def check_in(self) -> None:
        """Note that this worker is alive.

        Raises:
            StoreUnavailable: No answer.
        """
        keys = [*self._keys.fixed, self._keys.workers]
        await self._scripts["check_in"].run(self._client, keys, [self._now, self._holder])

    async def check_out(self) -> None:
        """Note that this worker ends.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            await call(self._client, "ZREM", self._keys.workers, self._holder)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def drop(self, tokens: Sequence[Token]) -> None:
        """Remove entries of the ready stream that name no lane."""
        await self._scripts["drop"].run(self._client, self._keys.fixed, [self._now, *tokens])

    async def _send_open(self, items: Sequence[Held]) -> Sequence[HandedOut | BridgeError]:
        return read_each(await self._run("open", items), handed_out)

    async def _send_yield(self, items: Sequence[Held]) -> Sequence[Return | BridgeError]:
        return read_each(await self._run("yield", items), _return)

    async def _run(self, script: str, items: Sequence[Held]) -> list[list[bytes]]:
        keys = [*self._keys.fixed]
        args: list[str] = [self._now]
        for one in items:
            keys.append(self._keys.lane(one.lane))
            args += (one.lane, one.token, self._holder)
        reply: list[list[bytes]] = await self._scripts[script].run(self._client, keys, args)
        return reply

    async def _send_park(self, items: Sequence[Parking]) -> Sequence[Return | BridgeError]:
        keys = [*self._keys.fixed]
        args: list[str] = [self._now]
        for one in items:
            keys.append(self._keys.lane(one.held.lane))
            args += (
                one.held.lane,
                one.held.token,
                self._holder,
                f"={one.due_at_ms}" if one.wait_ms is None else str(one.wait_ms),
                one.reason,
                "1" if one.is_to_blame else "0",
                one.detail,
            )
        reply = await self._scripts["park"].run(self._client, keys, args)
        return read_each(reply, _return)


class Reader:
    """Reads tokens through the consumer group, on a connection of its own that may block."""

    def __init__(self, client: Redis, keys: Keys, holder: Holder) -> None:
        """Args:
        client: One connection, whose time-out is above every block time.
        keys: The shard's.
        holder: The consumer's name.
        """
        self._client = client
        self._ready = keys.ready
        self._holder = holder

    async def read(self, count: int, block_ms: int) -> list[Delivered]:
        """Wait for tokens nobody has; at most `count` and `READ_AT_MOST`.

        Raises:
            StoreUnavailable: No answer: tokens may have been delivered to us all the same, see `read_own`.
            StoreCorrupt: The stream or its group is gone.
        """
        return await self._read(">", min(count, READ_AT_MOST), block_ms)

    async def read_own(self) -> list[Delivered]:
        """Return every token that is delivered to us and not acknowledged, held already or not."""
        found: list[Delivered] = []
        after = "0"
        while page := await self._read(after, 100, None):
            found += page
            after = page[-1].token
        return found

    async def _read(self, after: str, count: int, block_ms: int | None) -> list[Delivered]:
        command: list[str | int] = ["XREADGROUP", "GROUP", GROUP, self._holder, "COUNT", count]
        if block_ms is not None:
            command += ["BLOCK", block_ms]
        words = packed((*command, "STREAMS", self._ready, after))
        try:
            reply: Any = await exchange(self._client, words)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        # Nothing where nothing came in time.
        return [_delivered(entry) for _, entries in reply or () for entry in entries]


def _delivered(entry: Any) -> Delivered:
    token, words = entry
    # An own pending entry that was deleted from the stream has no fields.
    fields = dict(zip(words[::2], words[1::2], strict=True)) if words else {}
    lane = fields.get(b"lane")
    if lane is None:
        return Delivered(Token(token.decode()), None)
    # Those that are issued again do not know their head.
    head = queued_of(b"", fields) if b"body" in fields else None
    return Delivered(Token(token.decode()), LaneName(lane.decode("utf-8", "replace")), head)


def _return(answer: list[bytes]) -> Return | BridgeError:
    if answer[0] == b"OK":
        return HandedBack()
    if answer[0] == b"CLOSED":
        return Closed()
    if answer[0] == b"STALE":
        return Stale()
    return failure(answer)
