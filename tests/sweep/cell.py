"""A bridge of one ingress, one worker and one reaper, with a tap on each of its lines and somebody who restarts them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, VENUE_SECRET, merge
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.redis_server import Binary, RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT
from tests.support.venue import Venue
from tests.sweep.tap import Line, Switch, Tap
from tests.sweep.wire import http_language, redis_language, scripts_of

PROCESSES: Final = ("ingress", "worker", "reaper")
VENUE: Final = "worker to venue"
"""What the worker is called on its other line."""

CONFIG: Final[Mapping[str, Any]] = {
    "ingress": {"deadline": "1s"},
    "worker": {"lease": "1500ms"},
    "reaper": {"interval": "150ms"},
    "accounts": {
        ACCOUNT: {
            "request_expiry": "500ms",
            # Shorter, so that an order may arrive when its worker has given up on it.
            "timeout": "300ms",
            "look_up_lag": "100ms",
            # The fourth order of a market waits for a second, which parks its lane.
            "limits": {"symbol": {"rate": "1/s", "burst": 3}},
        }
    },
    "webhooks": {"default": {"max_age": "600s"}},
}

IDLE_S: Final = 5.5
"""For how long a bridge without work is watched: above every interval at which its loops ask for some."""


@dataclass(frozen=True)
class End:
    """How a process ended that was started again."""

    label: str
    code: int


class Cell:
    """One bridge over a Redis and a venue of its own.

    Args:
        directory: Where configuration files, logs and the venue's ledger go.
        idle: See `Switch.idle`; learned where it is empty.
        source: The tree whose services run, this one or a changed copy.
        binary: The Redis server; by default the newest.
    """

    def __init__(
        self,
        directory: Path,
        idle: dict[tuple[str, str], set[bytes]],
        *,
        source: Path = ROOT,
        binary: Binary | None = None,
    ) -> None:
        self.scripts = scripts_of(source)
        """Their texts by their names."""
        self.switch = Switch(idle)
        self.ends: list[End] = []
        """Since they were last asked for; oldest first."""
        self.resting: set[Service] = set()
        """Those that are not to run now."""
        self.redis = RedisServer(binary)
        self.venue = Venue(secret=VENUE_SECRET, directory=directory / "venue")
        self._line = Line()
        self._taps: list[Tap] = []
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "venue").mkdir(exist_ok=True)
        try:
            self.redis.start()
            self.venue.start()
            self.bridge = Bridge(
                directory, self.redis, venue=self.venue, ingresses=0, workers=0, reapers=0, config=CONFIG
            )
            language = redis_language(self.scripts)
            of_source = {} if source == ROOT else {"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
            for group, name in zip(
                (self.bridge.ingresses, self.bridge.workers, self.bridge.reapers), PROCESSES, strict=True
            ):
                tap = self._tap(name, self.redis.url, language, group)
                own: dict[str, Any] = {"redis": {"url": tap.url}}
                if name == "ingress":
                    own["ingress"] = {"port": free_port()}
                if name == "worker":
                    own["accounts"] = {
                        ACCOUNT: {"url": self._tap(VENUE, self.venue.url, http_language(), group).url}
                    }
                environment = {**self.bridge.environment, **of_source, "REDIS_URL": tap.url}
                group.append(
                    Service(name, merge(self.bridge.config, own), directory, environment=environment)
                )
        except BaseException:
            self.close()
            raise

    @property
    def worker(self) -> Service:
        return self.bridge.workers[0]

    def service(self, name: str) -> Service:
        """Return a process by its name."""
        return next(service for service in self.bridge.services if service.name == name)

    async def start(self) -> None:
        """Start everything, wait until it is ready, and learn what it does without work."""
        for service in self.bridge.services:
            service.start()
        await self.ready()
        if not self.switch.idle:
            with self.switch.learning():
                await asyncio.sleep(IDLE_S)

    def load_scripts(self) -> None:
        """Let Redis know every script."""
        for text in self.scripts.values():
            self.bridge.client.script_load(text)

    async def ready(self) -> None:
        """Wait until every process is ready, restarting those that ended."""

        async def are_ready() -> bool:
            self.supervise()
            return all([await asyncio.to_thread(_is_ready, service) for service in self.bridge.services])

        await eventually(are_ready, 30.0, 0.05, "all processes are ready")

    def supervise(self) -> None:
        """Start what has ended and is to run, as a supervisor would."""
        for service in self.bridge.services:
            code = service.exit_code
            if code is not None and service not in self.resting:
                self.ends.append(End(service.label, code))
                service.start()

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        """Supervise meanwhile."""

        async def watch() -> None:
            while True:
                self.supervise()
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    def close(self) -> None:
        """Kill everything and delete what it wrote but the directory's files."""
        if hasattr(self, "bridge"):
            self.bridge.close()
        for tap in self._taps:
            tap.close()
        self._line.close()
        self.venue.close()
        self.redis.close()

    def _tap(self, process: str, upstream: str, language: Any, group: list[Service]) -> Tap:
        def pid() -> int | None:
            return group[0].pid if group and group[0].is_running else None

        tap = Tap(process, upstream, language, self.switch, self._line, pid)
        self._taps.append(tap)
        return tap


def _is_ready(service: Service) -> bool:
    try:
        return service.is_ready()
    except RuntimeError:  # it ended; it is started again
        return False
