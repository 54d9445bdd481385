"""Plans what one instruction does at its venue: mapping -> readings -> size -> risk. Nothing is sent here."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, LookUpUnavailable
from libs.common.domain.ids import client_order_id
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.order import OrderPlan, Plan
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Balance
from libs.common.policy.exact import subtract
from libs.common.policy.exposure import gross_value
from libs.common.policy.halts import Effect, find_stop
from libs.common.policy.readings import Need, Readings, needs_of
from libs.common.policy.risk import judge, risk_needs
from libs.common.policy.risk_rules import NO_RISK, RiskRules
from libs.common.policy.sizing import NothingToDo, Planned, Refused, plan_order
from libs.common.store.halts import Halts
from libs.common.store.head import Head
from libs.common.store.in_flight import InFlightOrders
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.brokers.port import Broker
from services.worker.instruments import Instruments
from services.worker.mapping import MappingCheck
from services.worker.persistence import persist
from services.worker.work import Ended, Leg, Work

T = TypeVar("T")

ASKED_RARELY: Final = frozenset({Need.INSTRUMENT})
"""What is remembered for minutes: no venue is burdened by it."""

HALTED_MS: Final = 2_000
"""How often a paused lane asks whether it may go on; as in `begin`."""

OLDEST_READING_MS: Final = 110_000
"""Below the two minutes for which `begin` remembers what was reserved: older readings could not have seen it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, with all that led to it."""

    plan: Plan
    mapping: str = ""
    sizing: str = ""
    risk: tuple[str, ...] = ()
    """The verdict of each risk rule that was looked at."""
    budgets: bytes = b""
    """Account-wide risk limits, JSON; empty where there are none."""
    read_at_ms: int = 0
    """Redis' time before the venue was asked."""
    is_at_once: bool = False
    """Whether nobody had to be asked; so it mostly is with the instruction behind it as well."""

    def led_to_it(self) -> bytes:
        """Return what led to the plan, as a JSON object for the journal; empty where there is nothing to say."""
        if not (self.mapping or self.sizing or self.risk):
            return b""
        return _ENCODE(_Steps(mapping=self.mapping, sizing=self.sizing, risk=self.risk))


@dataclass(frozen=True, slots=True)
class Unread:
    """What the plan depends on cannot be told now: ask again later."""

    detail: str
    reason: Reason = Reason.BACK_OFF
    wait_ms: int | None = None
    """How long it takes at least; None where nobody knows."""


def leg_of(head: Head, made: Made, index: int) -> Leg:
    """Return one order of a head's plan."""
    plan = made.plan
    is_whole = len(plan.legs) == 1 and not plan.cancels
    return Leg(
        index=index,
        plan=plan.legs[index],
        client_order_id=client_order_id(head.account, head.alert_id, index),
        whole=None if is_whole else plan,
        led_to_it=made.led_to_it(),
        budgets=made.budgets if index == len(plan.legs) - 1 else b"",
        read_at_ms=made.read_at_ms,
        wants_successor=is_whole and made.is_at_once,
    )


class _Steps(msgspec.Struct, omit_defaults=True):
    mapping: str = ""
    sizing: str = ""
    risk: tuple[str, ...] = ()


_ENCODE: Final = msgspec.json.Encoder().encode


