"""Everything Redis does, commands of scripts included, as far as it names certain words."""

import asyncio
from collections.abc import Sequence
from typing import Self

from tests.support.redis_server import RedisServer


class Monitor:
    """Listens with MONITOR while the block runs and keeps the lines that hold one of the words."""

    def __init__(self, server: RedisServer, words: Sequence[str]) -> None:
        self._server = server
        self._words = [word.encode() for word in words]
        self._lines: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_unix_connection(str(self._server.path), limit=2**24)
        self._writer.write(b"MONITOR\r\n")
        assert await reader.readline() == b"+OK\r\n"
        self._task = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert self._writer is not None
        self._task.cancel()
        self._writer.close()

    @property
    def calls(self) -> list[str]:
        """Return what clients sent."""
        return [line for line in self._text() if " lua] " not in line]

    @property
    def commands(self) -> list[str]:
        """Return what scripts did."""
        return [line for line in self._text() if " lua] " in line]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if any(word in line for word in self._words):
                self._lines.append(line)

    def _text(self) -> list[str]:
        return [line.decode(errors="replace").rstrip() for line in self._lines]
