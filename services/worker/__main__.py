"""Runs a worker: `python -m services.worker`."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName, Holder, Market
from libs.common.policy.limits import Limit
from libs.common.policy.risk_rules import NO_RISK, RiskBook
from libs.common.runtime.account_settings import OnDrift
from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.risk_settings import RiskSettings
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import BreakerExits, Settings
from libs.common.store.breakers import SharedBreakers
from libs.common.store.client import connect
from libs.common.store.following import FollowedOrders
from libs.common.store.halts import Halts
from libs.common.store.in_flight import InFlightOrders
from libs.common.store.incarnation import Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.lanes import Lanes, Reader
from libs.common.store.markets import MarketStore
from libs.common.store.orders import NO_LIMIT, Orders
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from libs.common.store.retention import Retention
from libs.common.store.tables import TableStore
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.web.health import Check, Degraded, Health, Healthy
from services.worker.account import Account, MarketLimits
from services.worker.attempts import Attempts
from services.worker.breakers import Breakers
from services.worker.brokers.port import Broker
from services.worker.brokers.registry import build_brokers, traced, venue_of
from services.worker.consumer import BLOCK_MS, Consumer
from services.worker.executor import Executor
from services.worker.follower import FollowedAccount, Follower
from services.worker.heartbeat import Heartbeat
from services.worker.instruments import Instruments
from services.worker.lane import LaneRunner
from services.worker.leases import Leases
from services.worker.mapping import MappingCheck
from services.worker.markets import MarketLists
from services.worker.planning import Planner
from services.worker.reconciler import ReconciledAccount, Reconciler
from services.worker.resolver import Resolver
from services.worker.slots import Slots
from services.worker.solo import Solo

STUCK_MS: Final = 10_000
"""A loop that has not come round for this long will not by itself."""

STORE_TIMEOUT_S: Final = 2.0

LAST_S: Final = 3.0
"""For calls under way when the drain time is over; a little more than one may take."""

log = get_logger()


def accounts_of(settings: Settings, brokers: Mapping[AccountName, Broker]) -> dict[AccountName, Account]:
    """Return what the worker knows of each account."""
    return {
        name: Account(
            name=name,
            broker=brokers[name],
            window_ms=settings.request_expiry_of(name),
            default_quantity=account.default_quantity,
            limits_of=_limits_of(settings, name),
            mode=account.symbols,
            rules=frozenset(account.symbol_rules),
            risk=_risk_of(account.risk),
            fill_wait_ms=account.fill_wait_ms,
            on_unknown=account.on_unknown,
            exits_pass_breaker=settings.breaker.exits is BreakerExits.PASS,
            is_reconciled=account.reconcile_every_ms is not None,
        )
        for name, account in settings.accounts.items()
    }


def followed_accounts(
    settings: Settings, brokers: Mapping[AccountName, Broker]
) -> dict[AccountName, FollowedAccount]:
    """Return what the follower knows of each account."""
    return {
        name: FollowedAccount(
            brokers[name],
            account.order_time_limit_ms,
            counts_fills=account.reconcile_every_ms is not None,
            venue=venue_of(account),
        )
        for name, account in settings.accounts.items()
    }


def reconciled_accounts(
    settings: Settings, brokers: Mapping[AccountName, Broker]
) -> dict[AccountName, ReconciledAccount]:
    """Return the accounts that are compared with their venues."""
    return {
        name: ReconciledAccount(brokers[name], every_ms, account.reconcile.on_drift is OnDrift.HALT)
        for name, account in settings.accounts.items()
        if (every_ms := account.reconcile_every_ms) is not None
    }


def slots_per_account(settings: Settings) -> int:
    """Return how many slots one account may use: half of them, where there is another to leave room for."""
    concurrency = settings.worker.concurrency
    return concurrency if len(settings.accounts) == 1 else max(1, concurrency // 2)


def _limits_of(settings: Settings, name: AccountName) -> Callable[[Market], MarketLimits]:
    @cache
    def limits_of(market: Market) -> MarketLimits:
        limits = settings.limits_for(name, market)
        return MarketLimits(symbol=_pair(limits.symbol), account=_pair(limits.account))

    return limits_of


def _risk_of(settings: RiskSettings) -> RiskBook:
    book = settings.book()
    return NO_RISK if book == NO_RISK else book


def _pair(limit: Limit | None) -> tuple[int, int]:
    return NO_LIMIT if limit is None else (limit.interval_us, limit.burst)


async def main(service: Service) -> None:
    """Execute lanes until `stopping` is set, then hand them back."""
    settings, clock, worker = service.settings, service.clock, service.settings.worker
    metrics, keys = WorkerMetrics(service.registry), Keys()
    holder = Holder(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    incarnations = Incarnations(
        keys,
        durability=settings.redis.durability,
        window_ms=worker.lease_ms,  # every request is over before its lane's lease
        on_new=lambda new: _incarnated(new, metrics),
    )
    client = connect(settings.redis.url, timeout_s=STORE_TIMEOUT_S, greet=incarnations.greet)
    reading = connect(settings.redis.url, timeout_s=BLOCK_MS / 1_000 + STORE_TIMEOUT_S, connections=1)
    brokers = traced(build_brokers(settings, client, keys, clock, os.environ), settings, service.tracer)
    retention = Retention(settings.retention.alerts_ms, settings.retention.dead_letters_ms)
    lanes, orders = Lanes(client, keys, holder), Orders(client, keys, holder, retention)
    leases, solo = Leases(clock, worker.lease_ms), Solo()
    mapping = MappingCheck(TableStore(client, keys), [one.entry() for one in settings.symbols])
    published = Published(client, keys)
    lists = MarketLists(brokers, MarketStore(client, keys), clock)
    followed = FollowedOrders(client, keys, holder, retention)
    reconciliation, halts = Reconciliation(client, keys, holder), Halts(client, keys)
    reconciler = Reconciler(
        reconciled_accounts(settings, brokers),
        store=reconciliation,
        orders=followed,
        published=published,
        halts=halts,
        clock=clock,
        metrics=metrics,
    )
    follower = Follower(
        followed_accounts(settings, brokers), followed, clock, metrics, reconciler.publish, service.tracer
    )
    shared_breakers = SharedBreakers(client, keys)
    attempts = Attempts(
        lanes=lanes,
        orders=orders,
        resolver=Resolver(orders),
        breakers=Breakers(settings.breaker, clock, shared_breakers.report),
        shared_breakers=shared_breakers,
        clock=clock,
        metrics=metrics,
        lease_ms=worker.lease_ms,
        probe_ms=worker.lease_ms,
        poison_limit=worker.poison_limit,
    )
    executor = Executor(
        accounts=accounts_of(settings, brokers),
        lanes=lanes,
        orders=orders,
        attempts=attempts,
        planner=Planner(
            mapping=mapping,
            instruments=Instruments(clock),
            published=published,
            days=reconciliation,
            in_flight=InFlightOrders(client, keys),
            halts=halts,
            clock=clock,
        ),
        clock=clock,
        metrics=metrics,
        poison_limit=worker.poison_limit,
    )
    runner = LaneRunner(
        lanes=lanes, executor=executor, solo=solo, clock=clock, metrics=metrics, tracer=service.tracer
    )
    consumer = Consumer(
        reader=Reader(reading, keys, holder),
        lanes=lanes,
        leases=leases,
        runner=runner,
        solo=solo,
        clock=clock,
        metrics=metrics,
        slots=Slots(clock, count=worker.concurrency, per_account=slots_per_account(settings)),
    )
    heartbeat = Heartbeat(lanes, leases, clock, lease_ms=worker.lease_ms)
    ops = ops_server(
        service.name,
        service.registry,
        worker.ops_host,
        worker.ops_port,
        ready=_ready(consumer),
        live=_live(clock, consumer, heartbeat),
    )
    ended, background = asyncio.Event(), list[asyncio.Task[None]]()
    try:
        await ops.start()
        service.started(ops_port=ops.port, holder=holder)
        await check_when_up(client, settings.redis.durability, service.stopping)
        background += [
            asyncio.create_task(loop.run(ended)) for loop in (mapping, lists, follower, reconciler)
        ]
        await _execute(service.stopping, lanes, leases, consumer, heartbeat, drain_ms=worker.drain_ms)
    finally:
        ended.set()
        if background:
            await asyncio.wait(background, timeout=LAST_S)
        await ops.stop()
        for broker in brokers.values():
            await broker.aclose()
        await reading.aclose()
        await client.aclose()


async def _execute(
    stopping: asyncio.Event,
    lanes: Lanes,
    leases: Leases,
    consumer: Consumer,
    heartbeat: Heartbeat,
    *,
    drain_ms: int,
) -> None:
    """Execute lanes until `stopping` is set; then hand them back, in the drain time."""
    stopped = asyncio.Event()
    beating = asyncio.create_task(heartbeat.run(stopped))
    with suppress(BridgeError):  # else the first read finds none, and creates it
        await lanes.create_group()
    consuming = asyncio.create_task(consumer.run())
    ending = asyncio.create_task(stopping.wait())
    await asyncio.wait([consuming, beating, ending], return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if beating.done():
        await beating  # without it every lane would be lost: end with its error
    consumer.stop()
    done, _ = await asyncio.wait([consuming], timeout=drain_ms / 1_000)
    if not done:
        # Leases lapse, and the lanes go on elsewhere: what was sent is looked up there.
        get_logger().error("drain_timed_out", lanes=consumer.running)
        leases.give_up()
    stopped.set()
    await asyncio.wait([consuming, beating], timeout=LAST_S)
    with suppress(BridgeError):
        await lanes.check_out()
    if consuming.done():
        await consuming


def _incarnated(new: Incarnated, metrics: WorkerMetrics) -> None:
    """Say that Redis was restarted, or that another server took over."""
    metrics.redis_incarnated(is_suspect=new.suspect_until_ms is not None)
    names = {"run_id": new.run_id, "before": new.before}
    if new.suspect_until_ms is None:
        log.info("redis_incarnated", **names)
    else:
        log.warning("redis_incarnated", **names, suspect_until_ms=new.suspect_until_ms)


def _ready(consumer: Consumer) -> Check:
    async def ready() -> Health:
        return Healthy() if consumer.is_connected else Degraded(f"no token could be read: {consumer.problem}")

    return ready


def _live(clock: Clock, consumer: Consumer, heartbeat: Heartbeat) -> Check:
    async def live() -> Health:
        for name, loop in (("consumer", consumer), ("heartbeat", heartbeat)):
            stands_ms = clock.monotonic_ms() - loop.beat_at_ms
            if stands_ms > STUCK_MS:
                return Degraded(f"the {name} has stood still for {stands_ms} ms")
        return Healthy()

    return live


if __name__ == "__main__":
    sys.exit(run_service("worker", main, os.environ))
