"""What of a status stays on the screen."""

import os

import pytest

from cli import status_watch


@pytest.mark.parametrize(("rows", "shown"), [(40, 10), (11, 10), (10, 8), (5, 3)])
def test_what_stands_first_stays_on_a_short_terminal(
    monkeypatch: pytest.MonkeyPatch, rows: int, shown: int
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, rows)))
    text = status_watch._in_place([f"line {number}" for number in range(10)])
    lines = text.splitlines()
    assert len(lines) <= rows
    assert sum("line " in line for line in lines) == shown
    assert ("more lines" in text) == (shown < 10)
