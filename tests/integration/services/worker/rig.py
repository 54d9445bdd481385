"""Workers in this process on a real Redis, in a time of the test's own: no wait takes longer than Redis does.

Waits in place move the clock; parked lanes are promoted when the test lets time pass.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from libs.common.domain.alert import Action
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import (
    AccountName,
    AlertId,
    ClientOrderId,
    DeadLetterId,
    Holder,
    LaneName,
    Market,
    WebhookName,
    client_order_id,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION, Instruction
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.policy.symbols import SymbolEntry
from libs.common.runtime.settings import BreakerSettings
from libs.common.store.admission import Admission, Routed
from libs.common.store.batch import Batch
from libs.common.store.breakers import SharedBreakers
from libs.common.store.client import connect
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.halts import Halts
from libs.common.store.head import Held
from libs.common.store.in_flight import InFlightOrders
from libs.common.store.intake import Intake
from libs.common.store.keys import Keys
from libs.common.store.lanes import Lanes, Reader
from libs.common.store.orders import NO_LIMIT, Orders
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from libs.common.store.retention import Retention
from libs.common.store.tables import TableStore
from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker import attempts as attempts_module
from services.worker import consumer as consumer_module
from services.worker import endings as endings_module
from services.worker import fill_wait as fill_wait_module
from services.worker import lane as lane_module
from services.worker import persistence as persistence_module
from services.worker import resolver as resolver_module
from services.worker.account import Account, MarketLimits
from services.worker.attempts import Attempts
from services.worker.breakers import Breakers
from services.worker.consumer import Consumer
from services.worker.executor import Executor
from services.worker.heartbeat import Heartbeat
from services.worker.instruments import Instruments
from services.worker.intents import Intents
from services.worker.lane import LaneRunner
from services.worker.leases import Lease, Leases
from services.worker.look_ups import LookUps
from services.worker.mapping import MappingCheck
from services.worker.parking import Parker
from services.worker.planning import Planner
from services.worker.questions import Questions
from services.worker.recall import Recall
from services.worker.resolver import Resolver
from services.worker.slots import Slots
from services.worker.solo import Solo
from tests.support.clock import ManualClock
from tests.support.legal_moves import LegalMoves
from tests.support.redis_server import RedisServer
from tests.support.scripted_broker import ScriptedBroker

T = TypeVar("T")

DAY_MS: Final = 86_400_000
RETENTION: Final = Retention(alerts_ms=7 * DAY_MS, dead_letters_ms=30 * DAY_MS)
LEASE_MS: Final = 6_000
WINDOW_MS: Final = 5_000
MARGIN_MS: Final = 500
POISON_LIMIT: Final = 10
DESK: Final = AccountName("desk")


class _InTestTime:
    """Gives a part of the store the clock of the test instead of Redis' own."""

    clock: ManualClock

    @property
    def _now(self) -> str:
        return str(self.clock.now_ms())

    @_now.setter
    def _now(self, _: str) -> None:
        pass


def timed(kind: type[T], clock: ManualClock) -> type[T]:
    """Return a part of the store at the clock of the test."""
    return type(f"Timed{kind.__name__}", (_InTestTime, kind), {"clock": clock})


