"""A whole bridge for benchmarks that measure more than one process: private Redis, venue, services.

Nothing is pinned here. Seven processes on two cores run where the kernel puts them, as they do in production.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.cores import busy_s, cpu_s
from benchmarks.planned_load import Planned, Posts, post_as_planned
from benchmarks.private_redis import private_redis
from benchmarks.venue import Arrival, BenchVenue
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually_sync
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

STRATEGIES = {"accounts": {ACCOUNT: {"lane_by": "strategy"}}}
"""Configuration: a lane for each strategy of a symbol, where alerts name one."""


@dataclass
class Scene:
    """A running bridge, its Redis and the venue that its orders go to."""

    bridge: Bridge
    redis: RedisServer
    venue: BenchVenue
    alerts_made: int = 0

    @property
    def port(self) -> int:
        """Return where alerts are posted to."""
        port: int = self.bridge.ingresses[0].config["ingress"]["port"]
        return port

    def alerts(self, symbols: Sequence[str], dues_us: Sequence[int], strategies: int = 1) -> list[Planned]:
        """Return an alert for each moment, going round the symbols, and where asked round strategies after that."""
        planned = []
        for number, due_us in enumerate(dues_us):
            fields: dict[str, Any] = {"quantity": "0.5", "price": "64250.5"}
            if strategies > 1:
                # FactorQX' own alerts name no strategy.
                fields |= {"bascule": 1, "strategy": f"strategy-{number // len(symbols) % strategies}"}
            alert = self.bridge.alert(
                symbols[number % len(symbols)], id=f"bench-{self.alerts_made:09d}", **fields
            )
            self.alerts_made += 1
            planned.append(Planned(due_us, "/webhook", orjson.dumps(alert)))
        return planned

    def post(self, planned: Sequence[Planned], connections: int) -> Posts:
        """Post as planned, and check that every alert was taken."""
        posts = post_as_planned(self.port, planned, connections=connections)
        posts.require_all_taken()
        return posts

    def orders_of(self, posts: Posts, timeout_s: float = 60.0) -> dict[str, Arrival]:
        """Wait until each of these alerts has led to an order, and return the orders by alert.

        Raises:
            RuntimeError: One led to two.
        """
        wanted = {post.alert_id for post in posts.posted}
        eventually_sync(
            lambda: self.venue.executed() >= len(wanted),
            timeout_s,
            0.05,
            f"{len(wanted)} orders at the venue",
        )
        arrivals = self.venue.arrivals()
        found = {arrival.alert_id: arrival for arrival in arrivals}
        if len(found) != len(arrivals) or found.keys() != wanted:
            raise RuntimeError(
                f"{len(wanted)} alerts, {len(arrivals)} orders of {len(found)} alerts: lost or doubled"
            )
        return found

    def wait_idle(self) -> None:
        """Wait until no lane has work."""
        lanes = "bascule:{s0}:lanes"
        eventually_sync(lambda: not self.bridge.client.exists(lanes), 60, 0.02, "every lane is empty")

    def used_s(self) -> dict[str, float]:
        """Return the processor time that each part has used so far, and the whole machine."""
        used = {"redis": cpu_s(self.redis.pid), "venue": cpu_s(self.venue.pid), "machine": busy_s()}
        for service in self.bridge.services:
            used[service.name] = used.get(service.name, 0.0) + cpu_s(service.pid)
        return used

    def forget(self) -> None:
        """Forget what was traded so far; the bridge has ended it all."""
        self.wait_idle()
        self.venue.forget()

    def journal(self, since: str = "-") -> list[tuple[str, dict[str, str]]]:
        """Return the journal, oldest first, from an entry on."""
        entries: list[tuple[str, dict[str, str]]] = self.bridge.client.xrange("bascule:{s0}:journal", since)
        return entries


@contextmanager
def scene(*, workers: int = 2, config: Mapping[str, Any] | None = None) -> Iterator[Scene]:
    """Run a bridge whose one account trades at a `BenchVenue`."""
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis() as redis,
        BenchVenue() as venue,
        bridge_at(Path(directory), redis, venue.url, workers=workers, config=config) as bridge,
    ):
        bridge.start()
        yield Scene(bridge, redis, venue)


@contextmanager
def bridge_at(
    directory: Path,
    redis: RedisServer,
    venue_url: str,
    *,
    workers: int,
    config: Mapping[str, Any] | None = None,
) -> Iterator[Bridge]:
    """Give a bridge that trades there, still to be started; its processes end with the block."""
    account: dict[str, Any] = {"broker": "http", "default_quantity": 1, "url": venue_url}
    account |= {"secret": "DESK_SECRET", **(config or {}).get("accounts", {}).get(ACCOUNT, {})}
    rest = {name: section for name, section in (config or {}).items() if name != "accounts"}
    bridge = Bridge(directory, redis, workers=workers, config={**rest, "accounts": {ACCOUNT: account}})
    try:
        yield bridge
    finally:
        bridge.close()


@contextmanager
def slow_scene(
    *, workers: int, delay_ms: int, config: Mapping[str, Any] | None = None
) -> Iterator[tuple[Bridge, Venue]]:
    """Give a bridge, still to be started, that trades at the tests' venue, which keeps a ledger and answers late."""
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis() as redis,
        Venue() as venue,
        bridge_at(Path(directory), redis, venue.url, workers=workers, config=config) as bridge,
    ):
        venue.control(delay_ms=delay_ms)
        yield bridge, venue


def received_ms(alert_id: str) -> int:
    """Return when the ingress received an alert, milliseconds since the epoch: its id begins with it."""
    # 26 digits of 5 bits, the first 48 of them the time.
    return int(alert_id[:10], 32) >> 2


def evenly_us(count: int, per_s: float) -> list[int]:
    """Return the moments of so many alerts at a pace."""
    return [int(number * 1e6 / per_s) for number in range(count)]


def now_ms() -> int:
    """Return the time that Redis and the venue stamp with: they run on this machine."""
    return time.time_ns() // 1_000_000
