"""All of a worker that one shard needs: nothing of it waits for another shard."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName, Holder
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.settings import Settings
from libs.common.store.breakers import SharedBreakers
from libs.common.store.copies import Copies
from libs.common.store.following import FollowedOrders
from libs.common.store.halts import Halts
from libs.common.store.in_flight import InFlightOrders
from libs.common.store.lanes import Lanes, Reader
from libs.common.store.markets import MarketStore
from libs.common.store.orders import Orders
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from libs.common.store.retention import Retention
from libs.common.store.shards import Shard
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.attempts import Attempts
from services.worker.breakers import Breakers
from services.worker.brokers.port import Broker
from services.worker.consumer import Consumer
from services.worker.executor import Executor
from services.worker.follower import Follower
from services.worker.heartbeat import Heartbeat
from services.worker.instruments import Instruments
from services.worker.intents import Intents
from services.worker.lane import LaneRunner
from services.worker.leases import Leases
from services.worker.look_ups import LookUps
from services.worker.mapping import MappingCheck
from services.worker.markets import MarketLists
from services.worker.parking import Parker
from services.worker.planning import Planner
from services.worker.questions import Questions
from services.worker.recall import Recall
from services.worker.reconciler import Reconciler
from services.worker.resolver import Resolver
from services.worker.roster import accounts_of, followed_accounts, reconciled_accounts, slots_per_account
from services.worker.slots import Slots
from services.worker.solo import Solo

STORE_TIMEOUT_S: Final = 2.0
"""Bound on each call to Redis."""

LAST_S: Final = 3.0
"""For calls under way when the drain time is over; a little more than one may take."""


class Loop(Protocol):
    """Goes on beside the lanes."""

    async def run(self, stopped: asyncio.Event) -> None:
        """Run until `stopped` is set."""
        ...


class Unit:
    """Reads the tokens of one shard and executes their lanes, follows its orders, compares its accounts."""

    def __init__(
        self,
        shard: Shard,
        reading: Shard,
        *,
        settings: Settings,
        brokers: Mapping[AccountName, Broker],
        mapping: MappingCheck,
        holder: Holder,
        solo: Solo,
        clock: Clock,
        metrics: WorkerMetrics,
        tracer: Tracer = OFF,
    ) -> None:
        """Args:
        shard: Whose lanes it executes.
        reading: The same with a connection that may wait for tokens.
        settings: All of them.
        brokers: Of the accounts on this shard.
        mapping: Of all shards.
        holder: The name of this process.
        solo: Of all shards.
        clock: For everything that ages.
        metrics: Of all shards.
        tracer: Makes the spans of what is executed and followed.
        """
        worker, client, keys = settings.worker, shard.client, shard.keys
        self.number = shard.number
        self._shard = shard
        self._settings = settings
        self._clock = clock
        self._began_at_ms: int | None = None
        outage = Outage(clock, shard=shard.number)
        retention = Retention(settings.retention.alerts_ms, settings.retention.dead_letters_ms)
        self._lanes = Lanes(client, keys, holder)
        self._leases = Leases(clock, worker.lease_ms)
        redis = settings.redis
        copies = Copies.wanted(redis.replicas, redis.durability, timeout_s=STORE_TIMEOUT_S)
        orders = Orders(client, keys, holder, retention, copies=copies)
        published, halts = Published(client, keys), Halts(client, keys)
        followed = FollowedOrders(client, keys, holder, retention)
        reconciliation = Reconciliation(client, keys, holder)
        reconciler = Reconciler(
            reconciled_accounts(settings, brokers),
            store=reconciliation,
            orders=followed,
            published=published,
            halts=halts,
            clock=clock,
            metrics=metrics,
            copies=Copies.wanted(
                redis.replicas, redis.durability, timeout_s=STORE_TIMEOUT_S, stamp=halts.stamp
            ),
        )
        self._follower = Follower(
            followed_accounts(settings, brokers),
            followed,
            clock,
            metrics,
            reconciler.publish,
            tracer,
            shard=shard.number,
        )
        lists = MarketLists(brokers, MarketStore(client, keys), clock)
        self._background: dict[str, Loop] = {
            "lists of markets": lists,
            "follower": self._follower,
            "reconciler": reconciler,
        }
        if shard.number == 0:
            # Where its table is: not before that Redis was found fit.
            self._background["mapping"] = mapping
        self._running: dict[str, asyncio.Task[None]] = {}
        """Those in the background, from when its Redis was found fit until they are to end."""
        shared_breakers = SharedBreakers(client, keys)
        recall = Recall(solo)
        intents = Intents(probe_ms=worker.lease_ms)
        look_ups = LookUps(
            resolver=Resolver(orders), parker=Parker(self._lanes), clock=clock, metrics=metrics
        )
        attempts = Attempts(
            lanes=self._lanes,
            orders=orders,
            intents=intents,
            look_ups=look_ups,
            breakers=Breakers(settings.breaker, clock, shared_breakers.report),
            shared_breakers=shared_breakers,
            clock=clock,
            metrics=metrics,
            poison_limit=worker.poison_limit,
        )
        executor = Executor(
            accounts=accounts_of(settings, brokers),
            lanes=self._lanes,
            orders=orders,
            intents=intents,
            look_ups=look_ups,
            attempts=attempts,
            planner=Planner(
                mapping=mapping,
                questions=Questions(
                    instruments=Instruments(clock),
                    published=published,
                    days=reconciliation,
                    in_flight=InFlightOrders(client, keys),
                    halts=halts,
                    clock=clock,
                ),
                clock=clock,
            ),
            recall=recall,
            clock=clock,
            metrics=metrics,
            poison_limit=worker.poison_limit,
        )
        self.consumer = Consumer(
            reader=Reader(reading.client, keys, holder),
            lanes=self._lanes,
            leases=self._leases,
            runner=LaneRunner(
                lanes=self._lanes,
                executor=executor,
                recall=recall,
                solo=solo,
                clock=clock,
                metrics=metrics,
                tracer=tracer,
            ),
            recall=recall,
            solo=solo,
            clock=clock,
            metrics=metrics,
            slots=Slots(
                clock, count=worker.concurrency, per_account=slots_per_account(settings, len(brokers))
            ),
            outage=outage,
            shard=shard.number,
        )
        self.heartbeat = Heartbeat(self._lanes, self._leases, clock, lease_ms=worker.lease_ms, outage=outage)

    def stands_ms(self) -> dict[str, int]:
        """Return for how long its loops have not come round, ms, by their names; none before its Redis was found fit."""
        began_at_ms = self._began_at_ms
        if began_at_ms is None:
            return {}
        now_ms = self._clock.monotonic_ms()
        beats = {"consumer": self.consumer.beat_at_ms, "heartbeat": self.heartbeat.beat_at_ms}
        if "follower" in self._running:
            beats["follower"] = self._follower.beat_at_ms
        return {name: now_ms - max(beat_at_ms, began_at_ms) for name, beat_at_ms in beats.items()}

    def ended(self) -> list[str]:
        """Return which of its loops in the background broke: they do not come back by themselves."""
        return [
            name
            for name, task in self._running.items()
            if task.done() and not task.cancelled() and task.exception() is not None
        ]

    def problem(self) -> str | None:
        """Return why it cannot execute lanes now; None where it can."""
        if not self.consumer.is_connected:
            return f"no token could be read: {self.consumer.problem}"
        # With all of its slots in use nothing is read, for as long as its venues like.
        if self.heartbeat.problem:
            return f"no lease could be renewed: {self.heartbeat.problem}"
        return None

    async def run(self, claimed: asyncio.Event, stopping: asyncio.Event) -> None:
        """Execute lanes until `stopping` is set, then hand them back.

        Args:
            claimed: Of all shards of this process; see `check_when_up`.
            stopping: Ends it.

        Raises:
            ConfigError: Redis does not let us in, or does not keep the promises of the configuration.
        """
        ended, background = asyncio.Event(), dict[str, asyncio.Task[None]]()
        try:
            if not await check_when_up(self._shard, self._settings.redis, claimed, stopping):
                return
            background = {
                name: asyncio.create_task(loop.run(ended)) for name, loop in self._background.items()
            }
            self._running = background
            await self._execute(stopping)
        finally:
            ended.set()
            self._running = {}
            if background:
                await asyncio.wait(background.values(), timeout=LAST_S)

    async def _execute(self, stopping: asyncio.Event) -> None:
        """Execute lanes until `stopping` is set; then hand them back, in the drain time."""
        lanes, consumer, drain_ms = self._lanes, self.consumer, self._settings.worker.drain_ms
        stopped = asyncio.Event()
        self._began_at_ms = self._clock.monotonic_ms()
        beating = asyncio.create_task(self.heartbeat.run(stopped))
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
            self._leases.give_up()
        stopped.set()
        await asyncio.wait([consuming, beating], timeout=LAST_S)
        with suppress(BridgeError):
            await lanes.check_out()
        if consuming.done():
            await consuming
