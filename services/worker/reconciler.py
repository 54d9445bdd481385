"""Compares positions and open orders of accounts with their venues.

One worker at a time compares an account. A difference counts only where it stands in two looks some seconds apart with
nothing under way; it is journalled, and what the venue says is counted from then on.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, LookUpUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.halts import HaltMode, Scope
from libs.common.policy.reconciliation import (
    Agreed,
    Drifted,
    Look,
    Suspected,
    Unsettled,
    bought_quantity,
    expected_quantity,
    judge,
    next_base,
)
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.copies import Copies
from libs.common.store.following import FollowedOrders
from libs.common.store.halts import Halts
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciled, Reconciliation
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import is_outage
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.asking import Asker
from services.worker.publisher import Publisher
from services.worker.rounds import ReconciledAccount, Round, Rounds
from services.worker.surprises import Surprises

AGAIN_S: Final = 5.0
"""Between two looks at a difference."""

AT_ONCE: Final = 4
"""Markets of one account that its venue is asked about at a time."""

RETRY_S: Final = 5.0
"""After Redis or the venue did not answer, or what they said cannot be used."""

_US: Final = "reconciler"
"""Who sets halts on drift."""

log = get_logger()


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
        self._halts = halts
        self._copies = copies
        self._asker = Asker(metrics)
        self._rounds = Rounds(store, orders, published)
        self._surprises = Surprises(store, self._asker, metrics)
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
        this = await self._rounds.begin(name, account)
        markets = await self._rounds.markets(this)
        suspects: dict[Market, Look] = {}
        if account.broker.capabilities.has_positions:
            suspects = await self._look(this, markets, failures)
        surprises = await self._surprises.find(this, failures)
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
            await self._rounds.read(this)
            await self._look(this, suspects, failures, before=suspects, since_ms=since_ms)
            await self._surprises.tell(this, surprises, await self._surprises.find(this, failures), since_ms)
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

    async def _look(
        self,
        this: Round,
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
            await self._rounds.read(this)
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

    async def _drifted(self, this: Round, drift: Reconciled) -> None:
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
        self, this: Round, market: Market, failures: list[LookUpUnavailable]
    ) -> Decimal | None:
        return await self._asker.ask_or_note(this.name, this.account.broker.position(market), failures)

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
