"""Halts in Redis: set, lifted and read here, obeyed by `begin`."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import EditConflict, StoreCorrupt
from libs.common.policy.halts import Halt, HaltMode, Scope, author, parse_halt
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script


@dataclass(frozen=True, slots=True)
class HaltTable:
    """All that is set."""

    halts: tuple[Halt, ...]
    """In the order of their scopes' texts."""
    unreadable: tuple[str, ...] = ()
    """What else is there: scope, `:` and record."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A halt that is no more."""

    halt: Halt | None
    """What it was; None where its record could not be read."""


@dataclass(frozen=True, slots=True)
class NotSet:
    """There is no halt of that scope."""


class Halts:
    """Reads and writes them."""

    def __init__(self, client: Redis, keys: Keys, *, now_ms: int | None = None) -> None:
        """Args:
        client: For the script and reading.
        keys: The shard's.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._now = "" if now_ms is None else str(now_ms)
        self._script = Script("halt")

    async def set(self, scope: Scope, mode: HaltMode, *, by: str, reason: str) -> Halt:
        """Set a halt in place of whatever is set for its scope; from now on no worker sends what it stops.

        The same again, by the same, stays as it was first set.

        Args:
            scope: What it covers.
            mode: What it does.
            by: Who sets it.
            reason: Why.

        Raises:
            StoreUnavailable: No answer: it may have been set.
            StoreCorrupt: Halts are kept under something else than a hash.
        """
        field = scope.encode()
        answer = await self._run("SET", field, scope, by, reason, mode.value)
        return parse_halt(field, _text(answer[1]))

    async def lift(self, scope: Scope, *, by: str, reason: str) -> Lifted | NotSet:
        """Lift the halt of exactly this scope; others that cover the same stay.

        Raises:
            EditConflict: Another was set there in the meantime; it stays.
            StoreUnavailable: No answer: it may have been lifted.
            StoreCorrupt: Halts are kept under something else than a hash.
        """
        field = scope.encode()
        try:
            held: Any = await self._client.hget(self._keys.halts, field)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        if held is None:
            return NotSet()
        answer = await self._run("LIFT", field, scope, by, reason, held)
        if answer[0] == b"CHANGED":
            raise EditConflict(f"another halt of {scope} was set in the meantime")
        try:
            return Lifted(parse_halt(field, _text(held)))
        except StoreCorrupt:
            return Lifted(None)

    async def read(self) -> HaltTable:
        """Return all that are set.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: They are kept under something else than a hash.
        """
        try:
            rows: Any = await self._client.hgetall(self._keys.halts)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        halts, unreadable = [], []
        for field, record in sorted(rows.items()):
            scope, text = _text(field), _text(record)
            try:
                halts.append(parse_halt(scope, text))
            except StoreCorrupt:
                unreadable.append(f"{scope}: {text}")
        return HaltTable(tuple(halts), tuple(unreadable))

    async def _run(
        self, act: str, field: str, scope: Scope, by: str, reason: str, last: str | bytes
    ) -> list[bytes]:
        keys = [*self._keys.fixed, self._keys.halts]
        args: list[str | bytes | int] = [
            self._now,
            act,
            field,
            scope.account or "",
            author(by),
            " ".join(reason.split()),
            last,
        ]
        answer: list[bytes] = await self._script.run(self._client, keys, args)
        return answer


def _text(word: bytes) -> str:
    return word.decode("utf-8", "backslashreplace")
