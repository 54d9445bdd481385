"""Halts in Redis: set, lifted and read here, obeyed by `begin`."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import EditConflict, StoreCorrupt
from libs.common.policy.halts import Halt, HaltMode, Scope, author, parse_halt
from libs.common.policy.shards import shard_of
from libs.common.store.client import translate
from libs.common.store.copies import Copies
from libs.common.store.fan_out import Spread, ask_all, ask_each
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script


@dataclass(frozen=True, slots=True)
class HaltTable:
    """All that is set."""

    halts: tuple[Halt, ...]
    """In the order of their scopes' texts."""
    unreadable: tuple[str, ...] = ()
    """What else is there: scope, `:` and record."""
    partial: tuple["Partial", ...] = ()
    """Those of `halts` that do not hold everywhere."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A halt that some shards lack: accounts there trade on."""

    halt: Halt
    missing: tuple[int, ...]
    """The numbers of those shards."""


def merge_tables(tables: Mapping[int, HaltTable], *, of: int) -> HaltTable:
    """Return what is set on several shards as one table.

    A halt is the same on all that have it in the same mode, by the same and for the same reason; the time is that of the
    first. A halt of one account is obeyed on the account's own shard: the others only note it, and need not.

    Args:
        tables: By the shards' numbers; at least one.
        of: How many shards there are.
    """
    if of == 1:
        return tables[0]
    found: dict[tuple[str, HaltMode, str, str], dict[int, Halt]] = defaultdict(dict)
    for number, table in tables.items():
        for one in table.halts:
            found[one.scope.encode(), one.mode, one.by, one.reason][number] = one
    halts, partial = [], []
    for key in sorted(found):
        known = found[key]
        halt = min(known.values(), key=lambda one: one.at_ms)
        halts.append(halt)
        if missing := tuple(sorted((tables.keys() - known.keys()) & _obeying(halt.scope, of))):
            partial.append(Partial(halt, missing))
    unreadable = sorted({text for table in tables.values() for text in table.unreadable})
    return HaltTable(tuple(halts), tuple(unreadable), tuple(partial))


def _obeying(scope: Scope, of: int) -> set[int]:
    """Return the shards on which a halt of this scope stops anything, of so many."""
    return set(range(of)) if scope.account is None else {shard_of(scope.account, of)}


@dataclass(frozen=True, slots=True)
class Lifted:
    """A halt that is no more."""

    halt: Halt | None
    """What it was; None where its record could not be read."""


@dataclass(frozen=True, slots=True)
class NotSet:
    """There is no halt of that scope."""


CopiesFor = Callable[[str], Copies | None]
"""Returns what replicas must have what is written, by the key that may be written before."""


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

    @property
    def stamp(self) -> str:
        """Return a key of its shard that anything may be written to; see `Copies`."""
        return self._keys.probe

    async def set(
        self, scope: Scope, mode: HaltMode, *, by: str, reason: str, copies: Copies | None = None
    ) -> Halt:
        """Set a halt in place of whatever is set for its scope; from now on no worker sends what it stops.

        The same again, by the same, stays as it was first set.

        Args:
            scope: What it covers.
            mode: What it does.
            by: Who sets it.
            reason: Why.
            copies: Replicas that must have it before it counts; None asks for none.

        Raises:
            StoreUnavailable: No answer, or too few replicas: it may have been set.
            StoreCorrupt: Halts are kept under something else than a hash.
        """
        field = scope.encode()
        answer = await self._run("SET", field, scope, by, reason, mode.value, copies)
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
        self,
        act: str,
        field: str,
        scope: Scope,
        by: str,
        reason: str,
        last: str | bytes,
        copies: Copies | None = None,
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
        answer: list[bytes] = await self._script.run(self._client, keys, args, copies=copies)
        return answer


class HaltsEverywhere:
    """Those of all shards."""

    def __init__(self, shards: Mapping[int, Halts]) -> None:
        """Args:
        shards: Those of each, by their numbers.
        """
        self._shards = shards

    async def set(
        self, scope: Scope, mode: HaltMode, *, by: str, reason: str, copies: CopiesFor = lambda _: None
    ) -> Spread[Halt]:
        """Set a halt on every shard; one that does not answer keeps none of the others from it.

        Called again after a failure, it stays as it is where it is set, and is set where it is not.

        Args:
            scope: What it covers.
            mode: What it does.
            by: Who sets it.
            reason: Why.
            copies: Returns what replicas of a shard must have it, by a key of that shard.
        """
        return await ask_each(
            {
                number: one.set(scope, mode, by=by, reason=reason, copies=copies(one.stamp))
                for number, one in self._shards.items()
            }
        )

    async def lift(self, scope: Scope, *, by: str, reason: str) -> Spread[Lifted | NotSet]:
        """Lift the halt of exactly this scope on every shard; each answers for itself, with what `Halts.lift` raises."""
        return await ask_each(
            {number: one.lift(scope, by=by, reason=reason) for number, one in self._shards.items()}
        )

    async def read(self) -> HaltTable:
        """Return all that are set.

        Raises:
            StoreUnavailable: A shard did not answer.
            StoreCorrupt: They are kept under something else than a hash.
        """
        tables = await ask_all({number: one.read() for number, one in self._shards.items()})
        return merge_tables(tables, of=len(self._shards))


def _text(word: bytes) -> str:
    return word.decode("utf-8", "backslashreplace")
