"""Orders that rest at a venue: who looks them up now, and what was found.

`following` is a ZSET client order id -> due time. Whoever claims an order holds it for a lease; with its holder gone it
is due again, so any number of workers follow all orders together.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Holder, Market
from libs.common.domain.lifecycle import RESTING, OrderState
from libs.common.domain.order import OrderPlan, OrderReport
from libs.common.policy.following import PRESENT, Absence
from libs.common.store.batch import Batch
from libs.common.store.client import translate
from libs.common.store.head import Moved, Stale, failure
from libs.common.store.keys import Keys
from libs.common.store.retention import Retention
from libs.common.store.scripts import Script, read_each
from libs.common.wire import codec

LEASE_MS: Final = 10_000
"""How long a claimed order is its follower's. Longer than a look-up, and the cancellation after it, may take."""


class FollowedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as its follower got it."""

    client_order_id: ClientOrderId
    account: AccountName
    market: Market
    alert_id: AlertId
    state: OrderState
    """ACCEPTED or PARTIAL."""
    plan: OrderPlan
    report: OrderReport | None
    """What the venue said last."""
    signed_at_ms: int
    absence: Absence
    cancelled_at_ms: int
    """When we last asked the venue to take it back, for its time limit; 0: never."""
    claim: str
    """Names the claim that it was got by."""
    now_ms: int
    """Redis' time when it was claimed."""
    traceparent: str = ""
    """The span that its instruction came with; empty where it was not traced."""
    alert: bytes = b""
    """The encoded alert, for people; empty where its record is gone."""
    admitted_at_ms: int = 0
    """0 where that record is gone."""

    @property
    def age_ms(self) -> int:
        """Return how long after its signature it was claimed."""
        return max(0, self.now_ms - self.signed_at_ms)


@dataclass(frozen=True, slots=True)
class Claims:
    """What one call claimed."""

    orders: Sequence[FollowedOrder]
    next_in_ms: int | None
    """Until the next order is due; None where none is followed."""
    followed: int
    """Orders that are followed, by all workers together."""
    failed: Sequence[str]
    """What is wrong with those whose records cannot be used; others are not affected."""


@dataclass(frozen=True, slots=True)
class Note:
    """An entry of the journal about a followed order."""

    event: str
    detail: str = ""
    note: bytes = b""
    """JSON: the venue's report."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a follower makes of an order that it claimed."""

    order: FollowedOrder
    state: OrderState
    due_in_ms: int | None
    """When it is looked up again; None where it is followed no more."""
    report: OrderReport | None = None
    """What the venue said; None where it said nothing about the order."""
    notes: Sequence[Note] = ()
    filled: Decimal | None = None
    """Signed quantity newly filled, where the account's positions are compared with its venue's."""
    absence: Absence = PRESENT
    cancelled_at_ms: int = 0
    keeps_claim: bool = False
    """Whether its follower goes on with it: what is noted is an intent."""
    report_id: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this report: told again after a lost reply, it counts once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """It is on disk."""


FollowingAnswer = Kept | Moved | Stale


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that is followed, as anybody may read it."""

    client_order_id: ClientOrderId
    account: AccountName
    market: Market
    state: OrderState
    looked_at_ms: int
    """When the venue last told of it, by Redis' clock; 0: not since it rests."""


