"""Compares positions and open orders of accounts with their venues.

One worker at a time compares an account. A difference counts only where it stands in two looks some seconds apart with
nothing under way; it is journalled, and what the venue says is counted from then on.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, LookUpUnavailable
from libs.common.domain.ids import AccountName, ClientOrderId, LaneName, Market, is_client_order_id, lane_name
from libs.common.policy.halts import HaltMode, Scope
from libs.common.policy.reconciliation import (
    Agreed,
    Drifted,
    FillEntry,
    Look,
    Suspected,
    Unsettled,
    bought_quantity,
    expected_quantity,
    judge,
    next_base,
    position_in_stream,
    surprise,
)
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.copies import Copies
from libs.common.store.following import FollowedOrders, Resting
from libs.common.store.halts import Halts
from libs.common.store.published import Published
from libs.common.store.reconciliation import BEFORE_ALL, KeptBase, Reconciled, Reconciliation
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import is_outage
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.asking import Asker
from services.worker.brokers.port import Broker
from services.worker.publisher import Publisher

AGAIN_S: Final = 5.0
"""Between two looks at a difference."""

AT_ONCE: Final = 4
"""Markets of one account that its venue is asked about at a time."""

RETRY_S: Final = 5.0
"""After Redis did not answer."""

_US: Final = "reconciler"
"""Who sets halts on drift."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class ReconciledAccount:
    """What a reconciler knows of an account."""

    broker: Broker
    every_ms: int
    halts_on_drift: bool


@dataclass(slots=True)
class _Round:
    """One comparison of an account: what is known of it, read as it goes on."""

    name: AccountName
    account: ReconciledAccount
    bases: dict[Market, KeptBase]
    fills: list[FillEntry] = field(default_factory=list)
    """Since the oldest base, in order."""
    read_to: str = BEFORE_ALL
    """The last of them, or the base."""
    busy: frozenset[LaneName] = frozenset()
    now_ms: int = 0
    """Redis' time when all this was read last."""
    resting: Sequence[Resting] = ()

    def fills_in(self, market: Market) -> list[FillEntry]:
        """Return what our orders filled in a market since its base."""
        kept = self.bases.get(market)
        after = position_in_stream(BEFORE_ALL if kept is None or kept.base is None else kept.base.fills_id)
        return [
            fill for fill in self.fills if fill.market == market and position_in_stream(fill.entry_id) > after
        ]

    def is_busy(self, market: Market) -> bool:
        """Tell whether a lane of a market has work. A market named like the start of another's lane counts with it."""
        lane = lane_name(self.name, market)
        return any(one == lane or one.startswith(f"{lane}:") for one in self.busy)


