"""Whether the failures of a while add up to an open breaker, though no streak of them does."""

from collections import deque


class FailureRate:
    """Outcomes of the last `window_ms`, counted."""

    def __init__(self, *, share: float, at_least: int, window_ms: int) -> None:
        """Args:
        share: Failures among outcomes from which on it is too many, above 0 and at most 1.
        at_least: Outcomes below which nothing is said.
        window_ms: How far back outcomes count.
        """
        self._share = share
        self._at_least = at_least
        self._window_ms = window_ms
        self._outcomes: deque[tuple[int, bool]] = deque()
        self._failures = 0

    def add(self, at_ms: int, *, is_failure: bool) -> None:
        """Count one outcome, at a monotonic time."""
        self._outcomes.append((at_ms, is_failure))
        self._failures += is_failure
        while self._outcomes and self._outcomes[0][0] <= at_ms - self._window_ms:
            self._failures -= self._outcomes.popleft()[1]

    @property
    def is_too_high(self) -> bool:
        """Whether the window's failures reach the share."""
        count = len(self._outcomes)
        return count >= self._at_least and self._failures >= self._share * count

    def clear(self) -> None:
        """Forget all outcomes."""
        self._outcomes.clear()
        self._failures = 0
