"""What is to be told to whoever is to know: notices of alarms and dead letters, each once, over every restart."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt
from libs.common.policy.alarms import Message, alarm_message, dead_letter_message
from libs.common.store.alarms import Notice, notice_of
from libs.common.store.dead_letters import DeadLetter, letter_of
from libs.common.store.keys import Keys
from libs.common.store.streams import last_id, order_of, page_after
from libs.common.store.watch import Watch
from libs.common.wire import codec

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Untold:
    """One message, and what notes that it was told."""

    message: Message
    cursor: str
    before: str
    entry_id: str


class Told:
    """Reads the notices and dead letters of one shard for one target, forwards, and remembers how far it came."""

    def __init__(self, client: Redis, keys: Keys, *, shard: int, target: str) -> None:
        """Args:
        client: Where they are.
        keys: The shard's.
        shard: Its number.
        target: Names it among others.
        """
        self._client = client
        self._shard = shard
        self._watch = Watch(client, keys)
        self._streams = {f"told:{target}:notices": keys.notices, f"told:{target}:dead": keys.dead}
        self._read: dict[str, set[str]] = {}
        """What was last read of each stream and need not have been told."""
        self._skipped = 0

    async def untold(self) -> list[Untold]:
        """Return what comes next, of alarms before dead letters, each oldest first; a page of each at most.

        Where nobody was ever told anything, it begins with what comes after this call.

        Raises:
            StoreUnavailable: No answer.
        """
        found: list[Untold] = []
        for cursor, stream in self._streams.items():
            at = await self._watch.cursor(cursor)
            if at is None:
                await self._watch.move(cursor, None, await last_id(self._client, stream))
                continue
            page = await page_after(self._client, stream, at, PAGE)
            self._note_gone(cursor, at, {entry.entry_id for entry in page})
            for entry in page:
                if cursor.endswith(":dead"):
                    message = _of_letter(letter_of(entry, self._shard))
                else:
                    message = _of_notice(notice_of(entry, self._shard))
                found.append(Untold(message, cursor, at, entry.entry_id))
                at = entry.entry_id
        return found

    def take_skipped(self) -> int:
        """Return how many are gone that were read and not told since this was last asked.

        A dead letter that was replayed, discarded or trimmed needs no telling any more, a notice beyond the bound is lost.
        """
        skipped, self._skipped = self._skipped, 0
        return skipped

    def forget(self) -> None:
        """Forget what was read: somebody else tells now, and counts what goes."""
        self._read = {}

    def _note_gone(self, cursor: str, at: str, there: set[str]) -> None:
        behind = (one for one in self._read.get(cursor, ()) if order_of(one) > order_of(at))
        self._skipped += sum(one not in there for one in behind)
        self._read[cursor] = there

    async def note(self, untold: Untold) -> bool:
        """Note that one was told, or given up; tell whether nobody else has gone on meanwhile.

        Raises:
            StoreUnavailable: No answer: it may have been noted.
        """
        return await self._watch.move(untold.cursor, untold.before, untold.entry_id)


def _of_notice(notice: Notice) -> Message:
    return alarm_message(
        f"s{notice.shard}-alarm-{notice.entry_id}",
        kind=notice.kind,
        subject=notice.subject,
        change=notice.change,
        detail=notice.detail,
        at_ms=notice.at_ms,
    )


def _of_letter(letter: DeadLetter) -> Message:
    instruction = None
    with suppress(StoreCorrupt):
        instruction = codec.INSTRUCTION.decode(letter.body.encode())
    return dead_letter_message(
        f"s{letter.shard}-dead-{letter.letter_id}",
        instruction,
        alert_id=letter.alert_id,
        account=letter.account,
        lane=letter.lane,
        market=letter.market,
        state=letter.state,
        reason=letter.reason,
        detail=letter.detail,
        attempts=letter.attempts,
        at_ms=letter.at_ms,
    )
