"""A store filled by the scripts that ingress and worker use: every record in it is a real one."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.ids import (
    AccountName,
    AlertId,
    EventId,
    Holder,
    Market,
    Nonce,
    WebhookName,
    alert_id,
    client_order_id,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION, Instruction
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import OrderPlan, OrderReport, Side
from libs.common.domain.reasons import Reason
from libs.common.store.admission import Admission, Routed
from libs.common.store.breakers import BreakerReport, Pause, SharedBreakers
from libs.common.store.client import connect
from libs.common.store.head import Head, Held
from libs.common.store.intake import Admitted, Duplicate, Intake, Refusal
from libs.common.store.keys import Keys
from libs.common.store.lanes import Lanes, Parking, Reader
from libs.common.store.order_answers import Go
from libs.common.store.orders import NO_LIMIT, Intent, OrderOutcome, Orders, Settlement
from libs.common.store.retention import Retention
from libs.common.store.upkeep import Upkeep
from libs.common.wire import codec

T = TypeVar("T")

DAY_MS: Final = 86_400_000


class FilledStore:
    """Plays ingress and worker, one step at a time."""

    def __init__(self, client: Redis, holder: str = "worker-a", keys: Keys | None = None) -> None:
        self.client: Any = client
        """Answers whatever is there."""
        self.keys = keys or Keys()
        self.holder = Holder(holder)
        self.upkeep = Upkeep(client, self.keys)
        self.lanes = Lanes(client, self.keys, self.holder)
        self._intake = Intake(client, self.keys)
        self._handed_out: list[tuple[Held, Head]] = []
        self._reader = Reader(client, self.keys, self.holder)
        self._breakers = SharedBreakers(client, self.keys)
        self._orders = Orders(
            client, self.keys, self.holder, Retention(alerts_ms=DAY_MS, dead_letters_ms=DAY_MS)
        )

    async def admit(self, symbol: str = "BTCUSDT", **asked: Any) -> AlertId:
        """Make an alert durable, as the ingress does, and return its id; of a repeated `sender_id` the first one's.

        Args:
            symbol: Its symbol.
            asked: As `admission` takes it.
        """
        return await self.submit(await self.admission(symbol, **asked))

    async def submit(self, admission: Admission) -> AlertId:
        """Make what is asked for durable, and return the id that it is known by."""
        verdict = await self._intake.admissions.submit(admission)
        assert isinstance(verdict, (Admitted, Duplicate))
        return verdict.alert_id

    async def admission(
        self,
        symbol: str = "BTCUSDT",
        *,
        accounts: tuple[str, ...] = ("paper",),
        action: Action = Action.BUY,
        price: str | None = "100",
        quantity: str | None = "0.10",
        max_age_ms: int = 60_000,
        sender_id: str | None = None,
        webhook: str = "default",
        strategy: str | None = None,
    ) -> Admission:
        """Return what `admit` makes durable."""
        seconds, micros = await self.client.time()
        received_at_ms = int(seconds) * 1_000 + int(micros) // 1_000
        new = alert_id(received_at_ms, os.urandom(10))
        names = tuple(AccountName(name) for name in accounts)
        content = AlertContent(
            dialect="factorqx",
            action=action,
            symbol=symbol,
            quantity=None if quantity is None else Decimal(quantity),
            price=None if price is None else Decimal(price),
            strategy=strategy,
            sender_id=sender_id or f"id-{new}",
        )
        alert = Alert(
            alert_id=new,
            webhook=WebhookName(webhook),
            content=content,
            received_at_ms=received_at_ms,
            accounts=names,
            raw=f'{{"secret":"***","symbol":"{symbol}"}}',
        )
        routed = tuple(
            Routed(
                account=name,
                market=Market(symbol),
                lane=lane_name(name, Market(symbol)),
                body=codec.INSTRUCTION.encode(
                    Instruction(
                        alert_id=new,
                        account=name,
                        market=Market(symbol),
                        action=action,
                        quantity=content.quantity,
                        price=content.price,
                    )
                ),
                version=PLAIN_VERSION,
            )
            for name in names
        )
        return Admission(
            alert_id=new,
            webhook=alert.webhook,
            dedup_keys=(content.sender_id or "",),
            dedup_window_ms=DAY_MS,
            digest="digest",
            is_sender_id=True,
            alert=codec.ALERT.encode(alert),
            limit=None,
            fired_at_ms=None,
            max_age_ms=max_age_ms,
            clock_skew_ms=0,
            routed=routed,
        )

    async def refuse(self, code: str = "unauthorized", status: int = 401, **fields: str) -> EventId:
        """Keep a refused post, as the ingress does, and return its id."""
        seconds, _ = await self.client.time()
        event_id = EventId(alert_id(int(seconds) * 1_000, os.urandom(10)))
        refusal = Refusal(
            event_id=event_id,
            webhook=WebhookName(fields.get("webhook", "default")),
            status=status,
            code=code,
            field=fields.get("field", ""),
            detail=fields.get("detail", "the credential is wrong"),
            raw=fields.get("raw", "{}"),
        )
        await self._intake.refusals.submit(refusal)
        return event_id

    async def take(self) -> tuple[Held, Head]:
        """Return the head that the last settlement handed out; else take the next lane that has a token."""
        if self._handed_out:
            return self._handed_out.pop(0)
        await self.lanes.create_group()
        [(token, lane, _)] = await self._reader.read(1, 1_000)
        assert lane is not None
        held = Held(lane, token)
        head = await self.lanes.open.submit(held)
        assert isinstance(head, Head)
        return held, head

    async def begin(self, held: Held, head: Head, attempt: int = 1) -> Intent:
        """Put the intent of an attempt on disk."""
        intent = self.intent(held, head, attempt)
        assert isinstance(await self._orders.begin.submit(intent), Go)
        return intent

    def intent(self, held: Held, head: Head, attempt: int = 1) -> Intent:
        """Return what an attempt would put on disk."""
        instruction = codec.INSTRUCTION.decode(head.body)
        plan = OrderPlan(
            side=Side(instruction.action.value),
            quantity=instruction.quantity or Decimal(1),
            reference_price=instruction.price,
        )
        return Intent(
            held=held,
            entry_id=head.entry_id,
            account=head.account,
            market=instruction.market,
            client_order_id=client_order_id(head.account, head.alert_id, 0),
            attempt=attempt,
            nonce=Nonce(f"nonce-{attempt}"),
            window_ms=5_000,
            plan=codec.ORDER_PLAN.encode(plan),
            symbol_limit=NO_LIMIT,
            account_limit=NO_LIMIT,
            probe_ms=1_000,
        )

    async def execute(self, at_price: str = "100.5") -> Head:
        """Execute the next head: filled in full at this price."""
        held, head = await self.take()
        intent = await self.begin(held, head)
        plan = codec.ORDER_PLAN.decode(intent.plan)
        report = OrderReport(
            order_id="venue-1",
            state=OrderState.FILLED,
            filled_quantity=plan.quantity,
            average_price=Decimal(at_price),
            fee=Decimal("0.01"),
        )
        await self.settle(held, head, InstructionState.EXECUTED, Reason.FILLED, intent=intent, report=report)
        return head

    async def reject(self, *, with_order: bool = True) -> Head:
        """End the next head as refused, by the venue or before anything was sent."""
        held, head = await self.take()
        if with_order:
            intent = await self.begin(held, head)
            report = OrderReport(order_id="", state=OrderState.REJECTED, detail="no funds")
            await self.settle(
                held,
                head,
                InstructionState.REJECTED,
                Reason.VENUE_REJECTED,
                "no funds",
                intent=intent,
                report=report,
            )
        else:
            await self.settle(held, head, InstructionState.DEAD, Reason.POISON, "10 workers died on it")
        return head

    async def settle(
        self,
        held: Held,
        head: Head,
        state: InstructionState,
        reason: Reason,
        detail: str = "",
        *,
        intent: Intent | None = None,
        report: OrderReport | None = None,
    ) -> None:
        """End a head."""
        order = None
        if intent is not None and report is not None:
            order = OrderOutcome(
                intent.client_order_id, intent.attempt, report.state, codec.ORDER_REPORT.encode(report)
            )
        following = await self._orders.settle.submit(
            Settlement(held, head.entry_id, state, reason, detail, order)
        )
        if isinstance(following, Head):
            self._handed_out.append((held, following))

    async def park(self, held: Held, wait_ms: int = 60_000, reason: Reason = Reason.RATE_LIMIT) -> None:
        """Put a lane to wait."""
        await self.lanes.park.submit(Parking(held, wait_ms, 0, reason))

    async def pause(self, account: str, wait_ms: int) -> None:
        """Pause an account, as its venue asked."""
        await self._breakers.pause(Pause(AccountName(account), wait_ms))

    async def open_breaker(self, scope: str, reset_ms: int = 60_000) -> None:
        """Open a breaker that has never moved."""
        await self._breakers.report(BreakerReport(scope, 0, opens=True, reset_ms=reset_ms))


@asynccontextmanager
async def filled_store(url: str, holder: str = "worker-a") -> AsyncIterator[FilledStore]:
    """Connect a `FilledStore` and disconnect it at the end."""
    client = connect(url, timeout_s=5)
    try:
        yield FilledStore(client, holder)
    finally:
        await client.aclose()


def fill(url: str, steps: Callable[[FilledStore], Awaitable[T]]) -> T:
    """Take steps from a test that has no loop of its own, and return what they return."""
    import asyncio

    async def taking() -> T:
        async with filled_store(url) as store:
            return await steps(store)

    return asyncio.run(taking())
