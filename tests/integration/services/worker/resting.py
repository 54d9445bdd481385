"""Orders that rest, and those who follow and compare them, on a real Redis in a time of the test's own."""

import asyncio
from decimal import Decimal
from typing import Any, Final

from prometheus_client import CollectorRegistry

from libs.common.domain.clock import DAY_MS
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Holder, Market, lane_name
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderType, Side
from libs.common.policy.reconciliation import SETTLING_MS
from libs.common.store.client import connect
from libs.common.store.copies import Copies
from libs.common.store.following import FollowedOrders
from libs.common.store.halts import Halts
from libs.common.store.keys import Keys
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from libs.common.store.retention import Retention
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.follower import FollowedAccount, Follower
from services.worker.reconciler import Reconciler
from services.worker.rounds import ReconciledAccount
from tests.integration.services.worker.rig import timed
from tests.support.clock import ManualClock
from tests.support.redis_server import RedisServer
from tests.support.scripted_broker import ScriptedBroker

DESK: Final = AccountName("desk")
BTC: Final = Market("BTC")
EVERY_MS: Final = 60_000
RETENTION: Final = Retention(alerts_ms=7 * DAY_MS, dead_letters_ms=30 * DAY_MS)


class Desk:
    """One worker's follower and reconciler, over any number of accounts."""

    def __init__(
        self,
        rig: "RestingRig",
        name: str,
        *,
        time_limit_ms: int | None = None,
        counts_fills: bool = True,
        halts_on_drift: bool = False,
        copies: Copies | None = None,
    ) -> None:
        self.rig = rig
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.orders = timed(FollowedOrders, rig.clock)(rig.client, rig.keys, Holder(name), RETENTION)
        self.store = timed(Reconciliation, rig.clock)(rig.client, rig.keys, Holder(name))
        self.published = Published(rig.client, rig.keys)
        self.reconciler = Reconciler(
            {
                account: ReconciledAccount(broker, EVERY_MS, halts_on_drift)
                for account, broker in rig.brokers.items()
            },
            store=self.store,
            orders=self.orders,
            published=self.published,
            halts=Halts(rig.client, rig.keys),
            clock=rig.clock,
            metrics=self.metrics,
            copies=copies,
        )
        self.follower = Follower(
            {
                account: FollowedAccount(broker, time_limit_ms, counts_fills)
                for account, broker in rig.brokers.items()
            },
            self.orders,
            rig.clock,
            self.metrics,
            self.reconciler.publish,
        )

    async def follow(self) -> None:
        """Look up what is due, to the end."""
        await self.follower.look()
        await self.follower.drain()

    async def reconcile(self, account: AccountName = DESK) -> None:
        """Compare an account; between two looks the time passes, and its orders are followed."""
        await self.reconciler.reconcile(account, asyncio.Event())

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


class RestingRig:
    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        self.clock = clock
        self.keys: Any = Keys()
        """They take names, which here are plain texts."""
        self.redis: Any = server.client()
        """Answers whatever is there."""
        self.client = connect(server.url, timeout_s=5)
        self.broker = ScriptedBroker(clock)
        self.brokers: dict[AccountName, Any] = {DESK: self.broker}
        self._orders = 0
        self._fills = 0

    async def stop(self) -> None:
        await self.client.aclose()
        self.redis.close()

    def desk(self, name: str = "a", **options: Any) -> Desk:
        return Desk(self, name, **options)

    # Orders.

    def rest(
        self,
        market: Market = BTC,
        *,
        account: AccountName = DESK,
        quantity: str = "2",
        side: Side = Side.BUY,
        is_known: bool = True,
    ) -> ClientOrderId:
        """Leave an order as the end of its instruction does; the venue holds it too, unless told otherwise."""
        self._orders += 1
        alert = AlertId(f"alert{self._orders:05d}")
        order = ClientOrderId(
            "abcdefghijklmnopqrstuvwx" + "234567"[self._orders // 6] + "234567"[self._orders % 6]
        )
        plan = OrderPlan(
            side=side, quantity=Decimal(quantity), type=OrderType.LIMIT, limit_price=Decimal(100)
        )
        report = OrderReport(order_id=f"venue-{self._orders}", state=OrderState.ACCEPTED)
        instruction = self.keys.instruction(alert, account)
        self.redis.hset(instruction, mapping={"state": "EXECUTED", "market": market, "orders": order})
        self.redis.pexpire(instruction, 7 * DAY_MS)
        self.redis.hset(
            self.keys.order(order),
            mapping={
                "state": "ACCEPTED",
                "attempt": 1,
                "signed_at": self.clock.now_ms(),
                "alert": alert,
                "account": account,
                "lane": lane_name(account, market),
                "market": market,
                "plan": codec.ORDER_PLAN.encode(plan),
                "answer": codec.ORDER_REPORT.encode(report),
            },
        )
        self.redis.zadd(self.keys.following, {order: self.clock.now_ms()})
        if is_known:
            self.brokers[account].known[order] = report
        return order

    def says(
        self, order: ClientOrderId, state: OrderState, filled: str = "0", average: str | None = None
    ) -> None:
        """Let the venue tell this of an order from now on."""
        report = OrderReport(
            order_id="venue-1",
            state=state,
            filled_quantity=Decimal(filled),
            average_price=None if average is None else Decimal(average),
        )
        self.broker.known[order] = report

    def order(self, order: ClientOrderId) -> dict[str, str]:
        return self.redis.hgetall(self.keys.order(order))

    def due_in_ms(self, order: ClientOrderId) -> int | None:
        """Return when an order is looked up next; None where it is followed no more."""
        due = self.redis.zscore(self.keys.following, order)
        return None if due is None else int(due) - self.clock.now_ms()

    def fill_id(self) -> str:
        """Return an id for the stream of fills that says that it is now by the test's clock."""
        self._fills += 1
        return f"{self.clock.now_ms()}-{self._fills}"

    def fill(self, quantity: str, market: Market = BTC, account: AccountName = DESK) -> None:
        """Note a fill as the end of an instruction does, and let its time pass."""
        entry = {"market": market, "order": "o", "quantity": quantity}
        self.redis.xadd(self.keys.fills(account), entry, id=self.fill_id())
        self.clock.advance(SETTLING_MS)

    # What is in Redis.

    def journal(self, *events: str) -> list[tuple[str, str]]:
        """Return event and detail of each entry of the journal, or of these events."""
        return [
            (fields["event"], fields["detail"])
            for _, fields in self.redis.xrange(self.keys.journal)
            if not events or fields["event"] in events
        ]

    def history(self, order: ClientOrderId) -> list[str]:
        """Return the events that the record of an order's instruction names."""
        record = self.order(order)
        key = self.keys.instruction(AlertId(record["alert"]), AccountName(record["account"]))
        entries = dict(self.redis.xrange(self.keys.journal))
        return [entries[one]["event"] for one in self.redis.hget(key, "journal").split()]

    def fills(self, account: AccountName = DESK) -> list[tuple[str, str]]:
        """Return market and quantity of each fill."""
        return [
            (fields["market"], fields["quantity"])
            for _, fields in self.redis.xrange(self.keys.fills(account))
        ]
