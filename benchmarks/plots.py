"""Draws the newest figures of `var/bench/` into `docs/benchmarks/`: `.venv/bench/bin/python -m benchmarks.plots`.

It runs in an environment of its own, which has matplotlib and nothing of ours: it reads files and imports `figures` alone.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator

from benchmarks import figures

DIRECTORY = Path(__file__).parents[1] / "docs" / "benchmarks"
DPI = 100
OURS, LIMIT, OTHERS = "#2166ac", "#b8b8b8", "#d8a15b"
"""Colours: what is Bascule, what bounds it, what others do."""
RATES = ("#74add1", "#2166ac", "#d6604d", "#762a83")

Documents = Mapping[str, Mapping[str, Any]]

RECEIVED, JOBS = "posts/s", "jobs/s"
"""Units of the peers' figures: receivers and queues."""


def main() -> None:
    """Draw what there are figures of."""
    documents = figures.newest()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    style = {
        "figure.facecolor": "white",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "axes.axisbelow": True,
        "font.size": 9,
    }
    with plt.rc_context(style):
        for name, (needed, draw) in PLOTS.items():
            if needed not in documents:
                print(f"{name}: no figures of {needed} in {figures.DIRECTORY}")
                continue
            drawing = draw(documents)
            path = DIRECTORY / f"{name}.png"
            # Without the time of drawing, the same figures make the same file.
            drawing.savefig(path, dpi=DPI, metadata={"Software": None})
            plt.close(drawing)
            print(path)


def ingress(documents: Documents) -> Drawing:
    """Draw what the ingress takes, beside its limits and, where they were measured, other receivers."""
    found = {figure.what: figure for figure in figures.read(dict(documents["ingress"]))}
    names = dict(documents["ingress"]["names"])
    bars = [
        (found[what], OURS if what.startswith("ingress") else LIMIT)
        for what in names.values()
        if what in found
    ]
    bars += [(figure, OTHERS) for figure in _peers(documents, RECEIVED, known=("Bascule", "Starlette"))]
    return _bars("Alerts a second, one core, fsync on every write", bars)


def queues(documents: Documents) -> Drawing:
    """Draw what a worker works off, beside its limit and, where they were measured, other queues."""
    found = figures.read(dict(documents["worker"]))
    bars = [
        (figure, OURS)
        for figure in found
        if figure.what.startswith("worker") and figure.unit == "instructions/s"
    ]
    bars += [(figure, LIMIT) for figure in found if figure.unit == "entries/s"]
    bars += [(figure, OTHERS) for figure in _peers(documents, JOBS, known=("Bascule",))]
    return _bars("Instructions (jobs) a second, one worker on one core", bars)


def latency(documents: Documents) -> Drawing:
    """Draw how the times from receipt to order are spread, at each pace."""
    drawing, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for colour, (per_s, runs) in zip(RATES, documents["latency"]["runs"].items(), strict=False):
        curve = _middle(runs, lambda run: run["received_to_order"]["p99"])["received_to_order"]["curve"]
        # So that 90, 99 and 99.9 % are equally far apart.
        axes.plot(
            [1 / max(1 - percent / 100, 0.0005) for percent, _ in curve],
            [max(value, 0.1) for _, value in curve],
            color=colour,
            label=f"{int(per_s):,} alerts/s",
        )
    axes.plot([2, 100], [3, 10], "kv", markersize=5, label="to reach at 500 alerts/s")
    shown = {1: "0", 2: "50", 10: "90", 100: "99", 1_000: "99.9", 2_000: "max"}
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="percent of alerts",
        ylabel="ms",
        title="Alert received to order at the venue",
    )
    axes.set_xticks(list(shown), list(shown.values()))
    highest = axes.get_ylim()[1]
    axes.set_yticks([value for value in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000) if value < highest])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(_plain)
    axes.set_ylim(bottom=1)
    axes.legend(frameon=False)
    return drawing


