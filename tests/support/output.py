"""What a process wrote on stdout and stderr."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class Output:
    """Two files that a process writes to, each start of it behind what the one before wrote.

    Args:
        directory: Where they are made.
        label: Names them.
    """

    def __init__(self, directory: Path, label: str) -> None:
        self._stdout = directory / f"{label}.out"
        self._stderr = directory / f"{label}.err"

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """Give both files to a process that is about to start: stdout, stderr."""
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            yield stdout, stderr

    def log(self) -> list[dict[str, Any]]:
        """Return the log events on stdout; a line that is no JSON object comes as `{"raw": line}`."""
        events = []
        for line in _read(self._stdout).splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            events.append(event if isinstance(event, dict) else {"raw": line})
        return events

    def errors(self) -> str:
        """Return what is on stderr."""
        return _read(self._stderr)

    def tail(self, lines: int) -> str:
        """Return the last lines of each."""
        return "\n".join([*_read(self._stdout).splitlines()[-lines:], *self.errors().splitlines()[-lines:]])


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
