"""What the watchdog has learned, and how far it has read the streams that it learns from."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreCorrupt
from libs.common.policy.expiry import Sighting
from libs.common.policy.rise import Counts
from libs.common.policy.silence import Habit
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.wire.codec import Codec

BEGINNING: Final = "0-0"

LOOKED: Final = "looked"
"""The cursor of looks at the certificate: when the last one was."""

_HABIT: Final = Codec(Habit, "habit")
_COUNTS: Final = Codec(Counts, "counts of refused posts")
_SIGHTING: Final = Codec(Sighting, "sighting of a certificate")

_REFUSALS: Final = "refusals"
_CERTIFICATE: Final = "certificate"

R = TypeVar("R")


class Watch:
    """Reads and writes it, on the first shard for all of them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._learn = Script("learn")

    async def cursor(self, name: str) -> str | None:
        """Return the last entry that was read of a stream; None where none ever was.

        Raises:
            StoreUnavailable: No answer.
        """
        found = await self._field(name)
        return None if found is None else found.decode("utf-8", "replace")

    async def move(self, name: str, before: str | None, to: str) -> bool:
        """Note how far a stream was read; tell whether nobody else has read on meanwhile.

        Raises:
            StoreUnavailable: No answer: it may have been noted.
        """
        return await self._note(name, before, to, self._keys.watch, {})

    async def habits(self) -> dict[str, Habit]:
        """Return when each strategy is usually heard; what cannot be read is left out, and learned anew.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            rows: Mapping[Any, Any] = await self._client.hgetall(self._keys.habits)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found = {name.decode("utf-8", "replace"): _read(_HABIT, body) for name, body in rows.items()}
        return {name: habit for name, habit in found.items() if habit is not None}

    async def count_habits(self) -> int:
        """Return how many strategies are watched.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            return int(await self._client.hlen(self._keys.habits))
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def learn_habits(
        self, name: str, before: str | None, to: str, habits: Mapping[str, Habit | None]
    ) -> bool:
        """Note habits with how far they were read; tell whether nobody else has read on meanwhile.

        Args:
            name: The cursor.
            before: Where it was.
            to: Where it is.
            habits: Those that changed; None takes one out.

        Raises:
            StoreUnavailable: No answer: it may have been noted.
        """
        fields = {one: b"" if habit is None else _HABIT.encode(habit) for one, habit in habits.items()}
        return await self._note(name, before, to, self._keys.habits, fields)

    async def counts(self) -> Counts | None:
        """Return how often posts were refused; None where nothing was counted yet.

        Raises:
            StoreUnavailable: No answer.
        """
        return await self._record(_REFUSALS, _COUNTS)

    async def learn_counts(self, name: str, before: str | None, to: str, counts: Counts | None) -> bool:
        """Note the counts, as `learn_habits`.

        Raises:
            StoreUnavailable: No answer: it may have been noted.
        """
        fields = {} if counts is None else {_REFUSALS: _COUNTS.encode(counts)}
        return await self._note(name, before, to, self._keys.watch, fields)

    async def sighting(self) -> Sighting | None:
        """Return what was last seen of the certificate; None where nobody has looked.

        Raises:
            StoreUnavailable: No answer.
        """
        return await self._record(_CERTIFICATE, _SIGHTING)

    async def note_sighting(self, before: str | None, sighting: Sighting) -> bool:
        """Note what was seen; tell whether nobody else has looked meanwhile.

        Args:
            before: The cursor `LOOKED` as it was before the look.
            sighting: What is known after it.

        Raises:
            StoreUnavailable: No answer: it may have been noted.
        """
        fields = {_CERTIFICATE: _SIGHTING.encode(sighting)}
        return await self._note(LOOKED, before, str(sighting.at_ms), self._keys.watch, fields)

    async def _note(
        self, name: str, before: str | None, to: str, learned: str, fields: Mapping[str, bytes]
    ) -> bool:
        args: list[str | bytes | int] = ["", name, before or "", to]
        for field, value in fields.items():
            args += [field, value]
        keys = [*self._keys.fixed, self._keys.watch, learned]
        return bool(await self._learn.run(self._client, keys, args) == b"DONE")

    async def _field(self, name: str) -> bytes | None:
        try:
            found: Any = await self._client.hget(self._keys.watch, name)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return found if isinstance(found, bytes) else None

    async def _record(self, name: str, codec: Codec[R]) -> R | None:
        found = await self._field(name)
        return None if found is None else _read(codec, found)


def _read(codec: Codec[R], body: bytes) -> R | None:
    try:
        return codec.decode(body)
    except StoreCorrupt:
        return None
