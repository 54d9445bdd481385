"""A whole bridge whose every part can be hurt: services with failpoints, each behind a proxy of its own, Redis, a venue."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.chaos.failpoints import CONTROL, Command, write_command
from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET, VENUE_SECRET, merge
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.venue import Venue

ACCOUNTS: Final = ("desk", "fund")
LEASE_S: Final = 6.0
HASTY_TOKEN: Final = "hasty-token-for-tests-only-0123456789abcdef"
HASTY_AGE_S: Final = 3
LIMIT_PER_S: Final = 4
LIMIT_BURST: Final = 2
LIMITED: Final = ("R01", "R02")
"""Markets behind a rate limit."""

SUPERVISED_S: Final = 0.5
"""Between looks at whether all processes run."""

DISK: Final = "1500m"
"""The small disk on which Redis writes where one can be mounted."""


def config(venue_url: str) -> dict[str, Any]:
    """Return the configuration: two accounts whose alerts live long, and a webhook for those that do not."""
    limit = {"rate": f"{LIMIT_PER_S}/s", "burst": LIMIT_BURST}
    account = {
        "broker": "http",
        "default_quantity": 1,
        "secret": "DESK_SECRET",
        "look_up_lag": "1s",
        "limits": {"symbols": dict.fromkeys(LIMITED, limit)},
    }
    return {
        "redis": {"durability": "always"},
        "worker": {"lease": f"{LEASE_S:g}s"},
        "webhooks": {
            "default": {
                "secret": "WEBHOOK_SECRET",
                "accounts": list(ACCOUNTS),
                "rate": "off",
                "max_age": "600s",
            },
            "hasty": {
                "token": "HASTY_TOKEN",
                "auth": ["url"],
                "accounts": ["desk"],
                "rate": "off",
                "max_age": f"{HASTY_AGE_S}s",
            },
        },
        "accounts": {name: {**account, "url": f"{venue_url}/{name}"} for name in ACCOUNTS},
        "limits": {"symbol": {"rate": "off", "burst": 1}, "account": {"rate": "off", "burst": 1}},
        "retention": {"alerts": "1h", "journal": "1h"},
    }


@dataclass(frozen=True)
class Kill:
    """A worker that died with lanes."""

    at_ms: int
    lanes: frozenset[str]


class Process(Service):
    """A service with failpoints, behind a proxy to Redis that is its own."""

    def __init__(
        self, name: str, base: Mapping[str, Any], directory: Path, label: str, redis_url: str
    ) -> None:
        self.proxy = Proxy(redis_url).start()
        self._control = directory / f"{label}.command"
        own: dict[str, Any] = {"redis": {"url": self.proxy.url}}
        if name == "ingress":
            own["ingress"] = {"port": free_port()}
        environment = {
            "WEBHOOK_SECRET": SECRET,
            "HASTY_TOKEN": HASTY_TOKEN,
            "DESK_SECRET": VENUE_SECRET,
            "REDIS_URL": self.proxy.url,
            CONTROL: str(self._control),
        }
        super().__init__(name, merge(base, own), directory, environment=environment, label=label)
        self.is_wanted = True
        """Whether it is to run; else it was scaled away."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.chaos.service", self.name]

    def tell(self, command: Command) -> bool:
        """Tell it what to do at a failpoint; returns whether it runs and could be told."""
        write_command(self._control, command)
        if not self.is_running:
            return False
        os.kill(self.pid, signal.SIGUSR1)
        return True

    def is_stopped(self) -> bool:
        """Return whether SIGSTOP holds it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    async def answers(self) -> bool:
        """Return whether its ready probe says yes."""
        try:
            return self.is_running and await asyncio.to_thread(self.is_ready)
        except RuntimeError:  # it ended meanwhile
            return False

    def end(self) -> None:
        """Kill it for good, whatever state it is in."""
        self.kill()
        self.proxy.close()


class World:
    """Everything there is in one run.

    Args:
        directory: For configuration files and logs.
        ingresses: How many run, as of the others.
        workers: How many when nobody scales.
        reapers: The same.
    """

    def __init__(self, directory: Path, *, ingresses: int = 2, workers: int = 3, reapers: int = 2) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.workers_wanted = workers
        self.server = RedisServer()
        self.has_small_disk = _mount(self.server.directory)
        self.venue = Venue(secret=VENUE_SECRET)
        self.bridge = Bridge(
            directory,
            self.server,
            ingresses=0,
            workers=0,
            reapers=0,
            environment={"HASTY_TOKEN": HASTY_TOKEN},
        )
        self._counts = {"ingress": ingresses, "worker": workers, "reaper": reapers}
        self.busy: set[str] = set()
        """What faults have in their hands now: labels of processes, and what there is one of: `redis`, `venue`, `scale`,
        `operator`."""
        self.kills: list[Kill] = []
        self.redis_back_ms: list[int] = []
        """When Redis answered again after it had been killed."""
        self.malformed = 0
        """Entries that nobody can read, put into lanes by faults."""

    @property
    def processes(self) -> list[Process]:
        return [service for service in self.bridge.services if isinstance(service, Process)]

    def of_kind(self, kind: str) -> list[Process]:
        return [process for process in self.processes if process.name == kind and process.is_wanted]

    async def start(self) -> Self:
        """Start everything and wait until it is ready."""
        self.server.start()
        self.venue.start()
        base = config(self.venue.url)
        groups = {
            "ingress": self.bridge.ingresses,
            "worker": self.bridge.workers,
            "reaper": self.bridge.reapers,
        }
        for kind, count in self._counts.items():
            for number in range(count):
                process = Process(kind, base, self.directory, f"{kind}-{number + 1}", self.server.url)
                groups[kind].append(process)
                process.start()
        for process in self.processes:
            await self.wait_ready(process)
        return self

    def close(self) -> None:
        """End everything and delete Redis' data."""
        for process in self.processes:
            process.end()
        self.bridge.close()
        self.venue.close()
        self.server.kill()
        if self.has_small_disk:
            subprocess.run(["umount", "--lazy", self.server.directory], check=False, capture_output=True)
        self.server.close()

    async def supervise(self) -> None:
        """Start again what ended by itself, until cancelled; what a fault ended, its fault starts again."""
        while True:
            await asyncio.sleep(SUPERVISED_S)
            for process in self.processes:
                if process.is_wanted and process.label not in self.busy and not process.is_running:
                    process.start()
            if "redis" not in self.busy and not self.server.is_running:
                self.server.start(30.0)
                self.note_redis_back()

    def add_worker(self) -> Process:
        """Start one more, or again one that was scaled away."""
        for process in self.processes:
            if process.name == "worker" and not process.is_wanted:
                break
        else:
            label = f"worker-{len(self.bridge.workers) + 1}"
            process = Process("worker", config(self.venue.url), self.directory, label, self.server.url)
            self.bridge.workers.append(process)
        process.is_wanted = True
        process.start()
        return process

    async def wait_ready(self, process: Process, timeout_s: float = 30.0) -> bool:
        """Wait until it is ready; returns whether it became so."""
        try:
            return await eventually(process.answers, timeout_s, 0.05)
        except AssertionError:
            return False

    def note_redis_back(self) -> None:
        """Note that Redis answers again after it had been killed."""
        self.redis_back_ms.append(now_ms())

    def note_kill(self, process: Process) -> None:
        """Note what a worker held that is dead now."""
        if process.name != "worker" or not self.server.is_running or "redis" in self.busy:
            return
        with contextlib.suppress(Exception):
            lanes = frozenset(self.bridge.lanes_held_by(process))
            if lanes:
                self.kills.append(Kill(now_ms(), lanes))

    @contextmanager
    def holding(self, what: str) -> Iterator[None]:
        """Keep other faults off a process, `redis`, `venue` or what else there is one of."""
        self.busy.add(what)
        try:
            yield
        finally:
            self.busy.discard(what)

    def free(self, kind: str, rng: random.Random) -> Process | None:
        """Return a running process of a kind that no fault has in its hands; None where there is none."""
        found = [
            process
            for process in self.of_kind(kind)
            if process.label not in self.busy and process.is_running and not process.is_stopped()
        ]
        return rng.choice(found) if found else None


def now_ms() -> int:
    """Return the time that Redis and the venue stamp with: they run on this machine."""
    return time.time_ns() // 1_000_000


def _mount(directory: Path) -> bool:
    """Put a small disk there, where we may."""
    if os.geteuid() != 0:
        return False
    options = ["-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(directory)]
    return subprocess.run(["mount", *options], check=False, capture_output=True).returncode == 0
