"""How long records stay once they are over."""

from dataclasses import dataclass

from libs.common.domain.clock import DAY_MS


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended records stay, ms."""

    alerts_ms: int
    dead_letters_ms: int

    @property
    def replayable_ms(self) -> int:
        """Longer than any dead letter lives, so that a replay always finds its order records."""
        return max(self.alerts_ms, self.dead_letters_ms) + DAY_MS
