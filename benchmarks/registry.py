"""All benchmarks: what they are called, what they do by default, and which belong together."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import burst, growth, ingress, join, latency, memory, simultaneous, takeover, worker
from benchmarks.effort import Effort, Measured


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. Its module has one subject and one `measure`."""

    measure: Callable[[Effort], Measured]
    title: str
    """Of its table."""
    runs: int
    """By default."""
    seconds: int = 1
    """Of each run by default; means nothing to those that end by themselves."""
    is_main: bool = True
    """Whether `main` runs it too."""


BENCHMARKS = {
    "ingress": Benchmark(ingress.measure, "The ingress and its limits", runs=5, seconds=3),
    "worker": Benchmark(worker.measure, "The worker and its limit", runs=5, seconds=3),
    "latency": Benchmark(latency.measure, "From alert to order", runs=3, seconds=8),
    "burst": Benchmark(burst.measure, "5,000 alerts within one second", runs=5),
    "simultaneous": Benchmark(simultaneous.measure, "84 alerts at one instant", runs=5),
    "takeover": Benchmark(takeover.measure, "A worker is killed", runs=5),
    "join": Benchmark(join.measure, "A second worker joins", runs=3),
    "memory": Benchmark(memory.measure, "Memory", runs=3, seconds=4),
    "growth": Benchmark(growth.measure, "Growth", runs=3, seconds=3, is_main=False),
}

GROUPS = {
    "main": [name for name, benchmark in BENCHMARKS.items() if benchmark.is_main],
    "full": list(BENCHMARKS),
}
"""Names that stand for several."""


def chosen(names: list[str]) -> list[str]:
    """Return the benchmarks that are meant, each once, in their own order."""
    wanted = {name for given in names for name in GROUPS.get(given, [given])}
    return [name for name in BENCHMARKS if name in wanted]
