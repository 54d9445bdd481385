"""Which orders an instruction comes to: which way, how much, at which prices."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.alert import Action, MarketPosition, QuantityUnit
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderType, Plan, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import OrderAbilities
from libs.common.policy.abilities import lacking
from libs.common.policy.amounts import Amount, Prices, Unfit, amount_of, order_prices
from libs.common.policy.exact import magnitude, subtract
from libs.common.policy.legs import entry_leg, exit_leg
from libs.common.policy.readings import Readings, is_plain
from libs.common.policy.rounding import round_quantity, shown

_NO_POSITIONS: Final = "it depends on what is open, which the venue does not tell"


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done at the venue."""

    plan: Plan
    sizing: str
    """How the quantities were found, in one sentence."""


@dataclass(frozen=True, slots=True)
class Refused:
    """There is nothing that could be sent."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """All that the alert asks for is so already."""

    reason: Reason
    detail: str


Planning = Planned | Refused | NothingToDo


def plan_order(
    instruction: Instruction,
    readings: Readings,
    default_quantity: Decimal | None,
    abilities: OrderAbilities,
) -> Planning:
    """Plan what one instruction does at its venue.

    - buy, sell: one order. With `reduce_only` never more than what is open on the other side.
    - close_long, close_short, close_all: one order of all that is open on that side, or of `quantity` at most.
    - target: what is missing to `position` of the size. A position on the other side is closed by a first order.
    - flip: closes what is open on the other side, and opens `position` of the size. What is open on the asked side
      already stays, and the size is added to it: a target is for whoever wants the size in all.
    - cancel: the resting orders of the market.

    Only what is computed is rounded, down, to the market's step; units as sent also where something else had the
    venue asked for its steps. Take-profit and stop-loss go with the order that opens. Both orders of a plan are market
    orders: one that rested would hold up the other, its lane, and with it whatever should close.

    Args:
        instruction: What the alert asked for.
        readings: What the venue said, at least of all that `needs_of` names.
        default_quantity: Base units, above 0, where the alert names no quantity; None where the account has none.
        abilities: What the venue lets an order carry. What is not there is refused, never left out.
    """
    if instruction.action is Action.CANCEL:
        return _cancel(instruction, readings)
    if readings.instrument is None and is_plain(instruction):
        planned = _plan_plain(instruction, abilities)
        if planned is not None:
            return planned
    if missing := lacking(instruction, abilities):
        return Refused(Reason.NOT_SUPPORTED, f"the venue does not take it: {', '.join(missing)}")
    return _Planner(instruction, readings, default_quantity, abilities).plan()


def _plan_plain(instruction: Instruction, abilities: OrderAbilities) -> Planned | None:
    """Return the plan of an order that most are, in a fraction of the time; None where there is more to it."""
    quantity, time_in_force = instruction.quantity, instruction.time_in_force
    if (
        not quantity
        or OrderType.MARKET not in abilities.types
        or (time_in_force is not None and time_in_force not in abilities.times_in_force)
        or instruction.limit_price is not None
        or instruction.stop_price is not None
    ):
        return None
    leg = OrderPlan(
        side=Side.BUY if instruction.action is Action.BUY else Side.SELL,
        quantity=quantity,
        time_in_force=time_in_force,
        reference_price=instruction.price,
    )
    return Planned(Plan(legs=(leg,)), f"{quantity:f} units")


def _cancel(instruction: Instruction, readings: Readings) -> Planning:
    market = instruction.market
    if readings.open_orders is None:
        return Refused(Reason.NOT_SUPPORTED, "the venue does not tell which orders rest there")
    ids = tuple(order.order_id for order in readings.open_orders if order.symbol == market)
    if not ids:
        return NothingToDo(Reason.NOTHING_TO_CANCEL, f"no order rests in {market}")
    return Planned(Plan(cancels=ids), f"{len(ids)} resting order{'s' if len(ids) > 1 else ''}")


class _Planner:
    """Plans one instruction that trades."""

    def __init__(
        self,
        instruction: Instruction,
        readings: Readings,
        default_quantity: Decimal | None,
        abilities: OrderAbilities,
    ) -> None:
        self._asked = instruction
        self._readings = readings
        self._default_quantity = default_quantity
        self._abilities = abilities

    def plan(self) -> Planning:
        action = self._asked.action
        match action:
            case Action.BUY | Action.SELL:
                side = Side.BUY if action is Action.BUY else Side.SELL
                return self._reduce(side) if self._asked.reduce_only else self._open(side)
            case Action.CLOSE_LONG | Action.CLOSE_SHORT | Action.CLOSE_ALL:
                return self._close(action)
            case Action.TARGET | Action.FLIP:
                return self._go(is_flip=action is Action.FLIP)
            case Action.CANCEL:
                raise AssertionError("a cancel trades nothing")
            case _:
                assert_never(action)

    def _open(self, side: Side) -> Planning:
        prices = order_prices(self._asked, self._readings, side)
        if isinstance(prices, Unfit):
            return _refusal(prices)
        amount = self._amount(side, prices)
        if isinstance(amount, Unfit):
            return _refusal(amount)
        leg = self._entry(side, amount.quantity, prices, amount.words)
        return leg if isinstance(leg, Refused) else Planned(Plan(legs=(leg,)), amount.words)

    def _reduce(self, side: Side) -> Planning:
        held = self._readings.position
        if held is None:
            return Refused(Reason.NOT_SUPPORTED, _NO_POSITIONS)
        is_open = held < 0 if side is Side.BUY else held > 0
        if not is_open:
            detail = f"reduce only, and the position is {shown(held)}: a {side} order would not lessen it"
            return NothingToDo(Reason.NOTHING_TO_CLOSE, detail)
        return self._close_at_most(side, magnitude(held), is_all=False)

    def _close(self, action: Action) -> Planning:
        held = self._readings.position
        if held is None:
            return Refused(Reason.NOT_SUPPORTED, _NO_POSITIONS)
        sides = {
            Action.CLOSE_LONG: ("long", held > 0),
            Action.CLOSE_SHORT: ("short", held < 0),
            Action.CLOSE_ALL: ("open", held != 0),
        }
        kind, is_open = sides[action]
        if not is_open:
            return NothingToDo(Reason.NOTHING_TO_CLOSE, f"nothing is {kind}: the position is {shown(held)}")
        side = Side.SELL if held > 0 else Side.BUY
        return self._close_at_most(side, magnitude(held), is_all=self._asked.quantity is None)

    def _close_at_most(self, side: Side, held: Decimal, *, is_all: bool) -> Planning:
        """Plan an order that closes the size, and no more than is open."""
        prices = order_prices(self._asked, self._readings, side)
        if isinstance(prices, Unfit):
            return _refusal(prices)
        closable = round_quantity(held, self._readings.instrument)
        if not closable:
            detail = f"what is open, {shown(held)}, is less than the market's step"
            return NothingToDo(Reason.NOTHING_TO_CLOSE, detail)
        if is_all:
            return self._exit_only(side, closable, prices, f"all that is open, {shown(held)}")
        amount = self._amount(side, prices)
        if isinstance(amount, Unfit):
            return _refusal(amount)
        if not amount.quantity:
            return Refused(Reason.TOO_SMALL, f"{amount.words}, less than the market's step")
        # All of a position in percent must not leave what a rounding would.
        is_whole = self._asked.unit is QuantityUnit.PERCENT_OF_POSITION and self._is_hundred()
        quantity = closable if is_whole else min(amount.quantity, closable)
        return self._exit_only(side, quantity, prices, f"{amount.words}, of {shown(held)} open")

    def _is_hundred(self) -> bool:
        return self._asked.quantity is not None and self._asked.quantity >= 100

    def _go(self, *, is_flip: bool) -> Planning:
        """Plan what takes the position where the alert says, or, as a flip, closes the other side and opens."""
        held, position = self._readings.position, self._asked.position
        if held is None:
            return Refused(Reason.NOT_SUPPORTED, _NO_POSITIONS)
        if position is None:
            return _no_direction(self._asked)
        if position is MarketPosition.FLAT:
            return self._close(Action.CLOSE_ALL)
        is_long = position is MarketPosition.LONG
        opening = Side.BUY if is_long else Side.SELL
        prices = order_prices(self._asked, self._readings, opening)
        if isinstance(prices, Unfit):
            return _refusal(prices)
        amount = self._amount(opening, prices)
        if isinstance(amount, Unfit):
            return _refusal(amount)
        is_against = held < 0 if is_long else held > 0
        if is_flip:
            return self._turn(opening, magnitude(held) if is_against else Decimal(0), amount, prices)
        if not amount.quantity:
            return Refused(Reason.TOO_SMALL, f"{amount.words}, less than the market's step")
        if is_against:
            return self._turn(opening, magnitude(held), amount, prices)
        words = f"{position} {shown(amount.quantity)} ({amount.words}) from {shown(held)}"
        return self._adjust(opening, held, amount.quantity, prices, words)

    def _adjust(
        self, opening: Side, held: Decimal, wanted: Decimal, entry_prices: Prices, words: str
    ) -> Planning:
        """Plan what is missing from a position on the right side, or is too much of it."""
        missing = subtract(wanted, magnitude(held))
        quantity = round_quantity(magnitude(missing), self._readings.instrument)
        if not quantity:
            return NothingToDo(Reason.ALREADY_THERE, f"{words}: nothing to trade")
        if missing < 0:
            closing = Side.SELL if opening is Side.BUY else Side.BUY
            exit_prices = order_prices(self._asked, self._readings, closing)
            if isinstance(exit_prices, Unfit):
                return _refusal(exit_prices)
            return self._exit_only(closing, quantity, exit_prices, words)
        if self._asked.reduce_only:
            return NothingToDo(Reason.NOTHING_TO_CLOSE, f"{words}: reduce only, and it would be more")
        leg = self._entry(opening, quantity, entry_prices, words)
        if isinstance(leg, Refused):
            if leg.reason is Reason.TOO_SMALL and held:
                return NothingToDo(Reason.ALREADY_THERE, f"as near as the market trades: {leg.detail}")
            return leg
        return Planned(Plan(legs=(leg,)), words)

    def _turn(self, side: Side, held: Decimal, amount: Amount, prices: Prices) -> Planning:
        """Plan to close all that is open on the other side, and then to open; both trade on the same side."""
        closable = round_quantity(held, self._readings.instrument)
        words = f"closes all that is open, {shown(held)}"
        if self._asked.reduce_only:
            if not closable:
                return NothingToDo(Reason.NOTHING_TO_CLOSE, f"reduce only, and nothing is there to {side}")
            return self._exit_only(side, closable, prices, f"{words}; reduce only, so it opens nothing")
        entry = self._entry(side, amount.quantity, prices, amount.words)
        if isinstance(entry, Refused):
            return entry
        if not closable:
            return Planned(Plan(legs=(entry,)), amount.words)
        if self._asked.order_type is not OrderType.MARKET:
            kind = self._asked.order_type
            detail = f"a {kind} order cannot close {shown(held)} and open the other side as well: close first"
            return Refused(Reason.NOT_SUPPORTED, detail)
        leg = self._exit(side, closable, prices)
        if isinstance(leg, Refused):
            return leg
        return Planned(Plan(legs=(leg, entry)), f"{words}; opens {amount.words}")

    def _amount(self, side: Side, prices: Prices) -> Amount | Unfit:
        return amount_of(self._asked, self._readings, self._default_quantity, side, prices.entry)

    def _exit_only(self, side: Side, quantity: Decimal, prices: Prices, words: str) -> Planning:
        leg = self._exit(side, quantity, prices)
        if isinstance(leg, Refused):
            return leg
        if self._asked.take_profit is not None or self._asked.stop_loss is not None:
            words += "; it opens nothing, so it carries no take-profit and no stop-loss"
        return Planned(Plan(legs=(leg,)), words)

    def _exit(self, side: Side, quantity: Decimal, prices: Prices) -> OrderPlan | Refused:
        reduce_only = self._abilities.has_reduce_only
        leg = exit_leg(
            self._asked, self._readings.instrument, side, quantity, prices, reduce_only=reduce_only
        )
        return _refusal(leg) if isinstance(leg, Unfit) else leg

    def _entry(self, side: Side, quantity: Decimal, prices: Prices, words: str) -> OrderPlan | Refused:
        leg = entry_leg(self._asked, self._readings.instrument, side, quantity, prices, words)
        return _refusal(leg) if isinstance(leg, Unfit) else leg


def _refusal(found: Unfit) -> Refused:
    return Refused(found.reason, found.detail)


def _no_direction(instruction: Instruction) -> Refused:
    detail = f'"position" is missing, expected which way the {instruction.action} goes'
    return Refused(Reason.INVALID, detail)
