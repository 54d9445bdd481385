"""One instruction's orders: the intent before the call, what became of it, the end.

What is made for every instruction is a `Struct`: it costs a tenth of a frozen dataclass.
"""

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
from redis.asyncio import Redis

from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, EntryId, Holder, Market, Nonce
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.batch import Batch
from libs.common.store.copies import Copies
from libs.common.store.head import HandedOut, Held, handed_out
from libs.common.store.keys import Keys
from libs.common.store.order_answers import (
    Begun,
    PlanAnswer,
    Resolved,
    Settled,
    begun,
    planned,
    resolved,
    settled,
)
from libs.common.store.retention import Retention
from libs.common.store.scripts import Script, read_each

LONGEST_WAIT_IN_PLACE_MS: Final = 250
"""A shorter wait keeps the lane; a longer one parks it."""

NO_LIMIT: Final = (0, 0)
"""Interval and burst of a limit that is off."""

_FLAGS: Final = {
    which: "".join(itertools.compress("xbyn", which)) for which in itertools.product((False, True), repeat=4)
}
"""What `begin` is told of an order, by whether it is an exit, passes open breakers, is of a lane with a young lease, and what
is behind it is wanted."""

MOST_FLIGHTS: Final = 3
WORTH_A_FLIGHT: Final = 12
"""Of intents, and of settlements. They overtake one another on several connections, which is as good: each is of another
lane. Redis works off together what waits for it, with one fsync for all."""


class Intent(msgspec.Struct, frozen=True):
    """An attempt that is about to be made."""

    held: Held
    entry_id: EntryId
    account: AccountName
    market: Market
    client_order_id: ClientOrderId
    attempt: int
    """From 1; counts calls to the venue that may place this order."""
    nonce: Nonce
    window_ms: int
    """How long the request may execute once it has left."""
    plan: bytes
    """Of the leg; stored at its first attempt only."""
    symbol_limit: tuple[int, int]
    """Microseconds between orders in the long run, and how many may come at once."""
    account_limit: tuple[int, int]
    probe_ms: int
    """How long a half-open breaker waits for its one probe; the same for all intents of a process."""
    strategy: str | None = None
    whole_plan: bytes = b""
    """Of all legs, stored at the first attempt of the first; empty where there is one."""
    is_exit: bool = False
    """Whether it can only lessen what is open: a halt may let it through."""
    passes_breaker: bool = False
    """Whether an open breaker lets it through."""
    is_lease_young: bool = False
    """Whether the lane's lease was renewed a moment ago, so that this need not do it."""
    wants_successor: bool = False
    """Whether the instruction behind it is to be told with the Go."""
    note: bytes = b""
    """JSON for the journal: what led to this order."""
    budgets: bytes = b""
    """Account-wide risk limits it counts against, JSON; empty where there are none."""
    read_at_ms: int = 0
    """Redis' time before the venue was asked for what the budgets are counted from."""


