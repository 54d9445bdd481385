"""`bascule` as a process beside a running bridge."""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from tests.e2e.faults import now_ms
from tests.support.bridge import Bridge
from tests.support.tree import ROOT

LONGEST_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    ended_at_ms: int

    @property
    def data(self) -> Any:
        """Return what it wrote with `--json`."""
        return json.loads(self.stdout)


async def bascule(bridge: Bridge, *arguments: str) -> Outcome:
    """Run a command to its end; the test goes on meanwhile."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=bridge.directory,
        env={
            **os.environ,
            **bridge.environment,
            "PYTHONPATH": str(ROOT),
            "BASCULE_CONFIG": str(bridge.ingresses[0].config_path),
        },
    )
    try:
        async with asyncio.timeout(LONGEST_S):
            stdout, stderr = await process.communicate()
    except BaseException:  # a test that is given up too: its loop must not end before the process does
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Outcome(process.returncode, stdout.decode(), stderr.decode(), now_ms())


async def run(bridge: Bridge, *arguments: str) -> Outcome:
    """Run a command that must succeed."""
    outcome = await bascule(bridge, *arguments)
    assert outcome.code == 0, f"bascule {' '.join(arguments)}: {outcome}"
    return outcome
