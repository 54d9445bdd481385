import json

import pytest

from benchmarks import figures
from benchmarks.figures import Figure, Spread

THREE = Spread.of([3.0, 1.0, 2.0])


def test_a_spread_is_the_median_of_the_runs_with_the_worst_and_the_best() -> None:
    assert Spread(2.0, 1.0, 3.0) == THREE


@pytest.mark.parametrize(
    ("least", "most", "verdict", "wanted"),
    [
        (None, None, "", ""),
        (2.0, None, "reached", ">= 2.0"),
        (2.1, None, "MISSED", ">= 2.1"),
        (None, 2.0, "reached", "<= 2.0"),
        (None, 1.9, "MISSED", "<= 1.9"),
        (1.0, 3.0, "reached", "1.0 to 3.0"),
        (2.5, 3.0, "MISSED", "2.5 to 3.0"),
        (None, 0.0, "MISSED", "<= 0.0"),
    ],
)
def test_the_median_is_held_against_both_bounds(least, most, verdict, wanted) -> None:
    figure = Figure("what", THREE, "ms", least, 1, most)

    assert figure.verdict == verdict
    assert figure.wanted == wanted


def test_what_is_written_is_read_again_the_newest_of_each_benchmark(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(figures, "DIRECTORY", tmp_path)
    kept = [Figure("what", THREE, "ms", None, 2, 5.0, is_detail=True), Figure("that", THREE)]
    older = figures.write("one", kept[:1], [])
    older.write_text(json.dumps(json.loads(older.read_text()) | {"at": "2026-01-01T00:00:00+00:00"}))
    older.rename(tmp_path / "one-20260101T000000.json")
    figures.write("one", kept, {"a": [1]}, lanes=3)
    figures.write("two", [], [])

    found = figures.newest()

    assert set(found) == {"one", "two"}
    assert figures.read(found["one"]) == kept
    assert found["one"]["lanes"] == 3
    assert found["one"]["runs"] == {"a": [1]}


def test_a_file_that_knows_no_upper_bounds_can_be_read() -> None:
    value = {"median": 1.0, "low": 1.0, "high": 1.0}
    kept = {"what": "old", "value": value, "unit": "", "target": 2.0, "digits": 0, "verdict": "MISSED"}

    [figure] = figures.read({"figures": [kept]})

    assert figure == Figure("old", Spread(1.0, 1.0, 1.0), "", 2.0)


def test_the_table_shows_every_figure_with_its_target_and_verdict() -> None:
    lines = figures.table([Figure("fast", THREE, "ms", None, 1, 1.0), Figure("many", Spread(1e6, 0, 2e6))])

    assert lines.splitlines()[0].split() == ["what", "median", "low", "high", "unit", "target"]
    assert lines.splitlines()[2].split() == ["fast", "2.0", "1.0", "3.0", "ms", "<=", "1.0", "MISSED"]
    assert lines.splitlines()[3].split() == ["many", "1,000,000", "0", "2,000,000"]
