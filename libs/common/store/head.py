"""The head of a lane, as the scripts hand it out.

What is made for every instruction is a `Struct`: it costs a tenth of a frozen dataclass.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, EntryId, LaneName, Token
from libs.common.domain.lifecycle import OrderState
from libs.common.store.client import translate_text
from libs.common.store.streams import at_ms


class Held(msgspec.Struct, frozen=True):
    """A lane and the token that we hold for it."""

    lane: LaneName
    token: Token


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order that was begun for the head, by whomever."""

    client_order_id: ClientOrderId
    state: OrderState
    attempt: int
    expires_at_ms: int
    misses: int
    """Look-ups that found nothing since the request could no longer execute."""
    answer: bytes
    """The encoded report, once there was one."""
    is_cleared: bool = False
    """Whether it is looked up, or was, since Redis came back without its newest writes; see `Head.is_suspect`."""


class Head(msgspec.Struct, frozen=True):
    """The oldest instruction of a lane, and all that is known of it."""

    entry_id: EntryId
    alert_id: AlertId
    account: AccountName
    version: int
    body: bytes
    """The encoded instruction."""
    deadline_ms: int
    now_ms: int
    """Redis' time when it was handed out."""
    plan: bytes
    """The encoded plan of its first leg, once it was made."""
    lost_holders: int
    admitted_at_ms: int
    orders: tuple[KnownOrder, ...]
    is_first: bool = False
    """Whether it was never handed out before, since it was admitted or replayed; a call that is sent again is not told so."""
    is_suspect: bool = False
    """Whether it was admitted before Redis came back without its newest writes: orders of it may have left without a
    trace."""

    @property
    def queued_ms(self) -> int:
        """Return how long it has waited in its lane, ms, by Redis' clock."""
        return max(0, self.now_ms - at_ms(self.entry_id))


@dataclass(frozen=True, slots=True)
class Closed:
    """The lane is empty; its token is gone."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The token is no longer current: the lane is somebody else's, and nothing was written."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """The lane is ready or parked, and no longer ours."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The head or its order is not what we thought: open again. Nothing was written."""


class Queued(msgspec.Struct, frozen=True):
    """An instruction as it was queued: of what is behind a head, or was to be the head when a token was issued."""

    entry_id: EntryId
    """Empty where a token tells of it: that was issued before."""
    alert_id: AlertId
    account: AccountName
    version: int
    body: bytes
    """The encoded instruction."""
    deadline_ms: int

    def as_head(self, *, now_ms: int) -> Head:
        """Return the head that it will be, where nobody has begun it or failed on it."""
        return Head(
            entry_id=self.entry_id,
            alert_id=self.alert_id,
            account=self.account,
            version=self.version,
            body=self.body,
            deadline_ms=self.deadline_ms,
            now_ms=now_ms,
            plan=b"",
            lost_holders=0,
            admitted_at_ms=0,
            orders=(),
        )


HandedOut = Head | Closed | Stale | Moved


def handed_out(answer: list[bytes]) -> HandedOut | BridgeError:
    """Read an answer of `hand_out` in `lua/prelude.lua`, or one of the words in its place."""
    word = answer[0]
    if word == b"HEAD":
        return Head(
            entry_id=EntryId(answer[1].decode()),
            alert_id=AlertId(answer[2].decode()),
            account=AccountName(answer[3].decode()),
            version=_version(answer[4]),
            body=answer[5],
            deadline_ms=int(float(answer[6])),
            now_ms=int(answer[7]),
            plan=answer[8],
            lost_holders=int(answer[9]),
            admitted_at_ms=int(answer[10]),
            orders=tuple(_order(answer[i : i + 7]) for i in range(13, len(answer), 7)),
            is_suspect=answer[11] == b"1",
            is_first=answer[12] == b"1",
        )
    if word == b"CLOSED":
        return Closed()
    if word == b"STALE":
        return Stale()
    if word == b"STATE":
        return Moved()
    return failure(answer)


def queued_of(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Queued | None:
    """Read an entry of a lane; None where it cannot be read, which whoever is handed it out will see."""
    try:
        return Queued(
            entry_id=EntryId(entry_id.decode()),
            alert_id=AlertId(fields[b"alert"].decode()),
            account=AccountName(fields[b"account"].decode()),
            version=_version(fields[b"version"]),
            body=fields[b"body"],
            deadline_ms=int(fields[b"deadline"]),
        )
    except (KeyError, ValueError):
        return None


def failure(answer: list[bytes]) -> BridgeError:
    """Return the error that an `ERROR` answer, or one that no script gives, stands for."""
    if answer[0] == b"ERROR":
        return translate_text(answer[1].decode())
    return StoreCorrupt(f"unexpected answer {answer!r}")


def _version(text: bytes) -> int:
    # What is not a number was not written by us: 0 is read as malformed by the worker.
    return int(text) if text.isdigit() else 0


def _order(fields: list[bytes]) -> KnownOrder:
    return KnownOrder(
        client_order_id=ClientOrderId(fields[0].decode()),
        state=OrderState(fields[1].decode()),
        attempt=int(fields[2]),
        expires_at_ms=int(fields[3]),
        misses=int(fields[4]),
        answer=fields[5],
        is_cleared=fields[6] == b"1",
    )
