"""What end-to-end tests do to a running bridge, and how they watch what follows."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.e2e.ledger import LANES, journal, lane_of
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, merge
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.service import Service
from tests.support.venue import Venue

SHORT_LEASE: Final[Mapping[str, object]] = {
    "worker": {"lease": "1500ms"},
    "accounts": {ACCOUNT: {"request_expiry": "500ms"}},
    "webhooks": {"default": {"max_age": "600s"}},
}
"""Configuration for tests in which many leases lapse."""


@dataclass(frozen=True)
class Kill:
    """A worker that died with leases."""

    at_ms: int
    """Once it was dead."""
    lanes: frozenset[str]
    """That it held as it died."""


def now_ms() -> int:
    """Return the time that Redis and the venue stamp with: they run on this machine."""
    return time.time_ns() // 1_000_000


async def wait_orders(venue: Venue, count: int, timeout_s: float = 30.0) -> int:
    """Wait until the venue has executed so many orders in all; return how many it has."""

    def executed() -> int:
        found = venue.stats()["executed"]
        assert found >= count, f"{found} of {count} orders"
        return found

    return await eventually(executed, timeout_s, message=f"{count} orders")


async def wait_until(monotonic_s: float) -> None:
    """Wait for a moment: faults that last longer than a lease are measured by the clock."""
    await eventually(lambda: time.monotonic() >= monotonic_s, timeout_s=60.0, message="the time has come")


def name_workers_at(bridge: Bridge, venue: Venue | Proxy) -> None:
    """Give each worker not yet started a book of its own at the venue: `book` in the ledger is then its label."""
    for worker in bridge.workers:
        if not worker.is_running:
            send_to(worker, venue)


def send_to(worker: Service, venue: Venue | Proxy) -> None:
    """Let a worker send its orders there from its next start on, into a book named like it."""
    worker.config = merge(worker.config, {"accounts": {ACCOUNT: {"url": f"{venue.url}/{worker.label}"}}})


def fences_of(bridge: Bridge, worker: Service) -> dict[str, str]:
    """Return lane -> `token|holder` for every lane a worker holds."""
    fences: dict[str, str] = bridge.client.hgetall(LANES)
    mine = bridge.lanes_held_by(worker)
    return {lane: fence for lane, fence in fences.items() if lane in mine and f"-{worker.pid}-" in fence}


async def kill_holding(bridge: Bridge, worker: Service, lanes_at_least: int = 1) -> Kill | None:
    """Kill a worker that holds leases; None where it had just handed its last lane back as it died."""
    await wait_holding(bridge, worker, lanes_at_least)
    worker.kill()
    at_ms = now_ms()
    # Read after its death, so these are what it died with.
    lanes = frozenset(bridge.lanes_held_by(worker))
    return Kill(at_ms, lanes) if lanes else None


async def wait_holding(bridge: Bridge, worker: Service, lanes_at_least: int) -> list[str]:
    """Wait until a worker holds so many lanes, and return them."""

    def held() -> list[str]:
        lanes = bridge.lanes_held_by(worker)
        assert len(lanes) >= lanes_at_least, f"it holds {len(lanes)}"
        return lanes

    return await eventually(held, 30.0, 0.005, f"{worker.label} holds {lanes_at_least} lanes")


def takeovers_ms(bridge: Bridge, venue: Venue, kills: Sequence[Kill]) -> list[int]:
    """Return how long each lane of a dead worker stood still: until its next order reached the venue.

    A lane whose last order had reached the venue before the kill counts until that order's instruction ended. A lane
    that lost another holder while it stood still counts from that one's death.
    """
    executed = {entry["alert_id"]: entry["executed_at_ms"] for entry in venue.ledger()}
    orders: dict[str, list[int]] = defaultdict(list)
    ends: dict[str, list[int]] = defaultdict(list)
    for event in journal(bridge):
        if event.event == "SENDING" and event.alert_id in executed:
            orders[event.lane].append(max(event.at_ms, executed[event.alert_id]))
        elif event.event == "EXECUTED":
            ends[event.lane].append(event.at_ms)
    deaths: dict[str, list[int]] = defaultdict(list)
    for kill in kills:
        for lane in kill.lanes:
            deaths[lane].append(kill.at_ms)
    stood: list[int] = []
    for lane, times in deaths.items():
        for at_ms, next_at_ms in zip(times, [*times[1:], None], strict=True):
            later = [at for at in orders[lane] if at >= at_ms] or [at for at in ends[lane] if at >= at_ms]
            assert later, f"{lane} never went on after a kill at {at_ms}"
            if next_at_ms is None or min(later) <= next_at_ms:
                stood.append(min(later) - at_ms)
    return stood


def next_orders_ms(
    venue: Venue, symbols: Iterable[str], after_ms: int, *, but_from: str | None = None
) -> dict[str, int]:
    """Return how long after a moment each symbol traded next, but for orders of one worker; those that did not lack."""
    found: dict[str, int] = {}
    wanted = set(symbols)
    for entry in venue.ledger():
        if entry["symbol"] in wanted and entry["executed_at_ms"] >= after_ms and entry["book"] != but_from:
            found.setdefault(entry["symbol"], entry["executed_at_ms"] - after_ms)
    return found


def symbols_of(lanes: Iterable[str]) -> set[str]:
    """Return the symbols of lanes of the one account."""
    return {lane.removeprefix(lane_of("")) for lane in lanes}
