"""How much of a lane one worker executes at a stretch, so that other lanes and new workers get their share."""

from typing import Final

from libs.common.domain.clock import Clock
from libs.common.store.orders import GoesBack

HAND_BACK_AFTER: Final = 32
"""Instructions after which a lane is handed back."""

ASK_AFTER_MS: Final = 1_000
"""Time after which it is handed back where it is wanted elsewhere; where not, it is asked again as long afterwards."""

HAND_BACK_AFTER_MS: Final = 10_000
"""Time after which it is handed back whoever wants it, so that the oldest tokens there are stay young."""


class Turn:
    """One stretch, from when the lane was opened."""

    __slots__ = ("_asked_ms", "_clock", "_executed", "_since_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._executed = 0
        self._since_ms = self._asked_ms = clock.monotonic_ms()

    def goes_back(self) -> GoesBack:
        """Count an instruction that is about to end, and tell what becomes of the lane with it.

        Asked for nothing else: at least one is executed each time, or with a slow Redis lanes would only be handed round.
        """
        self._executed += 1
        now_ms = self._clock.monotonic_ms()
        if self._executed >= HAND_BACK_AFTER or now_ms - self._since_ms >= HAND_BACK_AFTER_MS:
            return GoesBack.ALWAYS
        if now_ms - self._asked_ms >= ASK_AFTER_MS:
            self._asked_ms = now_ms
            return GoesBack.IF_WANTED
        return GoesBack.NO
