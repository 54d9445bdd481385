"""Admission: an alert becomes durable, once.

What is made for every alert is a `Struct`: it costs a tenth of a frozen dataclass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, EventId, LaneName, Market, WebhookName
from libs.common.policy.limits import Limit
from libs.common.policy.room import Room
from libs.common.policy.shards import shard_of
from libs.common.store.batch import Batch
from libs.common.store.client import translate_text
from libs.common.store.copies import Copies
from libs.common.store.flight_time import FlightTime
from libs.common.store.keys import Keys
from libs.common.store.pipe import Pipe
from libs.common.store.scripts import Script, read_each

_NO_RATE: Final = ("", "")

PART_MARGIN_MS: Final = 600_000
"""How much longer than its owner another shard knows an alert: by far more than one post takes."""

KEPT_BYTES: Final = 600_000
"""Bytes kept of posts that were not admitted; what comes beyond pushes the oldest out."""


class Routed(msgspec.Struct, frozen=True):
    """One account's share of an admission."""

    account: AccountName
    market: Market
    """Empty where the account declines it."""
    lane: LaneName
    body: bytes
    """The encoded instruction."""
    version: int
    """Of the instruction."""
    state: str = ""
    """Where the account declines it, how its share ends: REJECTED or SKIPPED; with a reason and a detail."""
    reason: str = ""
    detail: str = ""


class Admission(msgspec.Struct, frozen=True):
    """Everything that one post makes durable."""

    alert_id: AlertId
    """Fresh for every post: it also tells our own re-sent call from another post of the same alert."""
    webhook: WebhookName
    dedup_keys: tuple[str, ...]
    """One for each alert that may have the same; most have one."""
    dedup_window_ms: int
    digest: str
    """Of the body without its credential."""
    is_sender_id: bool
    """Whether the dedup key is an id that the sender gave: only then another digest is a conflict."""
    limit: Limit | None
    """The webhook's."""
    alert: bytes
    """The encoded alert."""
    fired_at_ms: int | None
    max_age_ms: int
    clock_skew_ms: int
    """A fire time further in the future than this counts as arrival."""
    routed: tuple[Routed, ...]
    is_part: bool = False
    """Whether it is what another shard than the owner of the id gets of an alert; see `parts_of`."""


def parts_of(admission: Admission, shards: int) -> dict[int, Admission]:
    """Return what each shard gets of an alert, by the shards' numbers; the owner of its id comes first.

    The owner, which is the first account's shard, knows the alert's dedup keys and counts it against its webhook's rate. Of
    the others each knows its part by the id alone, for longer than the owner may answer with that id: so a resend
    completes what is missing, and is never taken for something new.

    Args:
        admission: All of it; its id is the one that the owner answered, or a fresh one.
        shards: How many there are.
    """
    by_shard: dict[int, list[Routed]] = {}
    for to in admission.routed:
        by_shard.setdefault(shard_of(to.account, shards), []).append(to)
    parts: dict[int, Admission] = {}
    for number, routed in by_shard.items():
        own: dict[str, Any] = {"routed": tuple(routed)}
        if parts:
            own |= {
                "dedup_keys": (f"part:{admission.alert_id}",),
                "dedup_window_ms": admission.dedup_window_ms + PART_MARGIN_MS,
                "limit": None,
                "is_part": True,
            }
        parts[number] = msgspec.structs.replace(admission, **own)
    return parts


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
        now_ms: int | None = None,
    ) -> None:
        """Args:
        client: Its time-out bounds a flight.
        keys: The shard's.
        flight_time: Bounds when an admission may be executed; None lets it be executed at any time.
        room: Bounds what may wait; None lets in as much as Redis takes.
        copies: Replicas that must have an alert before it counts as admitted; None asks for none.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._flight_time = flight_time
        self._room = room
        self._copies = copies
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
        asks_for_memory = room is not None and (time is None or room.must_be_asked(departed_ms))
        keys: list[str] = [*self._keys.fixed, self._keys.refused]
        known_terms: dict[tuple[str | int, ...], int] = {}
        words: list[str | bytes | int] = []
        for item in items:
            keys.append(self._keys.alert(item.alert_id))
            keys += [self._keys.seen(item.webhook, key) for key in item.dedup_keys]
            if item.limit is not None:
                keys.append(self._keys.webhook_bucket(item.webhook))
            terms = _terms_of(item)
            number = known_terms.setdefault(terms, len(known_terms) + 1)
            fired_at_ms = "" if item.fired_at_ms is None else item.fired_at_ms
            words += (number, item.alert_id, item.digest, item.alert, fired_at_ms)
            for to in item.routed:
                keys += (self._keys.instruction(item.alert_id, to.account), self._keys.lane(to.lane))
                words += (to.market, to.lane, to.body)
                if to.state:
                    words += (to.reason, to.detail)
        args: list[str | bytes | int] = [
            self._now,
            "" if not_after_ms is None else not_after_ms,
            KEPT_BYTES,
            "" if room is None else room.backlog,
            str(room.bound) if room is not None and asks_for_memory else "",
            len(items),
            len(known_terms),
        ]
        for terms in known_terms:
            args += terms
        reply = await self._admit.run(self._pipe, keys, args + words, copies=self._copies)
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


def _terms_of(item: Admission) -> tuple[str | int, ...]:
    """Return what an admission has in common with most others of its webhook, as the script takes it."""
    limit = item.limit
    terms: tuple[str | int, ...] = (
        item.webhook,
        item.dedup_window_ms,
        "p" if item.is_part else "1" if item.is_sender_id else "0",
        len(item.dedup_keys),
        *(_NO_RATE if limit is None else (limit.interval_us, limit.burst)),
        item.max_age_ms,
        item.clock_skew_ms,
        len(item.routed),
    )
    for to in item.routed:
        terms += (to.account, to.version, to.state)
    return terms


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
