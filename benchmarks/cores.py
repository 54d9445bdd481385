"""Which core runs what, and how much of its time a process used."""

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

QUIET_SHARE = 0.15
"""Of one core: what others may use while a run starts."""

IDLE_SHARE = 0.03
"""Of one core: what a service uses that has nothing to do."""


@dataclass(frozen=True)
class Cores:
    """The one core under measurement, and those of everything else."""

    server: int
    others: frozenset[int]


def share_out() -> Cores:
    """Give the last core to the process under measurement, and the others to Redis and the load.

    Raises:
        SystemExit: There is only one core: the load would be measured too.
    """
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise SystemExit("benchmarks need two cores: one for what is measured, one for Redis and the load")
    return Cores(found[-1], frozenset(found[:-1]))


@contextmanager
def running_on(cores: frozenset[int]) -> Iterator[None]:
    """Start what is started meanwhile on these cores: children inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used so far, in steps of 10 ms."""
    # The command's name, in brackets, may hold blanks; user and system time are the 12th and 13th field after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Return the memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def family(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not, as far as they run."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def family_cpu_s(pid: int) -> float:
    """Return the processor time of a process and of all that it started and still runs."""
    return sum(cpu_s(one) for one in family(pid))


def wait_until_idle(pid: int, *, idle_s: float, longest_s: float) -> None:
    """Return once a process and what it started have used next to nothing for so long, or the time is up."""
    ends_s = time.monotonic() + longest_s
    while time.monotonic() < ends_s:
        before_s = family_cpu_s(pid)
        time.sleep(idle_s)
        if family_cpu_s(pid) - before_s <= 0.02 + IDLE_SHARE * idle_s:
            return


def busy_s() -> float:
    """Return the processor time that all processes of the machine together, and the kernel, have used so far."""
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(interrupts_and_stolen)) / TICKS_PER_S


def wait_until_quiet(patience_s: float) -> float:
    """Return once the rest of the machine has been quiet for half a second, or the patience is at an end.

    Returns:
        How long was waited, seconds.
    """
    started_s = time.monotonic()
    while time.monotonic() < started_s + patience_s:
        before_s = busy_s()
        time.sleep(0.5)
        if busy_s() - before_s < QUIET_SHARE * 0.5:
            break
    return time.monotonic() - started_s
