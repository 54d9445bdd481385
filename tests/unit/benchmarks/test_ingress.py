import pytest

from benchmarks.figures import Figure
from benchmarks.ingress import ASGI, BARE, DEFAULT, Run, _figures
from benchmarks.limits import Limit
from benchmarks.load import Load

NAMES = (BARE, ASGI, DEFAULT, "traced10", "traced100")


def run(name: str, per_s: float, strangers: float = 0.0) -> Run:
    load = Load(int(per_s), 1.0, 0, 1.0, 2.0, 0.3)
    return Run(name, load, per_s, 1e6 / per_s, 20.0, 1.0, 0.5, strangers)


def figures(exported: dict[str, int], **per_s: float) -> dict[str, Figure]:
    found = {name: [run(name, per_s.get(name, 1_000.0))] for name in NAMES}
    memory = dict.fromkeys(NAMES, 50.0)
    made = _figures(found, [Limit(100, 0.05, 1.0)], memory, exported, dict.fromkeys(NAMES[3:], 0.0))
    return {figure.what: figure for figure in made}


def test_every_ingress_is_held_against_bare_starlette_in_its_own_turn() -> None:
    found = figures({"traced10": 5, "traced100": 50}, bare=2_000.0, ingress=1_200.0, traced100=600.0)

    assert found["ingress / bare Starlette"].value.median == pytest.approx(0.6)
    assert found["ingress / bare Starlette"].verdict == "reached"
    assert found["ingress, all traced / bare Starlette"].value.median == pytest.approx(0.3)
    assert found["ingress, all traced / bare Starlette"].verdict == "MISSED"
    assert found["ingress / raw XADD"].value.median == pytest.approx(0.6)


def test_a_traced_ingress_that_exported_nothing_reaches_no_target() -> None:
    found = figures({}, bare=1_000.0, traced100=900.0)

    assert "ingress, all traced / bare Starlette" not in found
    assert found["ingress, all traced / bare Starlette (nothing was exported)"].verdict == ""
