"""The memory that each service holds after some load, without ccxt."""

from benchmarks.cores import resident_mb
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.latency import run_at, warm_up
from benchmarks.scene import scene

PER_S = 500
MOST_MB = {"ingress": 80, "worker": 90, "reaper": None}


def measure(effort: Effort) -> Measured:
    """Return what is resident at the end of several runs of posts, in processes started anew for each."""
    found: dict[str, list[float]] = {name: [] for name in MOST_MB}
    for turn in range(1, effort.runs + 1):
        with scene(workers=1) as stage:
            warm_up(stage)
            run_at(stage, PER_S, effort.seconds)
            stage.wait_idle()
            for service in stage.bridge.services:
                found[service.name].append(resident_mb(service.pid))
        held = ", ".join(f"{name} {sizes[-1]:.0f} MB" for name, sizes in found.items())
        print(f"  {turn}/{effort.runs} {held}", flush=True)
    figures = [
        Figure(f"{name}, resident", Spread.of(sizes), "MB", digits=1, most=MOST_MB[name])
        for name, sizes in found.items()
    ]
    return Measured(figures, found, {"alerts": PER_S * effort.seconds})
