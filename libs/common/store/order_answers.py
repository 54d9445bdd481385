"""What Redis answers a worker about an instruction's orders.

`Go` is made for every instruction, so it is a `Struct`, which costs a tenth of a frozen dataclass.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import EntryId
from libs.common.domain.reasons import Reason
from libs.common.store.breakers import Permit
from libs.common.store.head import (
    HandedBack,
    HandedOut,
    Head,
    Moved,
    Queued,
    Stale,
    failure,
    handed_out,
    queued_of,
)

_NEVER_MOVED: Final = Permit(0, is_probe=False)


class Go(msgspec.Struct, frozen=True):
    """The intent is on disk: send, after `wait_ms`, while the lease holds."""

    expires_at_ms: int
    wait_ms: int
    left_ms: int
    """From Redis' answer until `expires_at_ms`; 0 or less where the answer came again after a long outage."""
    market_breaker: Permit
    account_breaker: Permit
    successor: Queued | None = None
    """The instruction behind it, where there is one and it was asked for."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before `until_ms`; what was reserved stays reserved."""

    until_ms: int
    reason: Reason
    now_ms: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Expired:
    """The alert is too old to be sent."""


@dataclass(frozen=True, slots=True)
class Halted:
    """A halt refuses it."""

    detail: str


@dataclass(frozen=True, slots=True)
class OverBudget:
    """A risk limit of the whole account refuses it."""

    rule: str
    limit: str
    value: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan is on disk."""


Begun = Go | Wait | Halted | OverBudget | Expired | Moved | Stale


class BegunNext(msgspec.Struct, frozen=True):
    """An instruction is the head now, as was expected, of which `begin` would have said this."""

    begun: Begun
    entry_id: EntryId
    now_ms: int
    """Redis' time when it was handed out."""
    admitted_at_ms: int
    is_first: bool
    """As of a `Head`."""

    def confirmed(self, head: Head) -> Head:
        """Return the head that was expected, with what Redis has said of it."""
        return replace(
            head,
            entry_id=self.entry_id,
            now_ms=self.now_ms,
            admitted_at_ms=self.admitted_at_ms,
            is_first=self.is_first,
        )


Settled = HandedOut | HandedBack | BegunNext

PlanAnswer = Planned | Wait | Halted | Expired | Moved | Stale


@dataclass(frozen=True, slots=True)
class Noted:
    """The finding is on disk. `misses` counts look-ups that found nothing."""

    misses: int


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The request may still execute for this long."""

    wait_ms: int


Resolved = Noted | TooEarly | Moved | Stale


def begun(answer: list[Any]) -> Begun | BridgeError:
    """Read an answer of `lua/begin.lua`."""
    word = answer[0]
    if word == b"GO":
        return Go(
            int(answer[1]),
            int(answer[2]),
            int(answer[3]),
            _permit(answer[4], answer[5]),
            _permit(answer[6], answer[7]),
            _successor(*answer[8]) if len(answer) > 8 else None,
        )
    if word == b"RISK":
        return OverBudget(answer[1].decode(), answer[2].decode(), answer[3].decode())
    return _not_now(answer)


def settled(answer: list[Any]) -> Settled | BridgeError:
    """Read an answer of `lua/settle.lua` or `lua/take.lua`."""
    word = answer[0]
    if word == b"BEGUN":
        next_one = begun(answer[5])
        if isinstance(next_one, BridgeError):
            return next_one
        entry_id = EntryId(answer[1].decode())
        return BegunNext(next_one, entry_id, int(answer[2]), int(answer[3]), answer[4] == b"1")
    return HandedBack() if word == b"OK" else handed_out(answer)


def planned(answer: list[bytes]) -> PlanAnswer | BridgeError:
    """Read an answer of `lua/plan.lua`."""
    return Planned() if answer[0] == b"PLANNED" else _not_now(answer)


def resolved(answer: list[bytes]) -> Resolved | BridgeError:
    """Read an answer of `lua/resolve.lua`."""
    word = answer[0]
    if word == b"OK":
        return Noted(int(answer[1]))
    if word == b"EARLY":
        return TooEarly(int(answer[1]))
    if word == b"STATE":
        return Moved()
    if word == b"STALE":
        return Stale()
    return failure(answer)


def _not_now(answer: list[bytes]) -> Wait | Halted | Expired | Moved | Stale | BridgeError:
    word = answer[0]
    if word == b"WAIT":
        return Wait(int(answer[1]), Reason(answer[2].decode()), int(answer[3]), answer[4].decode())
    if word == b"HALTED":
        return Halted(answer[1].decode())
    if word == b"EXPIRED":
        return Expired()
    if word == b"STATE":
        return Moved()
    if word == b"STALE":
        return Stale()
    return failure(answer)


def _successor(entry_id: bytes, words: list[bytes]) -> Queued | None:
    """Read an entry as XRANGE has it."""
    return queued_of(entry_id, dict(zip(words[::2], words[1::2], strict=True)))


def _permit(generation: bytes, is_probe: bytes) -> Permit:
    # Most breakers never moved.
    return _NEVER_MOVED if generation == b"0" else Permit(int(generation), is_probe == b"1")
