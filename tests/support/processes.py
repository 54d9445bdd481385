"""Bascule's services as processes of their own, and a whole bridge made of them."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import redis
import yaml

from tests.support import http_client
from tests.support.children import spawn
from tests.support.eventually import eventually, eventually_sync
from tests.support.http_client import Answer
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

ROOT: Final = Path(__file__).parents[2]
SECRET: Final = "test-webhook-secret"
VENUE_SECRET: Final = "test-venue-secret"
ACCOUNT: Final = "desk"
ENDED: Final = frozenset({"EXECUTED", "REJECTED", "SKIPPED", "EXPIRED", "DEAD"})


@dataclass(frozen=True)
class Exit:
    """How a process ended."""

    code: int
    elapsed_s: float
    """From the signal to the end."""


class Service:
    """One process of `python -m services.<name>`.

    Args:
        name: `ingress`, `worker`, `reaper`.
        config: What goes into its configuration file.
        directory: Where that file and the logs go; shared directories need different labels.
        environment: Added to the test's own.
        label: Names its files.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        label: str | None = None,
    ) -> None:
        self.name = name
        self.label = label or name
        self.config = config
        self.root = ROOT
        """The tree that it runs from; another one from its next start on."""
        self.python = Path(sys.executable)
        self.ops_port = free_port()
        self.config_path = directory / f"{self.label}.yaml"
        self._stdout = directory / f"{self.label}.out"
        self._stderr = directory / f"{self.label}.err"
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.label} pid={self._process.pid if self._process else None} running={self.is_running}>"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.label} was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def url(self) -> str:
        """Return where it takes posts; only an ingress does."""
        return f"http://127.0.0.1:{self.config['ingress']['port']}"

    def start(self) -> Self:
        """Start it, again too, on the same ports; returns at once."""
        assert not self.is_running, f"{self.label} runs already"
        self.config_path.write_text(yaml.safe_dump(dict(self.config), sort_keys=False))
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "BASCULE_CONFIG": str(self.config_path),
            "BASCULE_OPS_PORT": str(self.ops_port),
            **self._environment,
        }
        with self._stdout.open("ab") as stdout, self._stderr.open("ab") as stderr:
            self._process = spawn(
                self.command(), stdout=stdout, stderr=stderr, environment=environment, directory=self.root
            )
        return self

    def command(self) -> list[str]:
        """Return what is run."""
        return [str(self.python), "-m", f"services.{self.name}"]

    def wait_ready(self, timeout_s: float = 20.0) -> Self:
        """Wait until its ready probe answers 200."""
        eventually_sync(self.is_ready, timeout_s, 0.02, f"{self.label} is ready")
        return self

    def is_ready(self) -> bool:
        """Return whether its ready probe answers 200 now.

        Raises:
            RuntimeError: The process has ended.
        """
        if not self.is_running:
            raise RuntimeError(f"{self.label} ended with {self.exit_code}:\n{self.log_tail()}")
        try:
            return self.ops("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ops(self, path: str) -> tuple[int, str]:
        """Get a resource of its ops port: status and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of its Prometheus samples of that name whose labels include these; 0 without any."""
        total = 0.0
        for line in self.ops("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            bare, _, rest = series.partition("{")
            if bare == name and all(f'{label}="{wanted}"' in rest for label, wanted in labels.items()):
                total += float(value)
        return total

    def terminate(self, timeout_s: float = 30.0) -> Exit:
        """Send SIGTERM and wait for the end."""
        assert self._process is not None, f"{self.label} was not started"
        started_s = time.monotonic()
        self._process.terminate()
        code = self._process.wait(timeout=timeout_s)
        return Exit(code, time.monotonic() - started_s)

    def signal_terminate(self) -> None:
        """Send SIGTERM and return at once; see `exit_code`."""
        assert self._process is not None, f"{self.label} was not started"
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Send SIGSTOP: it stalls."""
        os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """Send SIGCONT: it goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> list[dict[str, Any]]:
        """Return the log events it wrote on stdout; a line that is no JSON object comes as `{"raw": line}`."""
        events = []
        for line in self._stdout.read_text(errors="replace").splitlines() if self._stdout.exists() else []:
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            events.append(event if isinstance(event, dict) else {"raw": line})
        return events

    def errors(self) -> str:
        """Return what it wrote on stderr."""
        return self._stderr.read_text(errors="replace") if self._stderr.exists() else ""

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of what it wrote on stdout and stderr."""
        written = self._stdout.read_text(errors="replace") if self._stdout.exists() else ""
        return "\n".join([*written.splitlines()[-lines:], *self.errors().splitlines()[-lines:]])


class Bridge:
    """Ingresses, workers and reapers over one Redis, with one account `desk`.

    Args:
        directory: Where configuration files and logs go; a test's `tmp_path`.
        redis_at: A server, a proxy in front of one, or a URL. Keys are read from `server`.
        server: The server behind `redis_at`, where that is no `RedisServer`.
        venue: Sends orders there through the `http` broker; without one the broker is `broker`.
        broker: `paper` or `log`.
        ingresses: How many of each service; `add_worker` and its like start more later.
        workers: The same.
        reapers: The same.
        config: Merged over the default configuration, section by section.
        environment: Added to every process's environment.
    """

    def __init__(
        self,
        directory: Path,
        redis_at: RedisServer | Proxy | str,
        *,
        server: RedisServer | None = None,
        venue: Venue | Proxy | None = None,
        venue_secret: str = VENUE_SECRET,
        broker: str = "paper",
        ingresses: int = 1,
        workers: int = 1,
        reapers: int = 1,
        config: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.redis_url = redis_at if isinstance(redis_at, str) else redis_at.url
        found = redis_at if isinstance(redis_at, RedisServer) else server
        self._read_url = found.url if found is not None else self.redis_url
        self.venue = venue
        account: dict[str, Any] = {"broker": broker, "default_quantity": 1}
        if broker == "paper":
            account["default_price"] = 100
        if venue is not None:
            account = {"broker": "http", "default_quantity": 1, "url": venue.url, "secret": "DESK_SECRET"}
        default: dict[str, Any] = {
            "redis": {"url": self.redis_url, "durability": "always"},
            "webhooks": {
                "default": {
                    "secret": "WEBHOOK_SECRET",
                    "accounts": [ACCOUNT],
                    "rate": "off",
                    "max_age": "60s",
                }
            },
            "accounts": {ACCOUNT: account},
            "limits": {"symbol": {"rate": "off", "burst": 1}, "account": {"rate": "off", "burst": 1}},
        }
        self.config = merge(default, config or {})
        self.environment = {
            "WEBHOOK_SECRET": SECRET,
            "DESK_SECRET": venue_secret,
            "REDIS_URL": self.redis_url,
            **(environment or {}),
        }
        self.ingresses: list[Service] = []
        self.workers: list[Service] = []
        self.reapers: list[Service] = []
        self._client: Any = None
        self._posted = 0
        for add, count in ((self._ingress, ingresses), (self._worker, workers), (self._reaper, reapers)):
            for _ in range(count):
                add()

    @property
    def services(self) -> list[Service]:
        return [*self.ingresses, *self.workers, *self.reapers]

    @property
    def client(self) -> Any:
        """Return a synchronous client of the server itself, not through the proxy."""
        if self._client is None:
            self._client = redis.Redis.from_url(
                self._read_url, decode_responses=True, protocol=2, socket_timeout=10.0, retry=None
            )
        return self._client

    def read_from(self, server: RedisServer) -> None:
        """Read keys from another server from now on: one that took over."""
        if self._client is not None:
            self._client.close()
        self._client, self._read_url = None, server.url

    @property
    def webhook_urls(self) -> list[str]:
        return [f"{ingress.url}/webhook" for ingress in self.ingresses]

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start everything and wait until it is ready."""
        for service in self.services:
            if not service.is_running:
                service.start()
        for service in self.services:
            service.wait_ready(timeout_s)
        return self

    def add_worker(self) -> Service:
        """Start one more and wait until it is ready."""
        return self._worker().start().wait_ready()

    def close(self) -> None:
        """Kill every process this bridge started."""
        for service in self.services:
            service.kill()
        if self._client is not None:
            self._client.close()
            self._client = None

    def alert(
        self,
        symbol: str = "BTCUSDT",
        action: str = "buy",
        *,
        id: str | None = None,  # noqa: A002 - the dialect's key
        **fields: Any,
    ) -> dict[str, Any]:
        """Return an alert with a valid credential, and an id of its own unless one is given."""
        self._posted += 1
        return {
            "secret": self.environment["WEBHOOK_SECRET"],
            "id": id if id is not None else f"t-{self._posted}",
            "symbol": symbol,
            "action": action,
            **fields,
        }

    async def post(
        self,
        alert: Any,
        *,
        ingress: int = 0,
        timeout_s: float = 10.0,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post one alert (or raw bytes) once: `status, body = await bridge.post(bridge.alert())`."""
        return await http_client.post(self.webhook_urls[ingress], alert, timeout_s=timeout_s, headers=headers)

    async def send_many(
        self,
        alerts: Sequence[Any],
        connections: int = 16,
        *,
        rate_per_s: float | None = None,
        timeout_s: float = 10.0,
        in_order: bool = True,
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        """Post every alert once, over all ingresses, and return the answers in the order of the alerts.

        Args:
            alerts: See `alert`.
            connections: How many at once.
            rate_per_s: A pace to keep.
            timeout_s: Bound on each answer.
            in_order: Send the alerts of one symbol down one connection, so that their order of acceptance is
                their order in the list; else any connection takes the next alert.
            on_answer: Called with the alert's index and its answer as it comes.
        """
        return await http_client.send_many(
            self.webhook_urls,
            alerts,
            connections,
            rate_per_s=rate_per_s,
            timeout_s=timeout_s,
            lane_of=(lambda alert: alert["symbol"]) if in_order else None,
            on_answer=on_answer,
        )

    def instructions(self) -> dict[str, dict[str, str]]:
        """Return every instruction record, by `<alert id>:<account>`."""
        return self._records("instruction")

    def orders(self) -> dict[str, dict[str, str]]:
        """Return every order record, by client order id."""
        return self._records("order")

    def instruction_states(self) -> dict[str, str]:
        """Return the state of every instruction, by `<alert id>:<account>`."""
        return {name: record.get("state", "") for name, record in self.instructions().items()}

    def state_counts(self) -> Counter[str]:
        """Return how many instructions are in which state."""
        return Counter(self.instruction_states().values())

    async def wait_ended(self, count: int, timeout_s: float = 30.0) -> Counter[str]:
        """Wait until `count` instructions have ended and none is open; return the number per state."""

        def have_ended() -> Counter[str]:
            states = self.state_counts()
            ended = sum(number for state, number in states.items() if state in ENDED)
            assert ended >= count, f"{ended} of {count} ended: {dict(states)}"
            assert ended == states.total(), f"open: {dict(states)}"
            return states

        return await eventually(have_ended, timeout_s, 0.1, f"{count} instructions end")

    def held_lanes(self) -> dict[str, str]:
        """Return lane -> holder for every lane that a worker has opened."""
        held = {}
        fences: dict[str, str] = self.client.hgetall("bascule:{s0}:lanes")
        for lane, value in fences.items():
            holder = value.partition("|")[2]
            if holder:
                held[lane] = holder
        return held

    def lanes_held_by(self, worker: Service) -> list[str]:
        """Return the lanes a worker has opened and not handed back; a holder's name holds its process id."""
        return [
            lane
            for lane, holder in self.held_lanes().items()
            if holder.split("-")[-2:-1] == [str(worker.pid)]
        ]

    def dead_letters(self) -> list[dict[str, str]]:
        """Return the fields of every dead letter."""
        letters: list[tuple[str, dict[str, str]]] = self.client.xrange("bascule:{s0}:dead")
        return [fields for _, fields in letters]

    def log(self) -> list[dict[str, Any]]:
        """Return the log events of every process, each with its `label`."""
        return [{**event, "label": service.label} for service in self.services for event in service.log()]

    def _records(self, kind: str) -> dict[str, dict[str, str]]:
        prefix = f"bascule:{{s0}}:{kind}:"
        keys = sorted(set(self.client.scan_iter(match=f"{prefix}*", count=2_000)))
        with self.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            records = pipeline.execute()
        # One may have expired meanwhile.
        return {key.removeprefix(prefix): record for key, record in zip(keys, records, strict=True) if record}

    def _ingress(self) -> Service:
        return self._add("ingress", self.ingresses, {"ingress": {"port": free_port()}})

    def _worker(self) -> Service:
        return self._add("worker", self.workers, {})

    def _reaper(self) -> Service:
        return self._add("reaper", self.reapers, {})

    def _add(self, name: str, group: list[Service], own: Mapping[str, Any]) -> Service:
        label = f"{name}-{len(group) + 1}"
        service = Service(
            name, merge(self.config, own), self.directory, environment=self.environment, label=label
        )
        group.append(service)
        return service


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on it, section by section; None takes a key away.

    A section that names another broker replaces the whole account, whose other keys would not fit.
    """
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(known, Mapping) and isinstance(value, Mapping):
            is_replaced = value.get("broker", known.get("broker")) != known.get("broker")
            merged[key] = dict(value) if is_replaced else merge(known, value)
        else:
            merged[key] = value
    return merged


def close_all(bridges: Iterable[Bridge]) -> None:
    """Kill every process of several bridges."""
    for bridge in bridges:
        bridge.close()
