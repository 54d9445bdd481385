"""What one alert costs: the measured figures that `scale` reckons with, and the benchmarks that measure them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks import figures

FULL_FLIGHT: Final = 22
"""Items of a flight at full load: 64 slots in three of them. 64 connections, in two, make 31; they are reckoned with as many."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Measured on two cores of an Intel Xeon, Redis 7.0.15 on a unix socket, an fsync on every write.

    Processor time of one core in microseconds, memory and disk in bytes.
    """

    ingress_us: float = 39
    """An alert at the ingress. Benchmark: ingress, processor time."""
    ingress_traced_us: float = 56
    """The same with every alert traced. Benchmark: ingress, all traced."""
    admit_us: float = 34
    """An alert at Redis, in full flights. Benchmark: ingress, of Redis."""
    execute_us: float = 92
    """An instruction at Redis from its token to its end, in full flights. Benchmark: worker, 200 lanes, of Redis."""
    execute_alone_us: float = 265
    """The same where every call comes alone. Benchmark: worker, one lane, of Redis."""
    work_log_us: float = 66
    """An instruction at a worker with the `log` broker, in full flights. Benchmark: worker, 200 lanes."""
    work_us: float = 700
    """The same with the `http` broker at some hundred orders a second. Benchmark: latency at 500 alerts/s, workers."""
    fsync_us: float = 180
    """One fsync; all that Redis took meanwhile share it. Every benchmark's file names its own."""
    queued_bytes: float = 1_400
    """Redis' memory of an instruction that waits. Benchmark: growth, 1,000 lanes."""
    queued_apart_bytes: float = 2_000
    """The same where each lane holds one or two. Benchmark: growth, 10,000 lanes."""
    ended_bytes: float = 2_600
    """Redis' memory of an ended alert with one order. Benchmark: growth, ended."""
    record_part: float = 0.41
    """Of it: the records of alert and instruction. These four by MEMORY USAGE of 4,000 ended instructions."""
    order_part: float = 0.22
    """Of it: the record of the order."""
    journal_part: float = 0.31
    """Of it: the journal."""
    seen_part: float = 0.06
    """Of it: the dedup key."""
    file_admit_bytes: float = 1_600
    """The append-only file of an admitted alert; its growth while a backlog was made."""
    file_execute_bytes: float = 2_600
    """The append-only file of an executed instruction; its growth while that was worked off."""
    ingress_mb: float = 57
    """An ingress, resident. Benchmark: memory."""
    worker_mb: float = 62
    """A worker, resident. Benchmark: memory."""
    exporter_mb: float = 42
    """The exporter of spans beside each of them, where tracing is on. Benchmark: ingress, with its exporter."""

    @property
    def pass_us(self) -> float:
        """What Redis spends on reading, writing and its fsync, however many calls it took at once.

        Follows from an instruction of a busy lane, which is one call, as the settle of the one before it begins it: alone
        it pays for a pass, in full flights for a share of one.
        """
        return max(0.0, (self.execute_alone_us - self.execute_us) / (1 - 1 / FULL_FLIGHT))

    @property
    def step_us(self) -> float:
        """What Redis spends on beginning an instruction, or on ending one: half of it, without its share of a pass."""
        return max(0.0, self.execute_us - self.pass_us / FULL_FLIGHT) / 2

    @property
    def admission_us(self) -> float:
        """What Redis spends on one admission, without its share of a pass."""
        return max(0.0, self.admit_us - self.pass_us / FULL_FLIGHT)


MEASURED: Final = (
    # field, benchmark, the figure, the detail below it or None
    ("ingress_us", "ingress", "ingress, processor time", None),
    ("ingress_traced_us", "ingress", "ingress, all traced, processor time", None),
    ("admit_us", "ingress", "ingress, processor time", "of Redis"),
    ("execute_us", "worker", "worker, 200 lanes", "of Redis"),
    ("execute_alone_us", "worker", "worker, 1 lane", "of Redis"),
    ("work_log_us", "worker", "worker, 200 lanes", "processor time"),
    ("work_us", "latency", "500 alerts/s, due to answer, p99", "workers, processor time"),
    ("queued_bytes", "growth", "1,000 lanes", "Redis' memory, queued"),
    ("queued_apart_bytes", "growth", "10,000 lanes", "Redis' memory, queued"),
    ("ended_bytes", "growth", "1,000 lanes", "Redis' memory, ended"),
    ("ingress_mb", "memory", "ingress, resident", None),
    ("worker_mb", "memory", "worker, resident", None),
)
"""Where the newest files of `var/bench/` have a cost."""


def renewed(costs: Costs, documents: Mapping[str, Mapping[str, Any]]) -> Costs:
    """Return the costs with the medians of some benchmarks' files in place of those they measure.

    Args:
        costs: What stays where no file has a figure.
        documents: As `figures.newest` returns them.
    """
    found: dict[str, float] = {}
    for field, benchmark, what, detail in MEASURED:
        above = ""
        for figure in figures.read(dict(documents[benchmark])) if benchmark in documents else ():
            is_below = figure.what.startswith(" ")
            above = above if is_below else figure.what
            named = above == what and figure.what.strip() == detail if is_below else figure.what == what
            if named and is_below == (detail is not None):
                found[field] = figure.value.median
    return replace(costs, **found)
