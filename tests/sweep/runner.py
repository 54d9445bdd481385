"""Goes through many scenarios, several at a time, each bridge with one at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from tests.support.redis_server import Binary
from tests.support.tree import ROOT
from tests.sweep.cell import Cell
from tests.sweep.flows import FLOWS
from tests.sweep.scenario import Result, Verdict, assert_shown, play, record
from tests.sweep.steps import Scenario, Step, with_whole_scripts

Work = TypeVar("Work")

CELLS: Final = 3
"""Bridges at a time: most of a scenario is waiting for leases and back-offs."""

STARTS: Final = 3
"""Tries to bring a bridge up."""

FRESH_AFTER: Final = 60
"""Walks on one bridge; every check reads its whole history."""


class Sweep:
    """Bridges, the steps found with them, and what came of each scenario.

    Args:
        directory: Where the bridges put their files.
        source: The tree whose services run, this one or a changed copy.
        cells: How many bridges at a time.
        idle: What was learned by another sweep, and is learned for others; see `Switch.idle`.
        binary: The Redis server; by default the newest.
    """

    def __init__(
        self,
        directory: Path,
        *,
        source: Path = ROOT,
        cells: int = CELLS,
        idle: dict[tuple[str, str], set[bytes]] | None = None,
        binary: Binary | None = None,
    ) -> None:
        self.steps: list[Step] = []
        self.results: list[Result] = []
        self._directory = directory
        self._source = source
        self._count = cells
        self._idle = {} if idle is None else idle
        self._binary = binary
        self._cells: list[Cell] = []
        """Those that run and do nothing."""
        self._walks: dict[Cell, int] = {}
        self._made = 0
        self._symbols = 0

    async def __aenter__(self) -> Self:
        # What a bridge does without work is learned once.
        self._cells.append(await self._start())
        return self

    async def __aexit__(self, *_: object) -> None:
        for cell in list(self._walks):
            self._end(cell)

    @property
    def broken(self) -> list[Result]:
        return [result for result in self.results if result.verdict is Verdict.BROKEN]

    async def record(self, flows: Iterable[str] = tuple(FLOWS)) -> None:
        """Walk each path once without a fault, and note what happens on it.

        Raises:
            AssertionError: One does not even end well so.
        """
        steps: list[Step] = []

        async def walk(cell: Cell, flow: str) -> bool:
            steps.extend(await record(cell, flow, self._symbol()))
            return True

        await self._share_out(list(flows), walk)
        self.steps = with_whole_scripts(steps)

    async def play(
        self, wanted: Sequence[Scenario], on_result: Callable[[Result], None] = lambda _: None
    ) -> None:
        """Play scenarios, and note what came of them; `on_result` is told of each."""

        async def walk(cell: Cell, scenario: Scenario) -> bool:
            result = await play(cell, scenario, self._symbol())
            self.results.append(result)
            on_result(result)
            return result.verdict is not Verdict.BROKEN

        await self._share_out(list(wanted), walk)

    async def _share_out(
        self, work: list[Work], walk: Callable[[Cell, Work], Coroutine[Any, Any, bool]]
    ) -> None:
        """Let each bridge take work until there is none; one on which a walk ended badly is not used again."""

        async def take() -> None:
            while work:
                cell = self._cells.pop() if self._cells else await self._start()
                is_good = True
                while work and is_good and self._walks[cell] < FRESH_AFTER:
                    self._walks[cell] += 1
                    is_good = await walk(cell, work.pop(0))
                if is_good:
                    await assert_shown(cell)
                if is_good and self._walks[cell] < FRESH_AFTER:
                    self._cells.append(cell)
                else:
                    self._end(cell)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._count, len(work))):
                group.create_task(take())

    async def _start(self) -> Cell:
        """Return a bridge that has come up; a port may have been taken by a stranger before it was bound."""
        tries = 0
        while True:
            tries += 1
            self._made += 1
            directory = self._directory / f"cell-{self._made}"
            cell = Cell(directory, self._idle, source=self._source, binary=self._binary)
            self._walks[cell] = 0
            await cell.start()
            if not cell.ends:
                return cell
            last = cell.ends[-1]
            assert tries < STARTS, f"ended at start: {cell.ends}\n{cell.service(last.label).errors()}"
            self._end(cell)

    def _end(self, cell: Cell) -> None:
        del self._walks[cell]
        cell.close()

    def _symbol(self) -> str:
        self._symbols += 1
        return f"S{self._symbols}"
