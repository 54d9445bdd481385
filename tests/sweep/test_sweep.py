"""A share of all single faults, chosen by a seed; all of them with `--slow`; and rules taken out, which must show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.redis_server import Binary
from tests.support.tree import ROOT
from tests.sweep.mutations import MUTATIONS, mutated
from tests.sweep.runner import Sweep
from tests.sweep.scenario import Result, Verdict
from tests.sweep.steps import choose, scenarios

SEED: Final = 5
SHARE: Final = 5
"""Scenarios of each group."""

GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "orders": ("market", "behind", "flip", "target", "sized"),
    "resting": ("resting", "cancelled"),
    "lanes": ("parked", "reclaimed", "looked up", "sent again"),
    "processes": ("drained", "idle", "ingress starts", "worker starts", "reaper starts"),
}

Idle = dict[tuple[str, str], set[bytes]]


@pytest.fixture(scope="module")
def idle() -> Idle:
    """What bridges do without work: learned by the first."""
    return {}


async def sweep(
    directory: Path, binary: Binary, idle: Idle, flows: Sequence[str], count: int | None
) -> Sweep:
    """Play so many scenarios of these paths; None: all."""
    async with Sweep(directory, binary=binary, idle=idle) as running:
        await running.record(flows)
        everything = scenarios(running.steps)
        await running.play(choose(everything, count or len(everything), SEED))
    return running


def assert_all_well(sweep: Sweep) -> None:
    shown = "\n".join(f"{result.scenario}: {result.detail}" for result in sweep.broken)
    assert not sweep.broken, f"{len(sweep.broken)} of {len(sweep.results)} ended badly:\n{shown}"
    missed = [result for result in sweep.results if result.verdict is Verdict.NOT_REACHED]
    # A pass of a loop may fall behind the end of a short path; how many do is up to the machine.
    assert len(missed) < len(sweep.results), [str(result.scenario) for result in missed]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", GROUPS)
async def test_no_single_fault_on_a_happy_path_ends_badly(
    group: str, tmp_path: Path, redis_binary: Binary, idle: Idle
) -> None:
    assert_all_well(await sweep(tmp_path, redis_binary, idle, GROUPS[group], SHARE))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("group", GROUPS)
async def test_none_of_all_single_faults_ends_badly(
    group: str, tmp_path: Path, redis_binary: Binary, idle: Idle
) -> None:
    assert_all_well(await sweep(tmp_path, redis_binary, idle, GROUPS[group], None))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if one.is_slow else []) for name, one in MUTATIONS.items()],
)
async def test_the_sweep_notices_a_rule_that_is_taken_out(
    name: str, tmp_path: Path, redis_binary: Binary, idle: Idle
) -> None:
    mutation = MUTATIONS[name]
    found: list[Result] = []
    for source in (ROOT, mutated(mutation, tmp_path / "mutated")):
        directory = tmp_path / f"cells-{len(found)}"
        async with Sweep(directory, source=source, binary=redis_binary, idle=idle) as one:
            await one.play([mutation.scenario])
        found += one.results
    assert [result.verdict for result in found] == [Verdict.WELL, Verdict.BROKEN]
