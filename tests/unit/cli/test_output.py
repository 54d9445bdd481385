"""Tables, times and texts as people see them."""

import pytest

from cli.output import ago, cell, printable, size, span, table


def test_columns_are_aligned_and_missing_values_are_dashes() -> None:
    lines = table(("ID", "STATE"), [("a", None), ("long one", "QUEUED")])

    assert [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines] == [
        "ID        STATE",
        "a         -",
        "long one  QUEUED",
    ]


def test_colours_do_not_disturb_the_columns() -> None:
    lines = table(("STATE", "NEXT"), [("EXECUTED", "x"), ("DEAD", "y")])

    assert "\x1b[32mEXECUTED\x1b[0m  x" in lines[1]
    assert "\x1b[31mDEAD\x1b[0m      y" in lines[2]


def test_what_came_from_outside_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b]0;owned\x07b\n") == "a\\x1b]0;owned\\x07b\\n"
    assert printable("schön") == "schön"


def test_long_cells_are_cut() -> None:
    assert len(cell("x" * 500)) < 100


@pytest.mark.parametrize(
    ("length_ms", "words"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1 s"),
        (61_000, "1 min"),
        (7_200_000, "2 h"),
        (90_000_000, "1 d"),
    ],
)
def test_times_are_told_in_their_largest_unit(length_ms: int, words: str) -> None:
    assert span(length_ms) == words
    assert ago(length_ms) == f"{words} ago"


def test_a_time_to_come_is_no_age() -> None:
    assert ago(-5_000) == "in 5 s"


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (1_500, "1.5 kB"), (2_000_000_000_000, "2 TB")])
def test_sizes_have_units(count: int, words: str) -> None:
    assert size(count) == words