class Worker:
    """The parts of one worker, joined as `services/worker/__main__.py` joins them."""

    def __init__(self, rig: "WorkerRig", name: str, **options: Any) -> None:
        self.rig = rig
        self.holder = Holder(name)
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.client = connect(options.pop("url", rig.server.url), timeout_s=5)
        self.lanes = timed(Lanes, rig.clock)(self.client, rig.keys, self.holder)
        self.orders = timed(Orders, rig.clock)(self.client, rig.keys, self.holder, RETENTION)
        self.shared_breakers = timed(SharedBreakers, rig.clock)(self.client, rig.keys)
        self.leases = Leases(rig.clock, LEASE_MS)
        self.solo = Solo()
        self.recall = Recall(self.solo)
        self.breakers = Breakers(rig.breaker, rig.clock, self.shared_breakers.report)
        self.mapping = MappingCheck(TableStore(self.client, rig.keys), rig.symbols)
        intents = Intents(probe_ms=LEASE_MS)
        look_ups = LookUps(
            resolver=Resolver(self.orders), parker=Parker(self.lanes), clock=rig.clock, metrics=self.metrics
        )
        self.attempts = Attempts(
            lanes=self.lanes,
            orders=self.orders,
            intents=intents,
            look_ups=look_ups,
            breakers=self.breakers,
            shared_breakers=self.shared_breakers,
            clock=rig.clock,
            metrics=self.metrics,
            poison_limit=POISON_LIMIT,
        )
        self.published = Published(self.client, rig.keys)
        self.planner = Planner(
            mapping=self.mapping,
            questions=Questions(
                instruments=Instruments(rig.clock),
                published=self.published,
                days=Reconciliation(self.client, rig.keys, self.holder),
                in_flight=InFlightOrders(self.client, rig.keys),
                halts=Halts(self.client, rig.keys),
                clock=rig.clock,
            ),
            clock=rig.clock,
        )
        self.executor = Executor(
            accounts=rig.accounts,
            lanes=self.lanes,
            orders=self.orders,
            intents=intents,
            look_ups=look_ups,
            attempts=self.attempts,
            planner=self.planner,
            recall=self.recall,
            clock=rig.clock,
            metrics=self.metrics,
            poison_limit=POISON_LIMIT,
        )
        self.runner = LaneRunner(
            lanes=self.lanes,
            executor=self.executor,
            recall=self.recall,
            solo=self.solo,
            clock=rig.clock,
            metrics=self.metrics,
        )
        self.outage = Outage(rig.clock, shard=0)
        self.heartbeat = Heartbeat(self.lanes, self.leases, rig.clock, lease_ms=LEASE_MS, outage=self.outage)
        self._reading: Redis | None = None

    def reader(self, url: str | None = None) -> Reader:
        self._reading = connect(url or self.rig.server.url, timeout_s=5, connections=1)
        return Reader(self._reading, self.rig.keys, self.holder)

    def consumer(
        self, *, concurrency: int = 8, slots_per_account: int | None = None, url: str | None = None
    ) -> Consumer:
        return Consumer(
            reader=self.reader(url),
            lanes=self.lanes,
            leases=self.leases,
            runner=self.runner,
            recall=self.recall,
            solo=self.solo,
            clock=self.rig.clock,
            metrics=self.metrics,
            outage=self.outage,
            slots=Slots(self.rig.clock, count=concurrency, per_account=slots_per_account or concurrency),
        )

    async def take(self) -> Lease:
        """Read the next token and take its lease."""
        asked_at_ms = self.rig.clock.monotonic_ms()
        [(token, lane, head)] = await Reader(self.client, self.rig.keys, self.holder).read(1, 1)
        assert lane is not None
        lease = self.leases.take(Held(lane, token), asked_at_ms)
        lease.expected = head
        return lease

    async def hold(self) -> Lease:
        """Read the next token and open its lane."""
        lease = await self.take()
        await self.lanes.open.submit(lease.held)
        lease.opened()
        return lease

    async def run_lane(self) -> Lease:
        """Read the next token and run its lane to the end of holding it."""
        lease = await self.take()
        self.solo.lane_started()
        try:
            await self.runner.run(lease)
        finally:
            self.leases.drop(lease.held)
            self.solo.lane_ended()
        self.rig.moves.check()
        return lease

    async def die_while_placing(self, *, arrives: bool) -> None:
        """Run the next lane and vanish while its order is under way, as a killed process does."""
        has_left = asyncio.Event()

        async def never_answers(broker: ScriptedBroker, request: OrderRequest) -> OrderReport:
            if arrives:
                broker.execute(request)
            has_left.set()
            await asyncio.Event().wait()
            raise AssertionError

        self.rig.broker.then(never_answers)
        task = asyncio.create_task(self.run_lane())
        await has_left.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def stop(self) -> None:
        await self.client.aclose()
        if self._reading is not None:
            await self._reading.aclose()