class Planner:
    """Asks a venue no more than a plan needs, and all of it at once."""

    def __init__(
        self,
        *,
        mapping: MappingCheck,
        instruments: Instruments,
        published: Published,
        days: Reconciliation,
        in_flight: InFlightOrders,
        halts: Halts,
        clock: Clock,
    ) -> None:
        self._mapping = mapping
        self._instruments = instruments
        self._published = published
        self._days = days
        self._in_flight = in_flight
        self._halts = halts
        self._clock = clock

    async def plan(self, work: Work) -> Made | Ended | Unread:
        """Plan an instruction.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        at_once = self.plan_at_once(work)
        if at_once is not None:
            return at_once
        instruction, account = work.instruction, work.account
        mapped = self._mapped(work)
        if mapped is None:
            refused = await persist(lambda: self._mapping.refusal(instruction, account), work.lease)
            if refused is not None:
                return _refusal(refused)
            mapped = _mapped_words(instruction)
        rules = _rules_of(work)
        needs = _needs_of(work, rules)
        if needs - ASKED_RARELY:
            own_needs = needs_of(instruction, account.broker.capabilities.orders)
            turns_on_position = Need.POSITION in own_needs or (rules is not None and rules.limits_positions)
            hindered = await self._hindrance(work, turns_on_position=turns_on_position)
            if hindered is not None:
                return hindered
        try:
            readings = await self._read(work, needs)
        except LookUpUnavailable as error:
            return Unread(str(error))
        return self._make(work, rules, mapped, readings, is_at_once=False)

    def plan_at_once(self, work: Work) -> Made | Ended | None:
        """Plan an instruction for which nobody has to be asked; None where somebody has."""
        mapped = self._mapped(work)
        if mapped is None:
            return None
        rules = _rules_of(work)
        if _needs_of(work, rules):
            return None
        readings = Readings(read_at_ms=self._now_ms(work))
        return self._make(work, rules, mapped, readings, is_at_once=True)

    def _make(
        self, work: Work, rules: RiskRules | None, mapped: str, readings: Readings, *, is_at_once: bool
    ) -> Made | Ended:
        """Plan an instruction by what is known."""
        account = work.account
        planned = plan_order(
            work.instruction, readings, account.default_quantity, account.broker.capabilities.orders
        )
        match planned:
            case Refused():
                return _refusal(planned)
            case NothingToDo(reason, detail):
                return Ended(InstructionState.SKIPPED, reason, detail)
        made = Made(
            planned.plan, mapped, planned.sizing, read_at_ms=readings.read_at_ms, is_at_once=is_at_once
        )
        return made if rules is None else self._judge(work, rules, made, readings)

    async def judge(self, work: Work, plan: Plan) -> Made | Ended | Unread:
        """Judge a plan again that was made before, since what the risk limits are held against has moved on."""
        rules = _rules_of(work)
        if rules is None:
            return Made(plan)
        needs = risk_needs(rules, work.instruction)
        if needs - ASKED_RARELY:
            hindered = await self._hindrance(work, turns_on_position=rules.limits_positions)
            if hindered is not None:
                return hindered
        try:
            readings = await self._read(work, needs)
        except LookUpUnavailable as error:
            return Unread(str(error))
        return self._judge(work, rules, Made(plan, read_at_ms=readings.read_at_ms), readings)

    async def remake(self, work: Work) -> OrderPlan | None:
        """Return the order that an instruction comes to whenever it is planned; None where that depends, or is nothing.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        abilities = work.account.broker.capabilities.orders
        needs = needs_of(work.instruction, abilities)
        if needs - ASKED_RARELY:
            return None
        readings = await self._read(work, needs)
        planned = plan_order(work.instruction, readings, work.account.default_quantity, abilities)
        return planned.plan.legs[0] if isinstance(planned, Planned) and len(planned.plan.legs) == 1 else None

    def _judge(self, work: Work, rules: RiskRules, made: Made, readings: Readings) -> Made | Ended:
        judgement = judge(rules, work.instruction, made.plan, readings, self._now_ms(work))
        if judgement.breach is not None:
            breach = judgement.breach
            detail = f"{breach.rule}: {breach.value}, limit {breach.limit}"
            return Ended(InstructionState.REJECTED, Reason.RISK, detail)
        budgets = codec.BUDGETS.encode(judgement.budgets) if judgement.budgets else b""
        return replace(made, risk=judgement.verdicts, budgets=budgets)

    def _mapped(self, work: Work) -> str | None:
        """Return what to say of an instruction's symbol that still means its market; None where the table must be asked."""
        if self._mapping.is_moot(work.instruction, work.account):
            return ""
        is_confirmed = self._mapping.confirms(work.instruction, work.account)
        return _mapped_words(work.instruction) if is_confirmed else None

    def _now_ms(self, work: Work) -> int:
        """Return Redis' time when the head was handed out, and what has passed since: never later than it is there."""
        return work.head.now_ms + work.passed_ms(self._clock)

    async def _hindrance(self, work: Work, *, turns_on_position: bool) -> Unread | None:
        """Return why the venue is not worth asking now; None where it is.

        Lanes that wait for a halt to be lifted, or for the venue's own wish, must not ask it again and again. And what
        it says of a position is not to be planned on while an order of ours is about to change it.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        account, market = work.account, work.instruction.market
        halts = (await persist(self._halts.read, work.lease)).halts
        stop = find_stop(
            halts, account=account.name, strategy=work.instruction.strategy, symbol=market, is_exit=True
        )
        if stop is not None and stop.effect is Effect.PUT_OFF:
            return Unread(
                f"{stop.halt.mode} of {stop.halt.scope}: {stop.halt.reason}", Reason.HALTED, HALTED_MS
            )
        flight = await persist(lambda: self._in_flight.of(account.name, market), work.lease)
        now_ms = work.head.now_ms + work.passed_ms(self._clock)
        if flight.paused_until_ms > now_ms:
            return Unread(
                "the venue asked the account to wait", Reason.THROTTLED, flight.paused_until_ms - now_ms
            )
        if not turns_on_position:
            return None
        if flight.market_order is not None:
            return Unread(f"market order {flight.market_order} is not filled yet", Reason.AWAITING_FILL)
        lag_ms = account.broker.capabilities.look_up_lag_ms
        if flight.filled_at_ms is not None and 0 <= now_ms - flight.filled_at_ms < lag_ms:
            wait_ms = flight.filled_at_ms + lag_ms - now_ms
            return Unread(
                "a fill of the market may not be in its position yet", Reason.AWAITING_FILL, wait_ms
            )
        return None

    async def _read(self, work: Work, needs: frozenset[Need]) -> Readings:
        """Ask the venue for all that is needed, side by side.

        Raises:
            LookUpUnavailable: It did not say.
        """
        read_at_ms = self._now_ms(work)
        if not needs:
            return Readings(read_at_ms=read_at_ms)
        account, market = work.account, work.instruction.market
        broker = account.broker
        value = None
        if Need.EXPOSURE in needs and (published := await self._exposure(account)) is not None:
            value, oldest_ms = published
            read_at_ms = min(read_at_ms, oldest_ms)
        position, price, balance, instrument, resting, all_resting = await asyncio.gather(
            _if(
                Need.POSITION in needs and broker.capabilities.has_positions, lambda: broker.position(market)
            ),
            _if(Need.PRICE in needs, lambda: _price(broker, work.instruction)),
            _if(Need.BALANCE in needs, lambda: self._balance(account)),
            _if(Need.INSTRUMENT in needs, lambda: self._instruments.get(account.name, broker, market)),
            _if(Need.OPEN_ORDERS in needs, lambda: broker.open_orders(market)),
            _if(Need.ACCOUNT_ORDERS in needs, broker.open_orders),
        )
        return Readings(
            position=position,
            price=price,
            exposure=value,
            balance=balance,
            instrument=instrument,
            open_orders=None if resting is None else tuple(resting),
            account_orders=None if all_resting is None else tuple(all_resting),
            read_at_ms=read_at_ms,
        )

    async def _balance(self, account: Account) -> Balance | None:
        """Return the account's money; the day's profit from what its day began with, where the venue does not tell it.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        balance = await account.broker.account()
        if balance is None or balance.day_pnl is not None:
            return balance
        try:
            began_with = await self._days.day_began_with(account.name, balance.equity, self._clock.now_ms())
        except BridgeError as error:
            raise LookUpUnavailable(f"what the account's day began with is not known: {error}") from error
        return msgspec.structs.replace(balance, day_pnl=subtract(balance.equity, began_with))

    async def _exposure(self, account: Account) -> tuple[Decimal | None, int] | None:
        """Return the gross value of all positions as the reconciler published them, and when the oldest was read.

        None where nothing was ever published: the venue's own word counts then, if it has one.

        Raises:
            LookUpUnavailable: They are too old to be relied on.
        """
        try:
            positions = await self._published.positions(account.name)
        except BridgeError as error:
            raise LookUpUnavailable(f"the positions of the account are not known: {error}") from error
        if not positions:
            # Nothing was ever traded there, but for what is under way: that is reserved, and counts for so long.
            return (Decimal(0), self._clock.now_ms() - OLDEST_READING_MS) if account.is_reconciled else None
        now_ms = self._clock.now_ms()
        # A market that cannot be read any more, as when it was delisted, counts only while something is open there.
        counted = [
            one.at_ms for one in positions.values() if one.quantity or now_ms - one.at_ms <= OLDEST_READING_MS
        ]
        oldest_ms = min(counted, default=now_ms - OLDEST_READING_MS)
        if now_ms - oldest_ms > OLDEST_READING_MS:
            raise LookUpUnavailable("the positions of the account were read too long ago")
        return gross_value(positions.values()), oldest_ms


async def _price(broker: Broker, instruction: Instruction) -> Decimal | None:
    if instruction.price is not None and not broker.capabilities.has_own_prices:
        return instruction.price
    return await broker.price(instruction.market)


async def _if(is_needed: bool, ask: Callable[[], Awaitable[T | None]]) -> T | None:
    return await ask() if is_needed else None


def _mapped_words(instruction: Instruction) -> str:
    return "" if instruction.symbol is None else f'"{instruction.symbol}" is {instruction.market}'


def _needs_of(work: Work, rules: RiskRules | None) -> frozenset[Need]:
    needs = needs_of(work.instruction, work.account.broker.capabilities.orders)
    return needs if rules is None else needs | risk_needs(rules, work.instruction)


def _rules_of(work: Work) -> RiskRules | None:
    book = work.account.risk
    if book is NO_RISK:
        return None
    return book.rules_for(work.instruction.strategy, work.instruction.market)


def _refusal(refused: Refused) -> Ended:
    return Ended(InstructionState.REJECTED, refused.reason, refused.detail)
