"""How long a benchmark takes, and what it hands back."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.cores import wait_until_quiet
from benchmarks.figures import Figure


class Patience:
    """The time that all benchmarks of a run together may wait for a quiet machine."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds

    def wait(self) -> None:
        """Return once the machine is quiet, or the time is used up."""
        self.left_s -= wait_until_quiet(self.left_s)


@dataclass(frozen=True)
class Effort:
    """What one benchmark may spend."""

    runs: int
    """Of each kind, turn by turn."""
    seconds: int
    """Of each run, about; those that end by themselves do not look at it."""
    patience: Patience


@dataclass(frozen=True)
class Measured:
    """What a benchmark found."""

    figures: list[Figure]
    runs: Any
    """Every single run, for the file."""
    circumstances: dict[str, Any] = field(default_factory=dict)
