"""Dead letters: instructions that were given up, kept with their evidence; replayed or discarded by an operator."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import DeadLetterId, LaneName, market_of
from libs.common.store.client import translate_text
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.store.streams import Entry, entry_of, pages_backwards
from libs.common.wire import codec


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What is left of an instruction that was given up."""

    letter_id: DeadLetterId
    at_ms: int
    alert_id: str
    """Empty where a malformed entry named none."""
    account: str
    lane: str
    state: str
    """REJECTED, EXPIRED or DEAD."""
    reason: str
    detail: str
    attempts: int
    deadline_ms: int | None
    body: str
    """The encoded instruction, or whatever the lane held in its place."""
    shard: int = 0
    """Where it lies; its id is its own only there."""

    @property
    def market(self) -> str:
        """Return what the venue calls the symbol: from the instruction, else from the lane's name."""
        try:
            return codec.INSTRUCTION.decode(self.body.encode()).market
        except StoreCorrupt:
            return market_of(self.lane)


@dataclass(frozen=True, slots=True)
class Replayed:
    """It waits in its lane again, with a new deadline; the letter is gone."""

    alert_id: str
    account: str
    traceparent: str = ""
    """The span that its new trace begins with; empty where it is not traced."""
    replay_of: str = ""
    """The span that the old one began with."""


@dataclass(frozen=True, slots=True)
class Discarded:
    """The letter is gone; the journal keeps that it was."""

    alert_id: str
    account: str


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such letter: replayed or discarded already, or past its retention."""


@dataclass(frozen=True, slots=True)
class NotDead:
    """The instruction is in another state than its letter says: somebody was faster."""

    state: str


@dataclass(frozen=True, slots=True)
class NoRecord:
    """An order was attempted and its record is gone, so whether it traded cannot be told: never sent again."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The letter holds nothing that could be executed."""


Replay = Replayed | Gone | NotDead | NoRecord | Malformed
Discard = Discarded | Gone


class DeadLetters:
    """Reads, replays and discards them."""

    def __init__(self, client: Redis, keys: Keys, *, shard: int = 0, now_ms: int | None = None) -> None:
        """Args:
        client: For scripts and reading.
        keys: The shard's.
        shard: Its number.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._shard = shard
        self._now = "" if now_ms is None else str(now_ms)
        self._replay = Script("replay")
        self._discard = Script("discard")

    async def backwards(self, since_ms: int | None = None) -> AsyncIterator[list[DeadLetter]]:
        """Yield pages of letters, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        async for page in pages_backwards(self._client, self._keys.dead, since_ms):
            yield [letter_of(entry, self._shard) for entry in page]

    async def get(self, letter_id: DeadLetterId) -> DeadLetter | None:
        """Return one letter; None where there is none of that id.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The id has not the form of one.
        """
        entry = await entry_of(self._client, self._keys.dead, letter_id)
        return None if entry is None else letter_of(entry, self._shard)

    async def replay(self, letter_id: DeadLetterId, *, max_age_ms: int) -> Replay:
        """Put it back at the tail of its lane.

        The same letter twice is replayed once: the second caller finds it gone, and so does a caller whose first
        answer was lost.

        Args:
            letter_id: Which.
            max_age_ms: From now; past it the instruction expires instead of trading.

        Raises:
            StoreUnavailable: No answer; look whether the letter is still there.
            StoreCorrupt: A record of it cannot be used.
        """
        letter = await self.get(letter_id)
        if letter is None:
            return Gone()
        keys = [*self._keys.fixed, self._keys.lane(LaneName(letter.lane))]
        reply = await self._replay.run(self._client, keys, [self._now, letter_id, max_age_ms])
        match [word.decode("utf-8", "replace") for word in reply]:
            case ["OK", alert_id, account, traceparent, replay_of]:
                return Replayed(alert_id, account, traceparent, replay_of)
            case ["GONE"]:
                return Gone()
            case ["STATE", state]:
                return NotDead(state)
            case ["NO_RECORD"]:
                return NoRecord()
            case ["MALFORMED"]:
                return Malformed()
            case ["ERROR", text]:
                raise translate_text(text)
            case _:
                raise StoreCorrupt(f"replay answered {reply!r}")

    async def discard(self, letter_id: DeadLetterId) -> Discard:
        """Drop it for good.

        Raises:
            StoreUnavailable: No answer; look whether the letter is still there.
        """
        reply = await self._discard.run(self._client, self._keys.fixed, [self._now, letter_id])
        match [word.decode("utf-8", "replace") for word in reply]:
            case ["OK", alert_id, account]:
                return Discarded(alert_id, account)
            case ["GONE"]:
                return Gone()
            case ["ERROR", text]:
                raise translate_text(text)
            case _:
                raise StoreCorrupt(f"discard answered {reply!r}")


def letter_of(entry: Entry, shard: int) -> DeadLetter:
    """Return the dead letter that an entry of their stream is."""
    fields = entry.fields
    attempts, deadline = fields.get("attempts", ""), fields.get("deadline", "")
    return DeadLetter(
        letter_id=DeadLetterId(entry.entry_id),
        at_ms=entry.at_ms,
        alert_id=fields.get("alert", ""),
        account=fields.get("account", ""),
        lane=fields.get("lane", ""),
        state=fields.get("state", ""),
        reason=fields.get("reason", ""),
        detail=fields.get("detail", ""),
        attempts=_number(attempts) or 0,
        deadline_ms=_number(deadline),
        body=fields.get("body", ""),
        shard=shard,
    )


def _number(text: str) -> int | None:
    """Return what a text says; None where that is no number that we would have written."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
