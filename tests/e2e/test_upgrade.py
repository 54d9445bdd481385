"""A rolling update under load: the release before and this tree beside each other, one Redis."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.ledger import all_accepted, assert_nobody_reclaimed, assert_whole_run
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.redis_server import RedisServer
from tests.support.releases import Release, earlier_release
from tests.support.service import Service
from tests.support.venue import Venue

SYMBOLS: Final = 16

BridgeFactory = Callable[..., Bridge]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return earlier_release(tmp_path_factory.mktemp("release"))


class Balancer:
    """Sends each post to the next ingress, as a load balancer does that knows which are ready."""

    def __init__(self, ingresses: Sequence[Service]) -> None:
        self._ready = list(ingresses)
        self._turns = itertools.count()
        self.answers: list[Answer] = []

    def leave_out(self, ingress: Service) -> None:
        """Send it nothing more; posts that are under way go on."""
        self._ready.remove(ingress)

    def take_in(self, ingress: Service) -> None:
        self._ready.append(ingress)

    async def send(self, bridge: Bridge, ended: asyncio.Event, rate_per_s: float) -> list[Answer]:
        """Post alerts once each until that is set, those of one symbol one after the other; return the answers as they came."""

        async def one_symbol(symbol: str) -> None:
            while not ended.is_set():
                ingress = self._ready[next(self._turns) % len(self._ready)]
                alert = bridge.alert(symbol=symbol)
                self.answers.append(await http_client.post(f"{ingress.url}/webhook", alert))
                await asyncio.sleep(SYMBOLS / rate_per_s)

        await asyncio.gather(*(one_symbol(f"S{number}") for number in range(SYMBOLS)))
        return self.answers


class Roll:
    """Replaces services one by one while posts come."""

    def __init__(self, bridge: Bridge, balancer: Balancer) -> None:
        self._bridge = bridge
        self._balancer = balancer

    async def replace(self, service: Service, root: Path, python: Path) -> None:
        """End a service in good order and start it from another tree, then wait until posts went through the mixture."""
        is_ingress = service.name == "ingress"
        if is_ingress:
            self._balancer.leave_out(service)
        ended = await asyncio.to_thread(service.terminate)
        assert ended.code == 0, f"{service.label}: {ended}"
        assert self._bridge.lanes_held_by(service) == [], "lanes were not handed back"
        service.root, service.python = root, python
        service.start()
        await asyncio.to_thread(service.wait_ready)
        if is_ingress:
            self._balancer.take_in(service)
        seen = len(self._balancer.answers)
        await eventually(lambda: len(self._balancer.answers) >= seen + 2 * SYMBOLS, 30)

    async def all(self, root: Path, python: Path) -> None:
        """Replace all, so that every kind of the one meets every kind of the other."""
        workers, ingresses, reapers = self._bridge.workers, self._bridge.ingresses, self._bridge.reapers
        for service in (workers[0], ingresses[0], *reapers, ingresses[1], workers[1]):
            await self.replace(service, root, python)


@pytest.fixture
def older(
    release: Release, private_redis: RedisServer, venue: Venue, bridge_factory: BridgeFactory
) -> Bridge:
    """A bridge of the release before."""
    bridge = bridge_factory(private_redis, venue=venue, ingresses=2, workers=2, is_started=False)
    for service in bridge.services:
        service.root, service.python = release.root, release.python
    return bridge.start()


async def roll(bridge: Bridge, venue: Venue, trees: Sequence[tuple[Path, Path]]) -> None:
    """Roll a bridge from tree to tree under load, and fail on anything that a sender or a venue would notice."""
    venue.control(delay_ms=30)
    balancer, ended = Balancer(bridge.ingresses), asyncio.Event()
    sending = asyncio.create_task(balancer.send(bridge, ended, rate_per_s=40))
    await eventually(lambda: len(balancer.answers) >= 2 * SYMBOLS, 30)
    rolling = Roll(bridge, balancer)
    try:
        for root, python in trees:
            await rolling.all(root, python)
    finally:
        ended.set()
        answers = await sending
    alert_ids = all_accepted(answers)
    await bridge.wait_ended(len(alert_ids), 60)
    await assert_whole_run(bridge, venue, alert_ids)
    # Each order went out once, and nobody had to ask what became of one.
    assert len(venue.ledger()) == len(alert_ids)
    assert venue.stats()["lookups"] == 0
    assert_nobody_reclaimed(bridge)


def here(bridge: Bridge) -> tuple[Path, Path]:
    fresh = Service("worker", bridge.config, bridge.directory, label="fresh")
    return fresh.root, fresh.python


async def test_a_rolling_update_refuses_no_post_and_sends_no_order_twice(older: Bridge, venue: Venue):
    await roll(older, venue, [here(older)])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_an_update_that_is_taken_back_and_made_again_is_noticed_by_nobody(
    older: Bridge, release: Release, venue: Venue
):
    await roll(older, venue, [here(older), (release.root, release.python), here(older)])


@pytest.mark.slow
async def test_what_either_release_queued_the_other_executes(older: Bridge, release: Release, venue: Venue):
    trees, ids = [here(older), (release.root, release.python)], list[str]()
    for ingress_tree, worker_tree in (trees, reversed(trees)):
        for service in (*older.workers, *older.ingresses):
            service.terminate()
            service.root, service.python = ingress_tree if service.name == "ingress" else worker_tree
        for ingress in older.ingresses:
            ingress.start().wait_ready()
        answers: list[Any] = await older.send_many([older.alert(symbol=f"S{n % 4}") for n in range(40)])
        ids += all_accepted(answers)
        for worker in older.workers:
            worker.start().wait_ready()
        await older.wait_ended(len(ids))
    await assert_whole_run(older, venue, ids)
