"""Admission: an alert becomes durable, once.

What is made for every alert is a `Struct`: it costs a tenth of a frozen dataclass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from redis.asyncio import Redis

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AlertId, EventId, LaneName, WebhookName
from libs.common.policy.room import Room
from libs.common.store.admission import Admission, flight_of
from libs.common.store.batch import Batch
from libs.common.store.client import translate_text
from libs.common.store.copies import Copies
from libs.common.store.flight_time import FlightTime
from libs.common.store.keys import Keys
from libs.common.store.pipe import Pipe
from libs.common.store.scripts import Script, read_each

KEPT_BYTES: Final = 600_000
"""Bytes kept of posts that were not admitted; what comes beyond pushes the oldest out."""


class Admitted(msgspec.Struct, frozen=True):
    """The alert is on disk and will end in exactly one visible state."""

    alert_id: AlertId


class Duplicate(msgspec.Struct, frozen=True):
    """The same alert was admitted before; nothing was written."""

    alert_id: AlertId
    is_same_body: bool = True
    """Whether it is a resend, and not another body that counts as the same alert."""


class Conflict(msgspec.Struct, frozen=True):
    """Another body was admitted under the sender's id; nothing was written."""

    alert_id: AlertId


class Throttled(msgspec.Struct, frozen=True):
    """The webhook's rate lets no more in now; nothing was written."""

    retry_after_ms: int


class MemoryFull(msgspec.Struct, frozen=True):
    """Redis uses as much of its memory as it may; nothing was written."""


class LaneFull(msgspec.Struct, frozen=True):
    """A lane of the alert holds as many instructions as it may; nothing was written, in no lane of it."""

    lane: LaneName
    waiting: int


Verdict = Admitted | Duplicate | Conflict | Throttled | MemoryFull | LaneFull


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused post, as it is kept for operators."""

    event_id: EventId
    webhook: WebhookName
    status: int
    code: str
    field: str
    detail: str
    raw: str
    """Masked."""


class Intake:
    """What the ingress writes."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        flight_time: FlightTime | None = None,
        room: Room | None = None,
        copies: Copies | None = None,
        is_denied_when_full: bool = True,
        now_ms: int | None = None,
    ) -> None:
        """Args:
        client: Its time-out bounds a flight.
        keys: The shard's.
        flight_time: Bounds when an admission may be executed; None lets it be executed at any time.
        room: Bounds what may wait; None lets in as much as Redis takes.
        copies: Replicas that must have an alert before it counts as admitted; None asks for none.
        is_denied_when_full: Whether Redis may deny an admission at its memory limit.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._flight_time = flight_time
        self._room = room
        self._copies = copies
        self._full = "" if is_denied_when_full else "1"
        self._now = "" if now_ms is None else str(now_ms)
        self._admit = Script("admit")
        self._refuse = Script("refuse")
        self._probe = Script("probe")
        # Alerts must be queued in the order they came, also where two flights are under way.
        self._pipe = Pipe(client)
        self.admissions: Batch[Admission, Verdict] = Batch(self._send_admissions, max_flights=2)
        """Submit an `Admission`, get its `Verdict`."""
        self.refusals: Batch[Refusal, None] = Batch(self._send_refusals, max_queued=1_000)
        """Submit a `Refusal` to have it kept."""

    async def learn_clock(self) -> None:
        """Ask Redis for its time, so that the first admission too carries the latest time of its execution.

        Raises:
            StoreUnavailable: No answer.
        """
        await self._send_admissions([])

    async def probe(self) -> None:
        """Write something that expires, as proof that an alert would be admitted.

        Raises:
            StoreUnavailable: Alerts would be refused now.
        """
        keys = [*self._keys.fixed, self._keys.probe]
        used, of = await self._probe.run(self._client, keys, [self._now], copies=self._copies)
        if self._room is not None:
            self._room.learn(
                int(used), int(of), 0 if self._flight_time is None else self._flight_time.departs()
            )
            if self._room.is_full:
                raise StoreUnavailable(self._room.words)

    async def _send_admissions(self, items: Sequence[Admission]) -> Sequence[Verdict | BridgeError]:
        time, room = self._flight_time, self._room
        not_after_ms = None if time is None else time.not_after_ms()
        departed_ms = 0 if time is None else time.departs()
        # What was heard holds for a while only by a clock.
        asks_for_memory = room is not None and (time is None or room.must_be_asked(departed_ms))
        flight = flight_of(items, self._keys)
        keys = [*self._keys.fixed, self._keys.refused, *flight.keys]
        args = [
            self._now,
            "" if not_after_ms is None else not_after_ms,
            KEPT_BYTES,
            "" if room is None else room.backlog,
            str(room.bound) if room is not None and asks_for_memory else "",
            self._full,
            *flight.args,
        ]
        reply = await self._admit.run(self._pipe, keys, args, copies=self._copies)
        if time is not None:
            time.learn(int(reply[0]), departed_ms)
        if room is not None and asks_for_memory:
            room.learn(int(reply[1]), int(reply[2]), departed_ms)
        return read_each(reply[3:], _verdict)

    async def _send_refusals(self, items: Sequence[Refusal]) -> Sequence[BridgeError | None]:
        args: list[str | bytes | int] = [self._now, KEPT_BYTES]
        for item in items:
            args += (item.event_id, item.webhook, item.status, item.code, item.field, item.detail, item.raw)
        reply = await self._refuse.run(self._client, [*self._keys.fixed, self._keys.refused], args)
        return [None if answer[0] == b"OK" else translate_text(answer[1].decode()) for answer in reply]


def _verdict(answer: list[bytes]) -> Verdict | BridgeError:
    word, text = answer[0], answer[1].decode()
    if word == b"ADMITTED":
        return Admitted(AlertId(text))
    if word == b"DUPLICATE":
        return Duplicate(AlertId(text), answer[2] == b"1")
    if word == b"CONFLICT":
        return Conflict(AlertId(text))
    if word == b"THROTTLED":
        return Throttled(int(text))
    if word == b"MEMORY_FULL":
        return MemoryFull()
    if word == b"LANE_FULL":
        return LaneFull(LaneName(text), int(answer[2]))
    if word == b"LATE":
        return StoreUnavailable("Redis stood still: the alert came to it too late to be taken")
    if word == b"ERROR":
        return translate_text(text)
    return StoreCorrupt(f"admit answered {answer!r}")
