"""Child processes that are kept running, and stopped in good order."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from libs.common.runtime import pdeathsig

Say = Callable[[str], None]

FIRST_DELAY_S: Final = 0.25
LONGEST_DELAY_S: Final = 5.0
SETTLED_S: Final = 10.0
"""Who lived this long starts again without back-off."""
TRIES_AT_START: Final = 3
"""Who ends this often before everything was up is not started again."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process to keep running.

    Attributes:
        name: What the user knows it by.
        command: The program and its arguments.
        environment: All of its environment.
        patience_s: Time between SIGTERM and SIGKILL.
        death_signal: What the kernel sends it when this process dies without stopping it.
        files: Descriptors that it inherits.
        words: Where to read what it said.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    patience_s: float
    death_signal: signal.Signals = signal.SIGKILL
    files: tuple[int, ...] = ()
    words: str = "see its words above"


class Child:
    """A program that is started again when it ends, until it is stopped.

    It runs in a session of its own, so a Ctrl-C at the terminal reaches this process alone.

    Args:
        program: What to run.
        say: Told when it ends unexpectedly.
        give_up: Told when it ended again and again before `settle`; it is not started again then.
    """

    def __init__(self, program: Program, say: Say, give_up: Say) -> None:
        self.program = program
        self._say = say
        self._give_up = give_up
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._is_up = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Return the program's name."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Start it and keep it running."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def settle(self) -> None:
        """Say that everything is up: from now on it is started again however often it ends."""
        self._is_up = True

    async def stop(self) -> None:
        """End it with SIGTERM, after its patience with SIGKILL; return once it is gone."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._keeper is None:
            return
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), self.program.patience_s)
        except TimeoutError:
            self._say(f"{self.name} did not end within {self.program.patience_s:g} s: killing it")
            self._signal(signal.SIGKILL)
            await self._keeper

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started_at_s = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            failures = 1 if time.monotonic() - started_at_s >= SETTLED_S else failures + 1
            if not self._is_up and failures >= TRIES_AT_START:
                ending = _ending(code)
                self._give_up(f"{self.name} ended {failures} times at start ({ending}); {self.program.words}")
                return
            delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (failures - 1))
            self._say(f"{self.name} ended unexpectedly ({_ending(code)}): starting it again in {delay_s:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)

    async def _run_once(self) -> int:
        self._process = await asyncio.create_subprocess_exec(
            *pdeathsig.wrap(self.program.command, self.program.death_signal),
            stdin=asyncio.subprocess.DEVNULL,
            env=dict(self.program.environment),
            start_new_session=True,
            pass_fds=self.program.files,
        )
        if self._stopping.is_set():  # while it was being started
            self._signal(signal.SIGTERM)
        return await self._process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