def burst(documents: Documents) -> Drawing:
    """Draw how many alerts of a burst were due, answered and executed as time went by."""
    drawing, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    document = documents["burst"]
    run, step_s = _middle(document["runs"], lambda run: run["all_executed_s"]), document["slice_ms"] / 1_000
    longest = max(map(len, run["timeline"].values()))
    for (name, counts), colour in zip(run["timeline"].items(), ("#9a9a9a", RATES[0], OURS), strict=True):
        totals = [0, *accumulate(counts + [0] * (longest - len(counts)))]
        axes.plot([number * step_s for number in range(len(totals))], totals, color=colour, label=name)
    title = f"{document['alerts']:,} alerts on {document['symbols']} symbols within one second"
    axes.set(xlabel="s", ylabel="alerts", title=title)
    axes.yaxis.set_major_formatter(_plain)
    axes.legend(frameon=False)
    return drawing


def growth(documents: Documents) -> Drawing:
    """Draw throughput by size, and what Redis and the processes pay for it."""
    found = figures.read(dict(documents["growth"]))
    rates = {figure.what: figure for figure in found if figure.unit in {"instructions/s", "alerts/s"}}
    drawing, panels = plt.subplots(2, 2, figsize=(8, 5.4), layout="constrained")
    groups: Sequence[tuple[str, Callable[[str], bool], str]] = (
        ("One worker", lambda what: "lanes" in what or "queued" in what, "instructions/s"),
        ("Workers side by side, log broker", lambda what: what.endswith("log"), "instructions/s"),
        ("Workers side by side, slow venue", lambda what: "venue" in what, "instructions/s"),
        ("One of so many webhooks", lambda what: "webhook" in what, "alerts/s"),
    )
    for axes, (title, belongs, unit) in zip(panels.flat, groups, strict=True):
        some = [figure for what, figure in rates.items() if belongs(what)]
        _draw_bars(axes, [(figure, OURS) for figure in some])
        axes.set(title=title, xlabel=unit)
    return drawing


PLOTS: Mapping[str, tuple[str, Callable[[Documents], Drawing]]] = {
    "ingress": ("ingress", ingress),
    "worker": ("worker", queues),
    "latency": ("latency", latency),
    "burst": ("burst", burst),
    "growth": ("growth", growth),
}
"""Name -> the benchmark that it needs, and how it is drawn."""


def _peers(documents: Documents, unit: str, *, known: Sequence[str]) -> list[figures.Figure]:
    if "peers" not in documents:
        return []
    found = figures.read(dict(documents["peers"]))
    return [
        figure for figure in found if figure.unit == unit and not any(name in figure.what for name in known)
    ]


def _bars(title: str, bars: Sequence[tuple[figures.Figure, str]]) -> Drawing:
    drawing, axes = plt.subplots(figsize=(7, 0.8 + 0.32 * len(bars)), layout="constrained")
    _draw_bars(axes, bars)
    drawing.suptitle(title)
    return drawing


def _draw_bars(axes: Any, bars: Sequence[tuple[figures.Figure, str]]) -> None:
    medians = [figure.value.median for figure, _ in bars]
    spread = [
        [figure.value.median - figure.value.low for figure, _ in bars],
        [figure.value.high - figure.value.median for figure, _ in bars],
    ]
    axes.barh(
        [figure.what for figure, _ in bars],
        medians,
        color=[colour for _, colour in bars],
        xerr=spread,
        error_kw={"ecolor": "#555555", "elinewidth": 1, "capsize": 2},
        height=0.65,
    )
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(_plain)
    widest = max(figure.value.high for figure, _ in bars)
    axes.set_xlim(0, widest * 1.18)
    for place, (figure, _) in enumerate(bars):
        axes.text(figure.value.high + widest * 0.01, place, f"{figure.value.median:,.0f}", va="center")


def _plain(value: float, _: object = None) -> str:
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"


def _middle(
    runs: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], float]
) -> Mapping[str, Any]:
    return sorted(runs, key=key)[len(runs) // 2]


if __name__ == "__main__":
    main()
