"""What is known of an account while it is compared with its venue."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.common.domain.ids import AccountName, LaneName, Market, lane_name
from libs.common.policy.reconciliation import FillEntry, position_in_stream
from libs.common.store.following import FollowedOrders, Resting
from libs.common.store.published import Published
from libs.common.store.reconciliation import BEFORE_ALL, KeptBase, Reconciliation
from libs.common.telemetry.logs import get_logger
from services.worker.brokers.port import Broker

log = get_logger()


@dataclass(frozen=True, slots=True)
class ReconciledAccount:
    """What a reconciler knows of an account."""

    broker: Broker
    every_ms: int
    halts_on_drift: bool


@dataclass(slots=True)
class Round:
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


class Rounds:
    """Reads what rounds know."""

    def __init__(self, store: Reconciliation, orders: FollowedOrders, published: Published) -> None:
        """Args:
        store: What workers share about comparisons.
        orders: Those that rest.
        published: The markets that venues were asked about before.
        """
        self._store = store
        self._orders = orders
        self._published = published

    async def begin(self, name: AccountName, account: ReconciledAccount) -> Round:
        """Return a new round, with our fills from the oldest base on.

        Bases whose fills are dropped already are forgotten.
        """
        this = Round(name, account, await self._store.bases(name))
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
        await self.read(this)
        return this

    async def read(self, this: Round) -> None:
        """Read what has happened since the last reading: lanes first, so that what they just ended is in the fills."""
        this.now_ms = await self._store.time_ms()
        this.busy = await self._store.busy_lanes(this.name)
        this.resting = await self._orders.resting(this.name)
        fills = await self._store.fills(this.name, this.read_to)
        this.fills += fills
        if fills:
            this.read_to = fills[-1].entry_id

    async def markets(self, this: Round) -> list[Market]:
        """Return the markets in which we have traded, or may have."""
        published = await self._published.positions(this.name)
        found = [
            *published,
            *this.bases,
            *(fill.market for fill in this.fills),
            *(one.market for one in this.resting),
        ]
        return sorted(dict.fromkeys(found))