class Reconciler:
    """Compares accounts with their venues, a task for each."""

    def __init__(
        self,
        accounts: Mapping[AccountName, ReconciledAccount],
        *,
        store: Reconciliation,
        orders: FollowedOrders,
        published: Published,
        halts: Halts,
        clock: Clock,
        metrics: WorkerMetrics,
        copies: Copies | None = None,
    ) -> None:
        """Args:
        accounts: Those that are compared.
        store: What workers share about it.
        orders: Those that rest.
        published: Where what the venues say goes.
        halts: For accounts that pause on drift.
        clock: When a venue was asked.
        metrics: The worker's.
        copies: Replicas that must have a halt before it counts, with a stamp; None asks for none.
        """
        self._accounts = accounts
        self._store = store
        self._orders = orders
        self._published = published
        self._halts = halts
        self._copies = copies
        self._asker = Asker(metrics)
        self._publisher = Publisher(store, published, clock, self._asker)
        self._metrics = metrics
        self._failures: dict[AccountName, str] = {}
        """What was logged last of those that fail now."""

    async def run(self, stopped: asyncio.Event) -> None:
        """Compare every account now and again after its time, until `stopped` is set."""
        async with asyncio.TaskGroup() as group:
            for name in self._accounts:
                group.create_task(self._keep(name, stopped))

    async def _keep(self, name: AccountName, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            try:
                wait_ms = await self._store.take_turn(name, self._accounts[name].every_ms)
                if wait_ms == 0:
                    await self.reconcile(name, stopped)
                    self._worked(name)
            except BridgeError as error:
                self._failed(name, error)
                wait_ms = int(RETRY_S * 1_000)
            except Exception as error:  # noqa: BLE001 - an adapter's fault must end neither the loop nor the worker
                self._failed(name, error)
                wait_ms = int(RETRY_S * 1_000)
            await wait_for_event(stopped, wait_ms / 1_000)

    async def reconcile(self, name: AccountName, stopped: asyncio.Event) -> None:
        """Compare one account now, in two looks where the first one finds a difference.

        Raises:
            StoreUnavailable: Redis is away.
            StoreCorrupt: A record cannot be used.
            LookUpUnavailable: The venue did not answer all that it was asked; what it answered counts.
        """
        account = self._accounts[name]
        failures: list[LookUpUnavailable] = []
        this = _Round(name, account, await self._store.bases(name))
        await self._begin(this)
        markets = await self._markets(this)
        suspects: dict[Market, Look] = {}
        if account.broker.capabilities.has_positions:
            suspects = await self._look(this, markets, failures)
        surprises = await self._surprises(this, failures)
        if suspects or surprises:
            await self._orders.hasten(
                [
                    one.client_order_id
                    for one in this.resting
                    if one.market in suspects or one.client_order_id in surprises
                ]
            )
            # What the venue tells of a resting order from now on is newer than all of this.
            since_ms = await self._store.time_ms()
            if await wait_for_event(stopped, AGAIN_S):
                return
            await self._read(this)
            await self._look(this, suspects, failures, before=suspects, since_ms=since_ms)
            await self._tell(this, surprises, await self._surprises(this, failures), since_ms)
        await self._publisher.publish_balance(name, account.broker, failures)
        if failures:
            raise failures[0]

    async def publish(self, name: AccountName, market: Market) -> None:
        """Publish a market's position, and the balance, as the venue tells them after a fill; raises nothing."""
        account = self._accounts.get(name)
        if account is None or not account.broker.capabilities.has_positions:
            return
        failures: list[LookUpUnavailable] = []
        try:
            asked_ms = await self._store.time_ms()
            quantity = await self._asker.ask(name, account.broker.position(market))
            await self._publisher.publish_position(
                name, account.broker, market, quantity, None, failures, asked_ms
            )
            await self._publisher.publish_balance(name, account.broker, failures)
        except BridgeError as error:
            self._failed(name, error)
        else:
            if failures:
                self._failed(name, failures[0])

    # What is known.

    async def _begin(self, this: _Round) -> None:
        """Read our fills from the oldest base on; bases whose fills are dropped already are forgotten."""
        oldest = await self._store.oldest_fill(this.name)
        for market, kept in this.bases.items():
            if (
                oldest is not None
                and kept.base is not None
                and position_in_stream(kept.base.fills_id) < position_in_stream(oldest)
            ):
                log.warning("position_not_countable", account=this.name, market=market)
                this.bases[market] = KeptBase(None, kept.encoded)
        known = [kept.base.fills_id for kept in this.bases.values() if kept.base is not None]
        this.read_to = min(known, key=position_in_stream, default=BEFORE_ALL)
        await self._read(this)

    async def _read(self, this: _Round) -> None:
        """Read what has happened since the last reading: lanes first, so that what they just ended is in the fills."""
        this.now_ms = await self._store.time_ms()
        this.busy = await self._store.busy_lanes(this.name)
        this.resting = await self._orders.resting(this.name)
        fills = await self._store.fills(this.name, this.read_to)
        this.fills += fills
        if fills:
            this.read_to = fills[-1].entry_id

    async def _markets(self, this: _Round) -> list[Market]:
        """Return the markets in which we have traded, or may have."""
        published = await self._published.positions(this.name)
        found = [
            *published,
            *this.bases,
            *(fill.market for fill in this.fills),
            *(one.market for one in this.resting),
        ]
        return sorted(dict.fromkeys(found))

    # Positions.

    async def _look(
        self,
        this: _Round,
        markets: Iterable[Market],
        failures: list[LookUpUnavailable],
        *,
        before: Mapping[Market, Look] = MappingProxyType({}),
        since_ms: int = 0,
    ) -> dict[Market, Look]:
        """Compare these markets, write down what is settled, and return those that must be looked at again.

        Args:
            this: The round.
            markets: Which.
            failures: Where questions go that were not answered.
            before: The looks that made us suspect a drift; none the first time.
            since_ms: When the last of them was over.
        """
        suspects: dict[Market, Look] = {}
        for some in _batches(list(markets), AT_ONCE):
            asked_ms, read_to = this.now_ms, this.read_to
            was_busy = {market: this.is_busy(market) for market in some}
            answers = await asyncio.gather(*[self._position(this, market, failures) for market in some])
            await self._read(this)
            settled: list[Reconciled] = []
            for market, venue in zip(some, answers, strict=True):
                if venue is None:
                    continue
                fills = this.fills_in(market)
                kept = this.bases.get(market)
                base = None if kept is None else kept.base
                look = Look(
                    at_ms=asked_ms,
                    venue=venue,
                    expected=None if base is None else expected_quantity(base, fills),
                    bought=bought_quantity(fills),
                    fills_id=read_to,
                    last_fill_ms=fills[-1].at_ms if fills else 0,
                    is_still=not was_busy[market] and not this.is_busy(market),
                    is_followed_up=all(
                        one.looked_at_ms >= since_ms for one in this.resting if one.market == market
                    ),
                )
                await self._publisher.publish_position(
                    this.name, this.account.broker, market, venue, look.expected, failures, asked_ms
                )
                match judge(look, before.get(market)):
                    case Agreed():
                        settled.append(Reconciled(market, kept, next_base(look, base)))
                    case Suspected():
                        suspects[market] = look
                    case Unsettled():
                        pass
                    case Drifted() as drift:
                        await self._drifted(
                            this, Reconciled(market, kept, next_base(look, base), drift.words)
                        )
                    case never:
                        assert_never(never)
            await self._store.settle(this.name, settled)
        return suspects

    async def _drifted(self, this: _Round, drift: Reconciled) -> None:
        """Journal a drift, tell of it, and pause the account where it is to be."""
        if this.account.halts_on_drift:
            # First: a crash in between is told again.
            await self._halt(this.name, f"drift in {drift.market}: {drift.drift}")
        [is_ours] = await self._store.settle(this.name, [drift])
        if is_ours:
            self._metrics.drifted(this.name, "position")
            log.warning("position_drifted", account=this.name, market=drift.market, drift=drift.drift)

    async def _halt(self, name: AccountName, reason: str) -> None:
        scope = Scope(account=name)
        held = next((one for one in (await self._halts.read()).halts if one.scope == scope), None)
        # One that an operator set may be stricter, and is his to lift.
        if held is not None and (held.by, held.mode) != (_US, HaltMode.PAUSE):
            return
        # One of ours is set again as it is: whoever set it may not have heard that replicas have it.
        kept = reason if held is None else held.reason
        await self._halts.set(scope, HaltMode.PAUSE, by=_US, reason=kept, copies=self._copies)
        if kept == reason:
            log.error("account_halted", account=name, reason=reason)

    async def _position(
        self, this: _Round, market: Market, failures: list[LookUpUnavailable]
    ) -> Decimal | None:
        return await self._asker.ask_or_note(this.name, this.account.broker.position(market), failures)

    # Open orders.

    async def _surprises(
        self, this: _Round, failures: list[LookUpUnavailable]
    ) -> dict[ClientOrderId, tuple[Market, str]]:
        """Return what venue and records tell different things of: orders, their markets, and how they differ."""
        listed = await self._asker.ask_or_note(this.name, this.account.broker.open_orders(), failures)
        if listed is None:
            return {}
        ours = {
            one.client_order_id: one.symbol
            for one in listed
            if one.client_order_id is not None and is_client_order_id(one.client_order_id)
        }
        # After the venue: an order that has come to rest in between is on record.
        states = await self._store.order_states(list(ours))
        found: dict[ClientOrderId, tuple[Market, str]] = {}
        for (order, market), state in zip(ours.items(), states, strict=True):
            words = surprise(order, state)
            if words is not None:
                found[order] = (market, words)
        for one in this.resting:
            if one.client_order_id not in ours:
                words = f"order {one.client_order_id} is {one.state}, and the venue does not list it as open"
                found[one.client_order_id] = (one.market, words)
        return found

    async def _tell(
        self,
        this: _Round,
        before: Mapping[ClientOrderId, tuple[Market, str]],
        after: Mapping[ClientOrderId, tuple[Market, str]],
        since_ms: int,
    ) -> None:
        """Journal what stood in both looks, once."""
        unseen = {one.client_order_id for one in this.resting if one.looked_at_ms < since_ms}
        for order, (market, words) in after.items():
            if before.get(order) != (market, words) or order in unseen:
                continue
            if await self._store.tell_drift(this.name, market, order, words):
                self._metrics.drifted(this.name, "order")
                log.warning("order_drifted", account=this.name, market=market, drift=words)

    def _failed(self, name: AccountName, error: Exception) -> None:
        words = str(error) if isinstance(error, BridgeError) else repr(error)
        if is_outage(error):
            log.debug("account_not_reconciled", account=name, error=words)
        elif self._failures.get(name) != words:
            log.warning("account_not_reconciled", account=name, error=words)
            self._failures[name] = words

    def _worked(self, name: AccountName) -> None:
        if self._failures.pop(name, None) is not None:
            log.info("account_reconciled", account=name)


def _batches(markets: Sequence[Market], size: int) -> list[Sequence[Market]]:
    return [markets[at : at + size] for at in range(0, len(markets), size)]
