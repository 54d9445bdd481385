import re

import pytest

from benchmarks import report
from benchmarks.figures import Figure, Spread
from benchmarks.registry import BENCHMARKS

MACHINE = {
    "cores": 2,
    "processor": "Chip",
    "system": "6.1",
    "python": "3.11.7",
    "fsync_ms": 0.1,
    "load": 0.25,
}


def document(*figures: Figure) -> dict[str, object]:
    kept = [
        {
            "what": figure.what,
            "value": vars(figure.value),
            "unit": figure.unit,
            "most": figure.most,
            "digits": figure.digits,
            "is_detail": figure.is_detail,
        }
        for figure in figures
    ]
    return {"at": "2026-11-21T10:00:00+00:00", "machine": MACHINE, "figures": kept}


def test_a_table_says_when_and_where_and_leaves_details_out() -> None:
    one = Spread(1.25, 1.0, 1.5)

    text = report.table(
        document(
            Figure("slow", one, "ms", digits=1, most=1.0),
            Figure("  more of it", one),
            Figure("inner", one, is_detail=True),
        )
    )

    assert text.splitlines()[0].startswith("2026-11-21, 2 cores of Chip, Linux 6.1, Python 3.11.7,")
    assert text.splitlines()[4:] == [
        "| slow | 1.2 | 1.0 | 1.5 | ms | <= 1.0 | MISSED |",
        "| … more of it | 1 | 1 | 2 | | | |",
    ]


def test_only_what_stands_between_the_marks_of_a_known_table_is_replaced() -> None:
    text = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n"

    changed = report.filled(text, {"one": document()})

    assert "old" not in changed
    assert changed.startswith("a\n<!-- table: one -->\n2026-11-21")
    assert changed.endswith("<!-- end -->\nb\n<!-- table: two -->\nkept\n<!-- end -->\n")
    assert report.filled(changed, {"one": document()}) == changed


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_documentation_has_a_place_for_every_benchmark(name: str) -> None:
    places = re.findall(r"<!-- table: (\S+) -->", report.DOCUMENT.read_text())

    assert places.count(name) == 1