class FollowedOrders:
    """The orders of a shard that rest at their venues."""

    def __init__(
        self, client: Redis, keys: Keys, holder: Holder, retention: Retention, *, now_ms: int | None = None
    ) -> None:
        """Args:
        client: For scripts.
        keys: The shard's.
        holder: Our name among the workers.
        retention: How long records of ended orders stay.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._holder = holder
        self._kept_ms = int(retention.replayable_ms)
        self._now = "" if now_ms is None else str(now_ms)
        self._follow = Script("follow")
        self._followed = Script("followed")
        self.report: Batch[Following, FollowingAnswer] = Batch(self._send)
        """Submit a `Following`."""

    async def claim(self, rooms: Mapping[AccountName, int], *, at_most: int) -> Claims:
        """Claim orders that are due.

        Args:
            rooms: Every account that this worker has, and how many orders of it may be looked up now.
            at_most: The most to claim.

        Raises:
            StoreUnavailable: No answer: what was claimed is due again when the lease is over.
            StoreCorrupt: The key holds something else.
        """
        claim = f"{self._holder}|{secrets.token_hex(8)}"
        keys = [*self._keys.fixed, self._keys.following]
        args: list[str | bytes | int] = [self._now, claim, LEASE_MS, at_most, self._kept_ms]
        for account, room in rooms.items():
            args += (account, room)
        reply = await self._follow.run(self._client, keys, args)
        now_ms, wait_ms, followed, broken = (int(word) for word in reply[:4])
        failed = ["records of another kind"] * broken
        orders: list[FollowedOrder] = []
        for fields in reply[4:]:
            try:
                orders.append(_order(fields, claim, now_ms))
            except (StoreCorrupt, ValueError) as error:
                # It comes due again when its lease is over: an operator must mend its record.
                failed.append(f"order {fields[0].decode(errors='replace')}: {error}")
        return Claims(orders, None if wait_ms < 0 else wait_ms, followed, failed)

    async def resting(self, account: AccountName) -> list[Resting]:
        """Return all orders of an account that are followed.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        try:
            names: Any = await self._client.zrange(self._keys.following, 0, -1)
            if not names:
                return []
            ids = [ClientOrderId(name.decode()) for name in names]
            async with self._client.pipeline(transaction=False) as pipeline:
                for one in ids:
                    pipeline.hmget(self._keys.order(one), "account", "market", "state", "looked_at")
                records: list[list[bytes | None]] = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found = [_resting(name, fields) for name, fields in zip(ids, records, strict=True)]
        return [one for one in found if one is not None and one.account == account]

    async def hasten(self, orders: Sequence[ClientOrderId]) -> None:
        """Make followed orders due at once. One that is just being looked up may be twice; one of them counts.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key holds something else.
        """
        if not orders:
            return
        try:
            # Below every due time, and never above the one that an order has.
            await self._client.zadd(self._keys.following, dict.fromkeys(orders, 0), xx=True, lt=True)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def _send(self, items: Sequence[Following]) -> Sequence[FollowingAnswer | BridgeError]:
        keys = [*self._keys.fixed, self._keys.following]
        args: list[str | bytes | int] = [self._now, self._kept_ms]
        for one in items:
            keys.append(self._keys.order(one.order.client_order_id))
            args += (
                one.order.client_order_id,
                one.order.claim,
                one.report_id,
                one.order.state,
                one.state,
                b"" if one.report is None else codec.ORDER_REPORT.encode(one.report),
                "" if one.due_in_ms is None else one.due_in_ms,
                int(one.keeps_claim),
                "" if one.filled is None else format(one.filled, "f"),
                int(one.report is not None),
                one.absence.look_ups,
                one.absence.since_ms,
                int(one.absence.is_lost),
                one.cancelled_at_ms,
                len(one.notes),
            )
            for note in one.notes:
                args += (note.event, note.detail, note.note)
        reply = await self._followed.run(self._client, keys, args)
        return read_each(reply, _answer)


def _answer(answer: list[bytes]) -> FollowingAnswer | BridgeError:
    word = answer[0]
    if word == b"OK":
        return Kept()
    if word == b"STATE":
        return Moved()
    if word == b"STALE":
        return Stale()
    return failure(answer)


def _order(fields: list[bytes], claim: str, now_ms: int) -> FollowedOrder:
    name, account, market, alert, state, plan, answer, *numbers, traceparent, encoded, admitted_at = fields
    signed_at_ms, look_ups, since_ms, is_lost, cancelled_at_ms = (int(number) for number in numbers)
    return FollowedOrder(
        client_order_id=ClientOrderId(name.decode()),
        account=AccountName(account.decode()),
        market=Market(market.decode()),
        alert_id=AlertId(alert.decode()),
        state=OrderState(state.decode()),
        plan=codec.ORDER_PLAN.decode(plan),
        report=codec.ORDER_REPORT.decode(answer) if answer else None,
        signed_at_ms=signed_at_ms,
        absence=Absence(look_ups=look_ups, since_ms=since_ms, is_lost=bool(is_lost)),
        cancelled_at_ms=cancelled_at_ms,
        claim=claim,
        now_ms=now_ms,
        traceparent=traceparent.decode(),
        alert=encoded,
        admitted_at_ms=int(admitted_at),
    )


def _resting(name: ClientOrderId, fields: list[Any]) -> Resting | None:
    account, market, state, looked_at = fields
    if not account or not market or (state or b"").decode() not in RESTING:
        return None
    return Resting(
        client_order_id=name,
        account=AccountName(account.decode()),
        market=Market(market.decode()),
        state=OrderState(state.decode()),
        looked_at_ms=int(looked_at or 0),
    )
