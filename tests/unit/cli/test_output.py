"""Tables, times and texts as people see them."""

import pytest

from cli.output import ago, cell, printable, size, span, table, write_table


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


def test_cells_are_cut_only_where_asked_for_and_never_the_last() -> None:
    assert cell("x" * 500) == "x" * 500
    assert table(("A", "B"), [("x" * 500, "y" * 500)])[1] == f"{'x' * 500}  {'y' * 500}"
    assert table(("A", "B"), [("x" * 500, "y" * 500)], longest=10)[1] == f"{'x' * 9}…  {'y' * 500}"


@pytest.mark.parametrize(("is_terminal", "is_whole"), [(True, False), (False, True)])
def test_a_list_is_cut_on_a_terminal_alone(
    is_terminal: bool, is_whole: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)

    write_table(("A", "B"), [("x" * 500, "y")])

    assert ("x" * 500 in capsys.readouterr().out) is is_whole


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