class WorkerRig:
    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.keys: Any = Keys()
        """They take names, which here are plain texts."""
        self.redis: Any = server.client()
        """Answers whatever is there."""
        self.moves = LegalMoves(self.redis, self.keys.prefix)
        self.client = connect(server.url, timeout_s=5)
        self.intake = timed(Intake, clock)(self.client, self.keys)
        self.upkeep = timed(Upkeep, clock)(self.client, self.keys)
        self.broker = ScriptedBroker(clock)
        self.accounts: dict[AccountName, Account] = {DESK: self.account()}
        self.symbols = list[SymbolEntry]()
        """The symbol table of the configuration."""
        self.breaker = BreakerSettings()
        self.jitter = 1.0
        """The share of its bound that every random wait takes."""
        self.slept_ms: list[int] = []
        """Waits in place, of executor and resolver."""
        self._workers: dict[str, Worker] = {}
        self._alerts = 0

    def account(self, name: str = "desk", **options: Any) -> Account:
        return Account(
            **{
                "name": AccountName(name),
                "broker": self.broker,
                "window_ms": WINDOW_MS,
                "default_quantity": None,
                "limits_of": lambda _: MarketLimits(symbol=NO_LIMIT, account=NO_LIMIT),
                **options,
            }
        )

    async def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        await self.worker().lanes.create_group()
        await self.upkeep.reclaim(lease_ms=LEASE_MS)
        in_test_time: Any = SimpleNamespace(sleep=self.sleep)
        certain: Any = SimpleNamespace(uniform=lambda low, high: low + (high - low) * self.jitter)
        for module in (attempts_module, fill_wait_module, resolver_module):
            monkeypatch.setattr(module, "asyncio", in_test_time)
        for module in (attempts_module, endings_module, resolver_module, lane_module):
            monkeypatch.setattr(module, "random", certain)
        monkeypatch.setattr(consumer_module, "BLOCK_MS", 50)
        monkeypatch.setattr(consumer_module, "RETRY_S", 0.01)
        soon = persistence_module._RETRYING.copy(sleep=lambda _: asyncio.sleep(0.005))
        monkeypatch.setattr(persistence_module, "_RETRYING", soon)
        at_once = resolver_module._LOOKING_UP.copy(sleep=lambda _: asyncio.sleep(0))
        monkeypatch.setattr(resolver_module, "_LOOKING_UP", at_once)

    async def stop(self) -> None:
        for worker in self._workers.values():
            await worker.stop()
        await self.client.aclose()
        self.redis.close()

    def worker(self, name: str = "a", **options: Any) -> Worker:
        return self._workers.get(name) or self._workers.setdefault(name, Worker(self, name, **options))

    # Time.

    async def sleep(self, seconds: float) -> None:
        self.slept_ms.append(round(seconds * 1_000))
        self.clock.advance(round(seconds * 1_000))
        await asyncio.sleep(0)

    async def promote(self) -> int:
        """Give the lanes that are due by now a token; returns how many."""
        return (await self.upkeep.promote()).lanes

    async def pass_time(self, by_ms: int) -> int:
        self.clock.advance(by_ms)
        return await self.promote()

    async def until_due(self) -> int:
        """Let time pass until the next parked lane is due, and promote it; returns how long that was, ms."""
        wait_ms = (await self.upkeep.promote()).next_in_ms
        assert wait_ms is not None, "no lane is parked"
        self.clock.advance(wait_ms)
        assert await self.promote() == 1
        return wait_ms

    async def run_to_rest(self, worker: Worker | None = None, *, at_most: int = 100) -> None:
        """Run whatever is ready, and pass the time to what is parked, until nothing is left."""
        one = worker or self.worker()
        for _ in range(at_most):
            if self.redis.xlen(self.keys.ready):
                await one.run_lane()
            elif self.redis.zcard(self.keys.parked):
                await self.until_due()
            else:
                return
        raise AssertionError(f"not at rest after {at_most} steps: {self.parked()}")

    # Alerts.

    async def admit(
        self,
        market: str = "BTC",
        *,
        account: str = "desk",
        quantity: str | None = "1",
        symbol: str | None = None,
        exchange: str | None = None,
        action: Action = Action.BUY,
        max_age_ms: int = 60_000,
        body: bytes | None = None,
        **asked: Any,
    ) -> AlertId:
        self._alerts += 1
        alert = AlertId(f"alert{self._alerts:05d}")
        name, of = AccountName(account), Market(market)
        instruction = Instruction(
            alert_id=alert,
            account=name,
            market=of,
            action=action,
            quantity=None if quantity is None else Decimal(quantity),
            symbol=symbol,
            exchange=exchange,
            **asked,
        )
        encoded = codec.INSTRUCTION.encode(instruction) if body is None else body
        admission = Admission(
            alert_id=alert,
            webhook=WebhookName("default"),
            dedup_keys=(f"id:{alert}",),
            dedup_window_ms=600_000,
            digest="digest",
            is_sender_id=True,
            limit=None,
            alert=b'{"alert":1}',
            fired_at_ms=None,
            max_age_ms=max_age_ms,
            clock_skew_ms=5_000,
            routed=(Routed(name, of, lane_name(name, of), encoded, PLAIN_VERSION),),
        )
        await self.intake.admissions.submit(admission)
        return alert

    async def replay(self, letter: str) -> None:
        """Put a dead letter back into its lane."""
        letters = timed(DeadLetters, self.clock)(self.client, self.keys)
        await letters.replay(DeadLetterId(letter), max_age_ms=60_000)

    async def reclaim(self, lane: str = "desk:BTC") -> None:
        """Let the lease of a lane run out, and its token be issued anew."""
        token = (self.fence(lane) or "").partition("|")[0]
        [entry] = self.redis.xpending_range(self.keys.ready, "workers", token, token, 1)
        await self.upkeep.reclaim(lease_ms=LEASE_MS)
        self.redis.xclaim(
            self.keys.ready, "workers", entry["consumer"], 0, [token], idle=LEASE_MS * 2, justid=True
        )
        found = await self.upkeep.reclaim(lease_ms=LEASE_MS)
        assert getattr(found, "lanes", 0) == 1, found

    def lose_holders(self, alert: AlertId, times: int) -> None:
        """Write that so many workers died of the alert."""
        self.redis.hset(self.keys.instruction(alert, DESK), "lost_holders", times)

    # What is in Redis.

    def order_id(self, alert: AlertId, account: str = "desk") -> ClientOrderId:
        return client_order_id(AccountName(account), alert, 0)

    def instruction(self, alert: AlertId, account: str = "desk") -> dict[str, str]:
        return self.redis.hgetall(self.keys.instruction(alert, AccountName(account)))

    def ended(self, alert: AlertId, account: str = "desk") -> tuple[str, str]:
        """Return the instruction's state and reason."""
        found = self.instruction(alert, account)
        return found["state"], found.get("reason", "")

    def order(self, alert: AlertId, account: str = "desk") -> dict[str, str]:
        return self.redis.hgetall(self.keys.order(self.order_id(alert, account)))

    def order_state(self, alert: AlertId) -> tuple[str, int]:
        """Return state and attempt of the alert's order."""
        found = self.order(alert)
        return OrderState(found["state"]).value, int(found["attempt"])

    def fence(self, lane: str = "desk:BTC") -> str | None:
        return self.redis.hget(self.keys.lanes, lane)

    def parked(self) -> dict[str, int]:
        """Return in how many ms each parked lane is due."""
        now_ms = self.clock.now_ms()
        return {
            lane: int(due) - now_ms
            for lane, due in self.redis.zrange(self.keys.parked, 0, -1, withscores=True)
        }

    def history(self, alert: AlertId, account: str = "desk") -> list[tuple[str, str]]:
        """Return event and reason of each journal entry of an instruction."""
        ids = self.instruction(alert, account).get("journal", "").split()
        entries = dict(self.redis.xrange(self.keys.journal))
        return [(entries[one]["event"], entries[one]["reason"]) for one in ids]

    def letters(self) -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange(self.keys.dead)]

    def waiting(self, lane: str = "desk:BTC") -> int:
        return int(self.redis.xlen(self.keys.lane(LaneName(lane))))

    def is_at_rest(self) -> bool:
        return not (
            self.redis.hlen(self.keys.lanes)
            or self.redis.xlen(self.keys.ready)
            or self.redis.zcard(self.keys.parked)
            or self.redis.keys(f"{self.keys.prefix}lane:*")
        )


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[Consumer]:
    """Run a consumer for the time of the block, and drain it."""
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        await asyncio.wait_for(task, 10)


def lose_answers(batch: Batch[Any, Any], times: int, between: Callable[[], None] = lambda: None) -> list[int]:
    """Have the next calls of a batch executed but not answered; returns a list that grows with each."""
    send, done = batch._send, list[int]()

    async def losing(items: Any) -> Any:
        answers = await send(items)
        if len(done) < times:
            done.append(len(items))
            between()
            raise StoreUnavailable("the answer was lost")
        return answers

    batch._send = losing
    return done
