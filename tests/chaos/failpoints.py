"""Named moments in a service at which it can be told to die, to stop or to stand still.

A process sees its own death only in which of its calls were carried out, but a stall also in what it believes when it
goes on: so the moments lie between its beliefs and its deeds. They are laid around the parts of a service from outside;
the product knows nothing of them.
"""

import asyncio
import functools
import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

CONTROL: Final = "BASCULE_CHAOS_CONTROL"
"""The file in which a process finds its command when it gets SIGUSR1."""

POINTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ingress": ("before-admit", "after-admit"),
        "worker": (
            "after-read",
            "after-open",
            "before-begin",
            "after-begin",
            "before-send",
            "after-send",
            "after-answer",
            "before-resolve",
            "after-resolve",
            "before-settle",
            "after-settle",
        ),
        "reaper": ("before-reclaim", "after-reclaim", "before-audit", "after-audit", "after-promote"),
    }
)
"""What each service passes: tokens read, head handed out, intent on disk, right before and after the first byte of an
order, its answer, its end on disk; and for the others before and after their script was executed."""


@dataclass(frozen=True)
class Command:
    """What a process is to do, and when."""

    point: str = ""
    """Empty: nothing at any point."""
    action: str = ""
    """`kill`: dies at once. `stop`: is stopped until somebody continues it. `stall`: its event loop stands still."""
    skip: int = 0
    """Points of that name to pass before."""
    stall_s: float = 0.0
    clock_ms: int = 0
    """Its wall clock is off by so much from now on."""


def write_command(path: Path, command: Command) -> None:
    """Leave a command where its process finds it."""
    # As a whole: the process may still be reading the one before.
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(command)))
    new.replace(path)


class Failpoints:
    """Those of this process."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._command = Command()
        self._left = 0

    @property
    def clock_ms(self) -> int:
        return self._command.clock_ms

    def listen(self) -> None:
        """Read a command at every SIGUSR1 from now on."""
        signal.signal(signal.SIGUSR1, lambda *_: self._read())

    def reached(self, point: str) -> None:
        """Obey, if this is the moment."""
        command = self._command
        if command.point != point:
            return
        self._left -= 1
        if self._left >= 0:
            return
        self._command = Command(clock_ms=command.clock_ms)
        match command.action:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "stall":
                time.sleep(command.stall_s)

    def _read(self) -> None:
        self._command = Command(**json.loads(self._control.read_text()))
        self._left = self._command.skip


def install(failpoints: Failpoints, service: str) -> None:
    """Lay the points of a service around its parts."""
    _around_scripts(failpoints)
    _shift_clock(failpoints)
    if service == "worker":
        _around_reads(failpoints)
        _around_orders(failpoints)


def _around_scripts(failpoints: Failpoints) -> None:
    from libs.common.store.scripts import Script

    run = Script.run

    async def watched(self: Script, *arguments: Any, **options: Any) -> Any:
        failpoints.reached(f"before-{self.name}")
        reply = await run(self, *arguments, **options)
        failpoints.reached(f"after-{self.name}")
        return reply

    _replace(Script, "run", watched)


def _around_reads(failpoints: Failpoints) -> None:
    from libs.common.store.lanes import Reader

    read = Reader.read

    async def watched(self: Reader, count: int, block_ms: int) -> Any:
        tokens = await read(self, count, block_ms)
        if tokens:
            failpoints.reached("after-read")
        return tokens

    _replace(Reader, "read", watched)


def _around_orders(failpoints: Failpoints) -> None:
    # By its name: only here are the insides of the adapter anybody's business.
    module = importlib.import_module("services.worker.brokers.http")
    broker = module.HttpBroker
    place = broker.place

    async def placed(self: Any, request: Any, still_ours: Callable[[], bool]) -> Any:
        asked = 0

        def asks() -> bool:
            nonlocal asked
            asked += 1
            is_ours = still_ours()
            if is_ours and asked == 2:  # the last word before the first byte
                failpoints.reached("before-send")
                # In the next turn of the loop, when the transport has sent what it is given now.
                asyncio.get_running_loop().call_soon(failpoints.reached, "after-send")
            return is_ours

        report = await place(self, request, asks)
        failpoints.reached("after-answer")
        return report

    _replace(broker, "place", placed)


def _shift_clock(failpoints: Failpoints) -> None:
    from libs.common.runtime.system_clock import SystemClock

    now_ms = SystemClock.now_ms
    _replace(SystemClock, "now_ms", lambda self: now_ms(self) + failpoints.clock_ms)


def _replace(owner: type, name: str, by: Any) -> None:
    original = getattr(owner, name)
    # A lambda has no name of its own to keep.
    setattr(owner, name, functools.wraps(original)(by))
