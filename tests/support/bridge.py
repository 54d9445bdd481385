"""A whole bridge of services in processes of their own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import http_client
from tests.support.bridge_config import SECRET, VENUE_SECRET, default_config, merge
from tests.support.http_client import Answer
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.stored import Stored
from tests.support.venue import Venue


class Bridge(Stored):
    """Ingresses, workers and reapers over one Redis, with one account `desk`.

    Args:
        directory: Where configuration files and logs go; a test's `tmp_path`.
        redis_at: A server, a proxy in front of one, or a URL. Keys are read from `server`.
        server: The server behind `redis_at`, where that is no `RedisServer`.
        venue: Sends orders there through the `http` broker; without one the broker is `broker`.
        broker: `paper` or `log`.
        ingresses: How many of each service; `add_worker` starts more later.
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
        super().__init__(found.url if found is not None else self.redis_url)
        self.venue = venue
        default = default_config(self.redis_url, broker, None if venue is None else venue.url)
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
        self._posted = 0
        for add, count in ((self._ingress, ingresses), (self._worker, workers), (self._reaper, reapers)):
            for _ in range(count):
                add()

    @property
    def services(self) -> list[Service]:
        return [*self.ingresses, *self.workers, *self.reapers]

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
        self.close_client()

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

    def log(self) -> list[dict[str, Any]]:
        """Return the log events of every process, each with its `label`."""
        return [{**event, "label": service.label} for service in self.services for event in service.log()]

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


def close_all(bridges: Iterable[Bridge]) -> None:
    """Kill every process of several bridges."""
    for bridge in bridges:
        bridge.close()
