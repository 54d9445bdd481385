"""The lanes this process holds, and for how long it may believe so."""

from collections.abc import Iterable
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.store.head import Held, Queued
from services.worker.turn import Turn

YOUNG_MS: Final = 200
"""A lease renewed less than this ago is not renewed by an order. It outlasts the request by 550 ms, less what Redis takes to begin
it: a request executes for at most the lease less one second, after a wait in place of 250 ms at most."""


class Lease:
    """One held lane, by our own monotonic clock."""

    __slots__ = ("_clock", "_lease_ms", "_until_ms", "expected", "held", "is_lost", "is_opened", "turn")

    def __init__(self, held: Held, asked_at_ms: int, lease_ms: int, clock: Clock) -> None:
        """Args:
        held: The lane, and its token.
        asked_at_ms: Monotonic; before the call was made that read the token.
        lease_ms: How long it is ours without renewal.
        clock: Monotonic time.
        """
        self.held = held
        self.is_lost = False
        """Whether Redis said that the token is not current any more."""
        self.is_opened = False
        """Whether the fence names us by now: before that there is nothing to renew, and nothing is lost."""
        self.turn = Turn(clock)
        """What was executed of it since it was opened."""
        self.expected: Queued | None = None
        """What is the head next, as far as Redis has told: by now it may be something else, or more."""
        self._until_ms = asked_at_ms + lease_ms
        self._lease_ms = lease_ms
        self._clock = clock

    def opened(self) -> None:
        """Note that the fence names us from now on."""
        self.is_opened, self.turn = True, Turn(self._clock)

    def renewed(self, asked_at_ms: int) -> None:
        """Believe in it for its whole length from `asked_at_ms` on, monotonic: before the renewing call was made."""
        self._until_ms = max(self._until_ms, asked_at_ms + self._lease_ms)

    def is_ours(self) -> bool:
        """Tell whether a side effect may still be made under it; ask right before one."""
        return not self.is_lost and self._clock.monotonic_ms() < self._until_ms

    def is_young(self) -> bool:
        """Tell whether an order need not renew it."""
        return not self.is_lost and self._clock.monotonic_ms() + self._lease_ms - YOUNG_MS <= self._until_ms


class Leases:
    """All leases of the process."""

    def __init__(self, clock: Clock, lease_ms: int) -> None:
        self._clock = clock
        self._lease_ms = lease_ms
        self._leases: dict[Held, Lease] = {}

    def take(self, held: Held, asked_at_ms: int) -> Lease:
        """Add a lane whose token was read by a call made at `asked_at_ms`, monotonic."""
        lease = Lease(held, asked_at_ms, self._lease_ms, self._clock)
        self._leases[held] = lease
        return lease

    def drop(self, held: Held) -> None:
        """Remove a lane that is ours no longer."""
        self._leases.pop(held, None)

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, held: object) -> bool:
        return held in self._leases

    def live(self) -> list[Lease]:
        """Return the leases to renew: of lanes that were opened and are not lost."""
        return [lease for lease in self._leases.values() if lease.is_opened and not lease.is_lost]

    def give_up(self) -> None:
        """Count every lease as lost: whatever still waits for Redis stops waiting."""
        for lease in self._leases.values():
            lease.is_lost = True

    def renewed(self, leases: Iterable[Lease], answers: Iterable[bool], asked_at_ms: int) -> int:
        """Note what a renewal made at `asked_at_ms` answered; returns how many leases it found lost."""
        lost = 0
        for lease, is_ours in zip(leases, answers, strict=True):
            if is_ours:
                lease.renewed(asked_at_ms)
            elif lease.held in self._leases:  # else its lane was closed while the renewal was under way
                lease.is_lost = True
                lost += 1
        return lost
