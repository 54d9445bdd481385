"""The slots of a worker: how many lanes it runs, and how many of them for one account."""

from collections import Counter
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName

SHORTEST_WAIT_MS: Final = 50
LONGEST_WAIT_MS: Final = 2_000

_WEIGHT: Final = 0.2
"""Of the newest run in the running average."""


class Slots:
    """Counts slots, and tells a lane that finds none how long to wait.

    A wait that did not grow with the lanes that wait would have hundreds of them ask Redis again and again, for every
    one that gets a slot.
    """

    def __init__(self, clock: Clock, *, count: int, per_account: int) -> None:
        """Args:
        clock: Monotonic.
        count: All slots.
        per_account: How many of them one account may use.
        """
        self._clock = clock
        self._count = count
        self._per_account = per_account
        self._used = 0
        self._busy: Counter[AccountName] = Counter()
        self._run_ms: dict[AccountName, float] = {}
        self._turned_away: dict[AccountName, tuple[int, int]] = {}

    @property
    def free(self) -> int:
        """How many lanes more may be run."""
        return self._count - self._used

    def take(self, account: AccountName) -> bool:
        """Use a slot, if there is one for this account; tells whether."""
        if self.free <= 0 or self._busy[account] >= self._per_account:
            return False
        self._used += 1
        self._busy[account] += 1
        return True

    def give_back(self, account: AccountName, *, ran_ms: int) -> None:
        """Free a slot that a lane used for this long."""
        self._used -= 1
        self._busy[account] -= 1
        known = self._run_ms.get(account, ran_ms)
        self._run_ms[account] = known + _WEIGHT * (ran_ms - known)

    def wait_ms(self, account: AccountName) -> int:
        """Return how long a lane that found no slot is to wait: about as long as those before it take.

        Between `SHORTEST_WAIT_MS` and `LONGEST_WAIT_MS`.
        """
        now_ms = self._clock.monotonic_ms()
        since_ms, others = self._turned_away.get(account, (now_ms, 0))
        if now_ms - since_ms > LONGEST_WAIT_MS:
            since_ms, others = now_ms, 0
        self._turned_away[account] = (since_ms, others + 1)
        rounds = 1 + others // self._per_account
        wait_ms = int(self._run_ms.get(account, SHORTEST_WAIT_MS) * rounds)
        return min(LONGEST_WAIT_MS, max(SHORTEST_WAIT_MS, wait_ms))
