"""What is on record about alerts, their instructions and orders: read only, for people."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.alert import Alert
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId
from libs.common.domain.lifecycle import ENDED, InstructionState, OrderState, worst
from libs.common.domain.order import OrderPlan, OrderReport
from libs.common.policy.slippage import slippage_bps
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.wire import codec

Hash = Mapping[bytes, bytes]

_LEFT_WAITING: Final = frozenset({OrderState.UNKNOWN, OrderState.NOT_EXECUTED})
"""Where the last order of an instruction may stand while its lane waits."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One order, as far as we know it."""

    client_order_id: ClientOrderId
    state: OrderState
    attempts: int
    plan: OrderPlan | None
    report: OrderReport | None
    """What the venue said last; None before it said anything."""
    alert_id: AlertId
    account: AccountName
    market: str
    """What the venue calls the symbol; empty where its instruction is gone."""
    signed_at_ms: int
    expires_at_ms: int
    ended_at_ms: int | None

    @property
    def slippage_bps(self) -> float | None:
        """Return by how many basis points the fill was worse than the alert's price; None without both."""
        return slippage_bps(self.plan, self.report)


@dataclass(frozen=True, slots=True)
class InstructionRecord:
    """An alert's fate on one account."""

    account: AccountName
    market: str
    lane: str
    state: InstructionState
    reason: str
    detail: str
    admitted_at_ms: int
    deadline_ms: int
    ended_at_ms: int | None
    attempts: int
    lost_holders: int
    orders: tuple[OrderRecord, ...]
    waits_for: str | None
    """Why its lane was put to wait last; None where it never was, an order has left since, or it has ended."""
    journal_ids: tuple[str, ...]
    """The journal entries that are its history."""

    @property
    def has_ended(self) -> bool:
        """Return whether nothing more happens to it by itself."""
        return self.state in ENDED

    @property
    def slippage_bps(self) -> float | None:
        """Return the slippage of its orders, weighted by what each filled; None where none can be told."""
        known = [
            (order.slippage_bps, order.report.filled_quantity)
            for order in self.orders
            if order.slippage_bps is not None and order.report is not None and order.report.filled_quantity
        ]
        if not known:
            return None
        filled = sum((quantity for _, quantity in known), Decimal(0))
        return round(float(sum(Decimal(str(bps)) * quantity for bps, quantity in known) / filled), 4)


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert with its instructions and their orders."""

    alert: Alert
    admitted_at_ms: int
    instructions: tuple[InstructionRecord, ...]
    """In the order of the alert's accounts; those whose record is gone are left out."""

    @property
    def decisive(self) -> InstructionRecord | None:
        """Return the instruction whose state stands for the alert: the worst."""
        if not self.instructions:
            return None
        state = worst([instruction.state for instruction in self.instructions])
        return next(instruction for instruction in self.instructions if instruction.state is state)

    @property
    def has_ended(self) -> bool:
        """Return whether every instruction has ended."""
        return all(instruction.has_ended for instruction in self.instructions)

    @property
    def journal_ids(self) -> list[str]:
        """Return the journal entries of all its instructions."""
        return [entry_id for instruction in self.instructions for entry_id in instruction.journal_ids]


def merge_alert(parts: Sequence[AlertRecord]) -> AlertRecord:
    """Return an alert from what several shards hold of it, each the instructions of its own accounts.

    Args:
        parts: At least one.
    """
    if len(parts) == 1:
        return parts[0]
    first = min(parts, key=lambda part: part.admitted_at_ms)
    found = {one.account: one for part in parts for one in part.instructions}
    return AlertRecord(
        alert=first.alert,
        admitted_at_ms=first.admitted_at_ms,
        instructions=tuple(found[account] for account in first.alert.accounts if account in found),
    )


