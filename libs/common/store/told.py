"""What is to be told to whoever is to know: notices of alarms and dead letters, each once, over every restart."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt
from libs.common.policy.alarms import Change, Message, alarm_message, dead_letter_message
from libs.common.store.alarms import Alarm, Alarms, Notice, notice_of
from libs.common.store.dead_letters import DeadLetter, letter_of
from libs.common.store.keys import Keys
from libs.common.store.streams import last_id, order_of, page_after
from libs.common.store.watch import Watch
from libs.common.wire import codec

PAGE: Final = 50

NOWHERE: Final = (-1, "")
"""Before all alarms that stand."""


@dataclass(frozen=True, slots=True)
class Untold:
    """One message, and what notes that it was told."""

    message: Message
    cursor: str
    before: str
    entry_id: str
    is_standing: bool = False
    """Whether it is of an alarm that was raised before its receiver was told of any, and goes on."""


class Told:
    """Reads the notices and dead letters of one shard for one target, forwards, and remembers how far it came."""

    def __init__(self, client: Redis, keys: Keys, *, shard: int, target: str, receiver: str) -> None:
        """Args:
        client: Where they are.
        keys: The shard's.
        shard: Its number.
        target: Names it among others.
        receiver: Tells who is behind it from whoever was before; without spaces.
        """
        self._client = client
        self._shard = shard
        self._receiver = receiver
        self._watch = Watch(client, keys)
        self._alarms = Alarms(client, keys, shard=shard)
        self._standing = f"told:{target}:standing"
        self._notices = f"told:{target}:notices"
        self._streams = {self._notices: keys.notices, f"told:{target}:dead": keys.dead}
        self._read: dict[str, set[str]] = {}
        """What was last read of each stream and need not have been told."""
        self._skipped = 0

    async def untold(self) -> list[Untold]:
        """Return what comes next, of alarms before dead letters, each oldest first; a page of each at most.

        A new receiver is first told what stands. Where nobody was ever told anything, it goes on with what comes after
        this call.

        Raises:
            StoreUnavailable: No answer.
        """
        cursors = {cursor: await self._begun(cursor, stream) for cursor, stream in self._streams.items()}
        if standing := await self._untold_standing(cursors[self._notices]):
            return standing
        found: list[Untold] = []
        for cursor, stream in self._streams.items():
            at = cursors[cursor]
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

    async def _begun(self, cursor: str, stream: str) -> str:
        """Return how far a stream was told; of one that never was, its end, from where on it will be."""
        at = await self._watch.cursor(cursor)
        if at is None:
            at = await last_id(self._client, stream)
            await self._watch.move(cursor, None, at)
        return at

    async def _untold_standing(self, told_to: str) -> list[Untold]:
        """Return the alarms that stand and that their receiver was not told of.

        The cursor is the receiver's name alone once it was told of all, else with the last that it was told of. Meanwhile
        no notice is told, so those raised after `told_to` have theirs to come.
        """
        at = await self._watch.cursor(self._standing) or ""
        if at == self._receiver:
            return []
        receiver, _, reached = at.partition(" ")
        after = _place(reached) if receiver == self._receiver else NOWHERE
        until_ms, _ = order_of(told_to)
        found: list[Untold] = []
        for alarm in sorted(await self._alarms.raised(), key=_place_of):
            place = _place_of(alarm)
            if after < place and alarm.raised_at_ms <= until_ms:
                to = f"{self._receiver} {alarm.raised_at_ms}:{place[1]}"
                found.append(Untold(_of_alarm(alarm), self._standing, at, to, is_standing=True))
                at = to
        if not found:
            await self._watch.move(self._standing, at, self._receiver)
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


def _place_of(alarm: Alarm) -> tuple[int, str]:
    """Return what sorts alarms that stand, the oldest first."""
    return alarm.raised_at_ms, f"{alarm.kind}:{alarm.subject}"


def _place(written: str) -> tuple[int, str]:
    raised_at, _, name = written.partition(":")
    return (int(raised_at), name) if raised_at.isdecimal() else NOWHERE


def _of_alarm(alarm: Alarm) -> Message:
    # Names may hold what no header may.
    name = hashlib.sha256(f"{alarm.kind}:{alarm.subject}".encode()).hexdigest()[:12]
    return alarm_message(
        f"s{alarm.shard}-raised-{alarm.raised_at_ms}-{name}",
        kind=alarm.kind,
        subject=alarm.subject,
        change=Change.RAISED,
        detail=alarm.detail,
        at_ms=alarm.raised_at_ms,
        is_standing=True,
    )


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
