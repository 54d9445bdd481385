"""What is to be told to whoever is to know: notices of alarms and dead letters, each once, over every restart."""

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt
from libs.common.policy.alarms import Message
from libs.common.store.alarms import notice_of
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
                    message = dead_letter_message(letter_of(entry, self._shard))
                else:
                    notice = notice_of(entry, self._shard)
                    message = alarm_message(
                        f"s{self._shard}-alarm-{notice.entry_id}",
                        notice.kind,
                        notice.subject,
                        notice.change,
                        notice.detail,
                        notice.at_ms,
                    )
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


def alarm_message(message_id: str, kind: str, subject: str, change: str, detail: str, at_ms: int) -> Message:
    """Return what is told of an alarm that was raised or cleared."""
    about = f"{kind} of {subject}" if subject else kind
    return Message(
        id=message_id,
        type="alarm",
        text=f"Bascule: {about} {change}: {detail}",
        at_ms=at_ms,
        kind=kind,
        state=change,
        subject=subject,
        detail=detail,
    )


def dead_letter_message(letter: DeadLetter) -> Message:
    """Return what is told of a dead letter; the bodies of alerts are not."""
    strategy = action = quantity = ""
    try:
        instruction = codec.INSTRUCTION.decode(letter.body.encode())
    except StoreCorrupt:
        pass
    else:
        strategy, action = instruction.strategy or "", instruction.action.value
        quantity = "" if instruction.quantity is None else f"{instruction.quantity:f}"
    asked = " ".join(part for part in (action, quantity, letter.market) if part)
    return Message(
        id=f"s{letter.shard}-dead-{letter.letter_id}",
        type="dead_letter",
        text=f"Bascule: {letter.account} did not trade ({letter.state}, {letter.reason}): {asked or letter.lane}; {letter.detail}",
        at_ms=letter.at_ms,
        state=letter.state,
        detail=letter.detail,
        reason=letter.reason,
        alert_id=letter.alert_id,
        account=letter.account,
        market=letter.market,
        strategy=strategy,
        action=action,
        quantity=quantity,
        attempts=letter.attempts,
    )
