import pytest

from benchmarks.registry import BENCHMARKS, GROUPS, chosen


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["growth", "burst"], ["burst", "growth"]),
        (["burst", "main"], GROUPS["main"]),
        (["full"], list(BENCHMARKS)),
    ],
)
def test_names_and_groups_run_each_benchmark_once_in_its_place(names, expected) -> None:
    assert chosen(names) == expected


def test_the_main_benchmarks_are_all_but_growth() -> None:
    assert set(BENCHMARKS) - set(GROUPS["main"]) == {"growth"}