@dataclass(frozen=True, slots=True)
class Planning:
    """A plan that begins with something else than an order."""

    held: Held
    entry_id: EntryId
    plan: bytes
    market: Market
    strategy: str | None
    note: bytes
    """JSON for the journal: what led to it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An order that may have left, though Redis knows nothing of it."""

    held: Held
    entry_id: EntryId
    client_order_id: ClientOrderId
    market: Market
    plan: bytes
    """Of the order, as far as it is known what it was; else empty."""
    may_exist: bool = True
    """False where the instruction never comes to an order: then nothing need be looked up."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about an order of unknown outcome."""

    held: Held
    client_order_id: ClientOrderId
    attempt: int
    state: OrderState | None
    """UNKNOWN or NOT_EXECUTED; what a leg came to, before the next one; None counts one look-up that found nothing."""
    nonce: Nonce | None
    """Its sender's, where he knows for certain that nothing was executed."""
    margin_ms: int
    """How long after its expiry a request may still show up."""
    detail: str = ""
    answer: bytes = b""
    """The encoded report of a leg."""
    market: str = ""
    filled: str = ""
    """Signed quantity that the leg newly filled, where the account's positions are compared with its venue's."""
    look_up: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this look-up: the same finding, told again after a lost reply, counts once."""


class OrderOutcome(msgspec.Struct, frozen=True):
    """The state in which an attempt left its order."""

    client_order_id: ClientOrderId
    attempt: int
    state: OrderState
    answer: bytes
    """The encoded report."""
    market: str = ""
    filled: str = ""
    """Signed quantity filled, where the account's positions are compared with its venue's; else empty."""


class GoesBack(StrEnum):
    """Whether a lane that holds more is handed back with the end of its head."""

    NO = ""
    IF_WANTED = "if wanted"
    """Where other lanes wait for a slot, or its holder has more than a few and more than his share."""
    ALWAYS = "always"


class Settlement(msgspec.Struct, frozen=True):
    """The end of the head instruction."""

    held: Held
    entry_id: EntryId
    state: InstructionState
    reason: Reason
    detail: str = ""
    order: OrderOutcome | None = None
    goes_back: GoesBack = GoesBack.NO
    intent: Intent | None = None
    """Of the instruction behind it, to be begun at once where it was never begun and the lane is not handed back."""


class Taking(msgspec.Struct, frozen=True):
    """A lane whose token was read, to be taken and its head begun."""

    alert_id: AlertId
    """Of which the head is expected to be."""
    intent: Intent
    """Its entry id is not known yet."""


class Orders:
    """What a worker does with the head it holds."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        holder: Holder,
        retention: Retention,
        *,
        copies: Copies | None = None,
        now_ms: int | None = None,
    ) -> None:
        """Args:
        client: For scripts.
        keys: The shard's.
        holder: As in `Lanes`.
        retention: How long ended records stay.
        copies: Replicas that must have an intent before its order may leave; None asks for none.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._holder = holder
        self._retention = retention
        self._copies = copies
        self._now = "" if now_ms is None else str(now_ms)
        self._scripts = {
            name: Script(name) for name in ("begin", "doubt", "plan", "resolve", "settle", "take")
        }
        self.begin: Batch[Intent, Begun] = Batch(
            self._send_begin, max_flights=MOST_FLIGHTS, worth_a_flight=WORTH_A_FLIGHT
        )
        """Submit an `Intent`. The same one again gets the same answer."""
        self.take: Batch[Taking, Settled] = Batch(
            self._send_take, max_flights=MOST_FLIGHTS, worth_a_flight=WORTH_A_FLIGHT
        )
        """Submit a `Taking`; get what became of its intent, or the head."""
        self.plan: Batch[Planning, PlanAnswer] = Batch(self._send_plan)
        """Submit a `Planning`. The same one again gets the same answer."""
        self.doubt: Batch[Doubt, HandedOut] = Batch(self._send_doubt)
        """Submit a `Doubt`; get the head again, with that order as one whose outcome is not known."""
        self.resolve: Batch[Finding, Resolved] = Batch(self._send_resolve)
        """Submit a `Finding`."""
        self.settle: Batch[Settlement, Settled] = Batch(
            self._send_settle, max_flights=MOST_FLIGHTS, worth_a_flight=WORTH_A_FLIGHT
        )
        """Submit a `Settlement`; get the next head, or what became of its intent, unless the lane was handed back."""

    async def _send_begin(self, items: Sequence[Intent]) -> Sequence[Begun | BridgeError]:
        keys = [*self._keys.fixed]
        # Those of one worker are all the same.
        args: list[str | bytes | int] = [self._now, LONGEST_WAIT_IN_PLACE_MS, int(items[0].probe_ms)]
        for one in items:
            keys.append(self._keys.lane(one.held.lane))
            args += (one.held.lane, one.held.token, self._holder)
            self._add_intent(one, keys, args)
        # All that led to it is older, so replicas that have the intent have that too.
        reply = await self._scripts["begin"].run(self._client, keys, args, copies=self._copies)
        return read_each(reply, begun)

    async def _send_take(self, items: Sequence[Taking]) -> Sequence[Settled | BridgeError]:
        keys = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now, LONGEST_WAIT_IN_PLACE_MS, int(items[0].intent.probe_ms)]
        for one in items:
            held = one.intent.held
            keys.append(self._keys.lane(held.lane))
            args += (held.lane, held.token, self._holder, one.alert_id)
            self._add_intent(one.intent, keys, args)
        reply = await self._scripts["take"].run(self._client, keys, args, copies=self._copies)
        return read_each(reply, settled)

    def _add_intent(self, one: Intent, keys: list[str], args: list[str | bytes | int]) -> None:
        """Add what `intent_at` in `lua/intent.lua` reads."""
        keys += (
            self._keys.order(one.client_order_id),
            self._keys.symbol_bucket(one.account, one.market),
            self._keys.account_bucket(one.account),
        )
        args += (
            one.entry_id,
            one.client_order_id,
            one.attempt,
            one.nonce,
            int(one.window_ms),  # durations of the settings are packed slower, see `scripts`
            one.plan,
            one.whole_plan,
            *one.symbol_limit,
            *one.account_limit,
            one.market,
            one.strategy or "",
            _FLAGS[one.is_exit, one.passes_breaker, one.is_lease_young, one.wants_successor],
            one.note,
            one.budgets,
            one.read_at_ms,
        )

    async def _send_plan(self, items: Sequence[Planning]) -> Sequence[PlanAnswer | BridgeError]:
        keys = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now]
        for one in items:
            keys.append(self._keys.lane(one.held.lane))
            args += (
                one.held.lane,
                one.held.token,
                self._holder,
                one.entry_id,
                one.plan,
                one.market,
                one.strategy or "",
                one.note,
            )
        reply = await self._scripts["plan"].run(self._client, keys, args)
        return read_each(reply, planned)

    async def _send_doubt(self, items: Sequence[Doubt]) -> Sequence[HandedOut | BridgeError]:
        keys = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now]
        for one in items:
            keys += (self._keys.lane(one.held.lane), self._keys.order(one.client_order_id))
            args += (
                one.held.lane,
                one.held.token,
                self._holder,
                one.entry_id,
                one.client_order_id,
                one.market,
                one.plan,
                int(one.may_exist),
            )
        reply = await self._scripts["doubt"].run(self._client, keys, args)
        return read_each(reply, handed_out)

    async def _send_resolve(self, items: Sequence[Finding]) -> Sequence[Resolved | BridgeError]:
        keys = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now]
        for one in items:
            keys.append(self._keys.order(one.client_order_id))
            args += (
                one.held.lane,
                one.held.token,
                self._holder,
                one.client_order_id,
                one.attempt,
                "MISSED" if one.state is None else one.state,
                one.look_up if one.state is None else one.nonce or "",
                one.margin_ms,
                one.detail,
                one.answer,
                one.market,
                one.filled,
            )
        reply = await self._scripts["resolve"].run(self._client, keys, args)
        return read_each(reply, resolved)

    async def _send_settle(self, items: Sequence[Settlement]) -> Sequence[Settled | BridgeError]:
        if self._copies is None:
            return await self._settle_together(items)
        parts = [[one for one in items if (one.intent is not None) is begins] for begins in (False, True)]
        if not all(parts):
            return await self._settle_together(items)
        # What begins nothing does not wait for replicas: told that they are late, it would ask again, when the lane that it
        # closed is nobody's.
        plain, beginning = map(iter, await asyncio.gather(*map(self._settle_or_fail, parts)))
        return [next(plain if one.intent is None else beginning) for one in items]

    async def _settle_or_fail(self, items: Sequence[Settlement]) -> Sequence[Settled | BridgeError]:
        """Settle what shares its flight with others; what fails it as a whole is the answer to each."""
        try:
            return await self._settle_together(items)
        except BridgeError as error:
            return [type(error)(*error.args) for _ in items]

    async def _settle_together(self, items: Sequence[Settlement]) -> Sequence[Settled | BridgeError]:
        keys = [*self._keys.fixed]
        kept = self._retention
        intents = [one.intent for one in items if one.intent is not None]
        args: list[str | bytes | int] = [
            self._now,
            int(kept.alerts_ms),
            int(kept.replayable_ms),
            LONGEST_WAIT_IN_PLACE_MS,
            int(intents[0].probe_ms) if intents else 0,
            len(items),
        ]
        nth = 0
        for one in items:
            order = one.order
            keys.append(self._keys.lane(one.held.lane))
            args += (
                one.held.lane,
                one.held.token,
                self._holder,
                one.entry_id,
                one.state,
                one.reason,
                one.detail,
            )
            if order is None:
                keys.append(self._keys.prefix)
                args += ("", "", "", "", "", "")
            else:
                keys.append(self._keys.order(order.client_order_id))
                args += (
                    order.client_order_id,
                    order.attempt,
                    order.state,
                    order.answer,
                    order.market,
                    order.filled,
                )
            nth += one.intent is not None
            args += (one.goes_back, "" if one.intent is None else nth)
        for intent in intents:
            self._add_intent(intent, keys, args)
        # As with `begin`: no order leaves that replicas may not know of.
        copies = self._copies if intents else None
        reply = await self._scripts["settle"].run(self._client, keys, args, copies=copies)
        return read_each(reply, settled)