class Records:
    """Reads records, many in one round trip."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def alert(self, alert_id: AlertId) -> AlertRecord | None:
        """Return one alert; None where there is none on record.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The record cannot be read.
        """
        [fields] = await self._read([self._keys.alert(alert_id)])
        if not fields:
            return None
        if b"alert" not in fields:
            raise StoreCorrupt(f"the record of alert {alert_id} lacks the alert itself")
        found = await self._with_instructions([(codec.ALERT.decode(fields[b"alert"]), fields)])
        return found[0]

    async def alerts(self, alert_ids: Sequence[AlertId]) -> list[AlertRecord]:
        """Return these alerts, in this order; those that are gone or cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        readable: list[tuple[Alert, Hash]] = []
        for fields in await self._read([self._keys.alert(alert_id) for alert_id in alert_ids]):
            try:
                readable.append((codec.ALERT.decode(fields[b"alert"]), fields))
            except (KeyError, StoreCorrupt):
                continue
        return await self._with_instructions(readable)

    async def bare_alerts(self, alert_ids: Sequence[AlertId]) -> dict[AlertId, Alert]:
        """Return these alerts alone; those that are gone or cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        found: dict[AlertId, Alert] = {}
        for alert_id, body in await self._bodies(alert_ids):
            with suppress(StoreCorrupt):
                found[alert_id] = codec.ALERT.decode(body)
        return found

    async def strategies(self, alert_ids: Sequence[AlertId]) -> dict[AlertId, str | None]:
        """Return the strategies that these alerts name; those that are gone or cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        found: dict[AlertId, str | None] = {}
        for alert_id, body in await self._bodies(alert_ids):
            with suppress(StoreCorrupt):
                found[alert_id] = codec.strategy_of(body)
        return found

    async def _bodies(self, alert_ids: Sequence[AlertId]) -> list[tuple[AlertId, bytes]]:
        """Return the encoded alerts that there are."""
        if not alert_ids:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for alert_id in alert_ids:
                    pipeline.hget(self._keys.alert(alert_id), "alert")
                bodies = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return [pair for pair in zip(alert_ids, bodies, strict=True) if pair[1] is not None]

    async def orders(self, client_order_ids: Sequence[ClientOrderId]) -> list[OrderRecord]:
        """Return these orders, in this order; those that are gone are left out.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        hashes = await self._read([self._keys.order(order_id) for order_id in client_order_ids])
        present = [(name, fields) for name, fields in zip(client_order_ids, hashes, strict=True) if fields]
        instructions = await self._read(
            [
                self._keys.instruction(
                    AlertId(_text(fields, b"alert")), AccountName(_text(fields, b"account"))
                )
                for _, fields in present
            ]
        )
        return [
            _order(name, fields, _text(instruction, b"market"))
            for (name, fields), instruction in zip(present, instructions, strict=True)
        ]

    async def _with_instructions(self, alerts: Sequence[tuple[Alert, Hash]]) -> list[AlertRecord]:
        names = [(index, account) for index, (alert, _) in enumerate(alerts) for account in alert.accounts]
        hashes = await self._read(
            [self._keys.instruction(alerts[index][0].alert_id, account) for index, account in names]
        )
        order_ids = [ClientOrderId(name) for fields in hashes for name in _text(fields, b"orders").split()]
        order_hashes = dict(
            zip(order_ids, await self._read([self._keys.order(name) for name in order_ids]), strict=True)
        )
        instructions: list[list[InstructionRecord]] = [[] for _ in alerts]
        for (index, account), fields in zip(names, hashes, strict=True):
            if b"state" in fields:
                instructions[index].append(_instruction(account, fields, order_hashes))
        return [
            AlertRecord(alert, _number(fields, b"admitted_at"), tuple(own))
            for (alert, fields), own in zip(alerts, instructions, strict=True)
        ]

    async def _read(self, names: Sequence[str]) -> list[Hash]:
        if not names:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.hgetall(name)
                return list(await pipeline.execute())
        except (RedisError, OSError) as error:
            raise translate(error) from error


def _instruction(
    account: AccountName, fields: Hash, orders: Mapping[ClientOrderId, Hash]
) -> InstructionRecord:
    market = _text(fields, b"market")
    names = [ClientOrderId(name) for name in _text(fields, b"orders").split()]
    state = _instruction_state(fields)
    found = tuple(_order(name, orders[name], market) for name in names if orders.get(name))
    # Nothing takes the word back once it goes on.
    is_waiting = state not in ENDED and all(order.state in _LEFT_WAITING for order in found[-1:])
    return InstructionRecord(
        account=account,
        market=market,
        lane=_text(fields, b"lane"),
        state=state,
        reason=_text(fields, b"reason"),
        detail=_text(fields, b"detail"),
        admitted_at_ms=_number(fields, b"admitted_at"),
        deadline_ms=_number(fields, b"deadline"),
        ended_at_ms=_number(fields, b"ended_at") or None,
        attempts=_number(fields, b"attempts"),
        lost_holders=_number(fields, b"lost_holders"),
        orders=found,
        waits_for=(_text(fields, b"waits_for") or None) if is_waiting else None,
        journal_ids=tuple(_text(fields, b"journal").split()),
    )


def _order(name: ClientOrderId, fields: Hash, market: str) -> OrderRecord:
    plan, answer = fields.get(b"plan"), fields.get(b"answer")
    return OrderRecord(
        client_order_id=name,
        state=_order_state(fields),
        attempts=_number(fields, b"attempt"),
        plan=codec.ORDER_PLAN.decode(plan) if plan else None,
        report=codec.ORDER_REPORT.decode(answer) if answer else None,
        alert_id=AlertId(_text(fields, b"alert")),
        account=AccountName(_text(fields, b"account")),
        # A resting order outlives its instruction.
        market=market or _text(fields, b"market"),
        signed_at_ms=_number(fields, b"signed_at"),
        expires_at_ms=_number(fields, b"expires_at"),
        ended_at_ms=_number(fields, b"ended_at") or None,
    )


def _instruction_state(fields: Hash) -> InstructionState:
    try:
        return InstructionState(_text(fields, b"state"))
    except ValueError as error:
        raise StoreCorrupt(f"an instruction's state is unknown to this version: {error}") from error


def _order_state(fields: Hash) -> OrderState:
    try:
        return OrderState(_text(fields, b"state"))
    except ValueError as error:
        raise StoreCorrupt(f"an order's state is unknown to this version: {error}") from error


def _text(fields: Hash, name: bytes) -> str:
    return fields.get(name, b"").decode("utf-8", "replace")


def _number(fields: Hash, name: bytes) -> int:
    text = fields.get(name, b"0")
    return int(text) if text.isdigit() else 0
