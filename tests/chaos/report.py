"""What a run is told as: a line per stretch, and a table at the end."""

from collections import Counter

from tests.chaos.measures import Measures, percentile
from tests.chaos.runner import Outcome


class Report:
    """Sums stretches up."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []

    @property
    def violations(self) -> int:
        return sum(len(outcome.violations) for outcome in self._outcomes)

    def add(self, outcome: Outcome) -> None:
        """Count one more stretch."""
        self._outcomes.append(outcome)

    def line(self, outcome: Outcome) -> str:
        """Return one stretch in a line."""
        return (
            f"seed {outcome.seed}: {outcome.alerts} alerts, {outcome.orders} orders, "
            f"{outcome.refused} posts not taken, {outcome.faults.total()} faults, {outcome.kills} kills, "
            f"{len(outcome.violations)} violations; at rest after {outcome.rested_s:.1f} s, "
            f"Redis {outcome.redis_mb:.0f} MB; {_times(outcome.measures)}"
        )

    def table(self) -> str:
        """Return all stretches together."""
        faults: Counter[str] = Counter()
        every = Measures()
        for outcome in self._outcomes:
            faults += outcome.faults
            every.takeovers += outcome.measures.takeovers
            every.takeovers_amid += outcome.measures.takeovers_amid
            every.back += outcome.measures.back
            every.answers += outcome.measures.answers
        rows = [f"| {name} | {count} |" for name, count in sorted(faults.items())]
        sums = {
            "faults": faults.total(),
            "kills": sum(outcome.kills for outcome in self._outcomes),
            "alerts": sum(outcome.alerts for outcome in self._outcomes),
            "orders": sum(outcome.orders for outcome in self._outcomes),
            "posts not taken, sent again": sum(outcome.refused for outcome in self._outcomes),
            "violations": self.violations,
        }
        rows += [f"| **{name}** | **{count}** |" for name, count in sums.items()]
        return "\n".join(["", "| fault | times |", "|---|---|", *rows, "", _times(every)])


def _times(measures: Measures) -> str:
    parts = []
    for name, times in (
        ("take-over", measures.takeovers),
        ("take-over amid everything else", measures.takeovers_amid),
        ("first 200 after Redis", measures.back),
        ("answers", measures.answers),
    ):
        if times:
            figures = f"p50 {percentile(times, 0.5)}, p99 {percentile(times, 0.99)}, most {max(times)} ms ({len(times)})"
            parts.append(f"{name}: {figures}")
    return "; ".join(parts)
