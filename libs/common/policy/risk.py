"""Risk limits: what may be sent for an account, held against what was read at its venue.

A rule whose facts nobody tells is breached: it is never left out. Limits of the whole account come with a budget, which
is reserved at the moment of sending, so that many orders at one instant do not each see the same room.
"""

import fnmatch
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import msgspec

from libs.common.domain.alert import Action
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderType, Plan, Side
from libs.common.domain.venue import OpenOrder
from libs.common.policy.exact import add, magnitude, multiply, negated, signed, subtract
from libs.common.policy.readings import NOTHING, Need, Readings
from libs.common.policy.risk_rules import PositionSide, RiskRules
from libs.common.policy.rounding import shown

Measure = Literal["orders", "value", "minute"]

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_WHOLE_BPS: Final = Decimal(10_000)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of the whole account: `base`, what others reserved, and `add` together stay within it."""

    rule: str
    measure: Measure
    """What of other orders' reservations counts: their number, their value, their number in the last minute."""
    base: Decimal
    """As read at the venue."""
    limit: Decimal
    add: Decimal


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that an order does not keep."""

    rule: str
    limit: str
    value: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a plan."""

    verdicts: tuple[str, ...] = ()
    """One for each rule that was looked at, in words; the last is the breach, where there is one."""
    breach: Breach | None = None
    budgets: tuple[Budget, ...] = ()
    """Of the plan's last order; none where a rule is breached."""


def risk_needs(rules: RiskRules, instruction: Instruction) -> frozenset[Need]:
    """Return what the venue must be asked for before the rules can judge a plan of an instruction."""
    if instruction.action is Action.CANCEL:
        return NOTHING
    needs: set[Need] = set()
    is_market = instruction.order_type is OrderType.MARKET
    limits_position = rules.max_position_quantity is not None or rules.max_position_value is not None
    if (
        rules.exempts_exits
        or limits_position
        or rules.allowed_sides is not None
        or rules.max_exposure is not None
    ):
        needs.add(Need.POSITION)
    if limits_position:
        needs.add(Need.OPEN_ORDERS)
    is_valued = (
        rules.max_order_value is not None
        or rules.max_position_value is not None
        or rules.max_exposure is not None
        or rules.collar_bps is not None
    )
    if is_valued:
        # A sell at a limit far below the market trades at the market.
        needs.add(Need.PRICE)
    if rules.max_daily_loss is not None:
        needs.add(Need.BALANCE)
    if rules.max_exposure is not None:
        needs |= {Need.BALANCE, Need.EXPOSURE, Need.ACCOUNT_ORDERS}
    if rules.max_open_orders is not None and not is_market:
        needs.add(Need.ACCOUNT_ORDERS)
    return frozenset(needs)


def judge(
    rules: RiskRules, instruction: Instruction, plan: Plan, readings: Readings, at_ms: int
) -> Judgement:
    """Hold a plan against the rules; the first that is breached ends it.

    A plan that closes and then opens is judged as a whole, before anything of it is sent: what may not open does not
    close either. It may be judged again once its first order has traded.

    Args:
        rules: What holds for the instruction.
        instruction: What the alert asked for.
        plan: What is to be sent.
        readings: What the venue said, at least of all that `risk_needs` names. None there is "it does not tell".
        at_ms: Redis' time.
    """
    bench = _Bench(rules, instruction, readings, at_ms, len(plan.legs) > 1)
    for leg in plan.legs:
        bench.judge(leg)
        if bench.breach is not None:
            return Judgement(tuple(bench.verdicts), bench.breach)
    return Judgement(tuple(bench.verdicts), None, tuple(bench.budgets))


class _Bench:
    """Judges the orders of one plan, one after the other."""

    def __init__(
        self, rules: RiskRules, instruction: Instruction, readings: Readings, at_ms: int, is_pair: bool
    ) -> None:
        self._rules = rules
        self._instruction = instruction
        self._readings = readings
        self._at_ms = at_ms
        self._is_pair = is_pair
        self.verdicts: list[str] = []
        self.breach: Breach | None = None
        self.budgets: list[Budget] = []

    def judge(self, leg: OrderPlan) -> None:
        self.budgets = []
        lessens = self._lessens(leg)
        if lessens and self._rules.exempts_exits:
            self.verdicts.append(f"exempt: {leg.side} {shown(leg.quantity)} only lessens what is open")
            return
        for look in (self._place_and_time, self._size, self._collar, self._loss):
            if self.breach is None:
                look(leg)
        if not lessens:
            for look in (self._side, self._position, self._exposure):
                if self.breach is None:
                    look(leg)
        for look in (self._open_orders, self._rate):
            if self.breach is None:
                look(leg)

    def _lessens(self, leg: OrderPlan) -> bool:
        """Tell whether an order can only lessen what is open, by its plan or by what was read."""
        if leg.is_exit:
            return True
        held = self._readings.position
        # What rests may be filled together with others that rest: only what trades at once surely meets what is open.
        if held is None or self._is_pair or leg.type is not OrderType.MARKET:
            return False
        return leg.quantity <= signed(leg.side.opposite, held)

    def _place_and_time(self, leg: OrderPlan) -> None:  # noqa: ARG002 - the shape of every rule
        market, sessions, symbols = (
            self._instruction.market,
            self._rules.sessions,
            self._rules.allowed_symbols,
        )
        if symbols is not None:
            is_listed = any(fnmatch.fnmatchcase(market.casefold(), one.casefold()) for one in symbols)
            if not is_listed:
                return self._refuse("allowed_symbols", ", ".join(symbols), market)
            self.verdicts.append(f"allowed_symbols: {market} is allowed")
        if sessions is not None:
            if not sessions.is_open(self._at_ms):
                return self._refuse("sessions", sessions.text, "outside of them")
            self.verdicts.append(f"sessions: within {sessions.text}")
        return None

    def _size(self, leg: OrderPlan) -> None:
        self._at_most("max_order_quantity", leg.quantity, self._rules.max_order_quantity)
        if self.breach is not None or self._rules.max_order_value is None:
            return
        price = self._price(leg)
        if price is None:
            self._unknown("max_order_value", self._rules.max_order_value, "price")
            return
        self._at_most("max_order_value", multiply(leg.quantity, price), self._rules.max_order_value)

    def _collar(self, leg: OrderPlan) -> None:
        limit, asked = self._rules.collar_bps, self._instruction.price
        if limit is None:
            return None
        if asked is None:
            return self._refuse("collar_bps", shown(limit), "unknown, the alert names no price")
        own = _own_price(leg)
        price = own if own is not None else self._readings.price
        if price is None:
            return self._unknown("collar_bps", limit, "price")
        # Both sides times the alert's price: no quotient that would have to be rounded.
        away = multiply(magnitude(subtract(price, asked)), _WHOLE_BPS)
        words = f"{shown(price)} against the alert's {shown(asked)}"
        if away > multiply(limit, asked):
            return self._refuse("collar_bps", f"{shown(limit)} basis points", words)
        self.verdicts.append(f"collar_bps: {words} is within {shown(limit)} basis points")
        return None

    def _loss(self, leg: OrderPlan) -> None:  # noqa: ARG002 - the shape of every rule
        limit, balance = self._rules.max_daily_loss, self._readings.balance
        if limit is None:
            return None
        if balance is None or balance.day_pnl is None:
            return self._unknown("max_daily_loss", limit, "profit of the day")
        loss = max(_ZERO, negated(balance.day_pnl))
        if loss >= limit:
            return self._refuse("max_daily_loss", shown(limit), shown(loss))
        self.verdicts.append(f"max_daily_loss {shown(loss)} < {shown(limit)}")
        return None

    def _side(self, leg: OrderPlan) -> None:
        sides = self._rules.allowed_sides
        if sides is None:
            return None
        limit = " and ".join(sorted(sides))
        after = self._position_after(leg)
        if after is None:
            return self._unknown("allowed_sides", limit, "position")
        side = PositionSide.LONG if leg.side is Side.BUY else PositionSide.SHORT
        # Not beyond nothing: what lessens a position is free, whatever its own side.
        is_beyond = after > 0 if leg.side is Side.BUY else after < 0
        if is_beyond and side not in sides:
            return self._refuse("allowed_sides", limit, f"{side} {shown(magnitude(after))}")
        self.verdicts.append(f"allowed_sides: {shown(after)} after it is allowed")
        return None

    def _position(self, leg: OrderPlan) -> None:
        most, most_value = self._rules.max_position_quantity, self._rules.max_position_value
        if most is None and most_value is None:
            return None
        after = self._position_after(leg)
        orders = self._resting()
        for name, limit in (("max_position_quantity", most), ("max_position_value", most_value)):
            if limit is not None and (after is None or orders is None):
                return self._unknown(name, limit, "position" if after is None else "open orders")
        assert after is not None
        assert orders is not None
        waiting = add(*(_rest_of(order) for order in orders if order.side is leg.side))
        size = magnitude(add(after, signed(leg.side, waiting)))
        self._at_most("max_position_quantity", size, most)
        if self.breach is not None or most_value is None:
            return None
        price = self._price(leg)
        if price is None:
            return self._unknown("max_position_value", most_value, "price")
        self._at_most("max_position_value", multiply(size, price), most_value)
        return None

    def _exposure(self, leg: OrderPlan) -> None:
        limit = self._rules.max_exposure
        if limit is None:
            return None
        readings = self._readings
        open_value = readings.exposure
        if open_value is None and readings.balance is not None:
            open_value = readings.balance.exposure
        price, after = self._price(leg), self._position_after(leg)
        for what, known in (
            ("exposure", open_value),
            ("open orders", readings.account_orders),
            ("position", after),
            ("price", price),
        ):
            if known is None:
                return self._unknown("max_exposure", limit, what)
        assert open_value is not None
        assert readings.account_orders is not None
        assert after is not None
        assert price is not None
        assert readings.position is not None
        waiting = _ZERO
        for order in readings.account_orders:
            order_price = order.limit_price if order.limit_price is not None else order.stop_price
            if order_price is None:
                return self._unknown("max_exposure", limit, f"price of order {order.order_id}")
            waiting = add(waiting, multiply(_rest_of(order), order_price))
        more = max(_ZERO, subtract(magnitude(after), magnitude(readings.position)))
        self._within("max_exposure", "value", add(open_value, waiting), limit, multiply(more, price))
        return None

    def _open_orders(self, leg: OrderPlan) -> None:
        limit = self._rules.max_open_orders
        if limit is None or leg.type is OrderType.MARKET:
            return None
        orders = self._readings.account_orders
        if orders is None:
            return self._unknown("max_open_orders", Decimal(limit), "open orders")
        self._within("max_open_orders", "orders", Decimal(len(orders)), Decimal(limit), _ONE)
        return None

    def _rate(self, leg: OrderPlan) -> None:  # noqa: ARG002 - the shape of every rule
        limit = self._rules.max_orders_per_minute
        if limit is not None:
            self._within("max_orders_per_minute", "minute", _ZERO, Decimal(limit), _ONE)

    def _price(self, leg: OrderPlan) -> Decimal | None:
        """Return about what an order trades at, at the most."""
        own, last = _own_price(leg), self._readings.price
        if own is not None:
            return max(own, last) if leg.side is Side.SELL and last is not None else own
        return self._readings.price if self._readings.price is not None else self._instruction.price

    def _position_after(self, leg: OrderPlan) -> Decimal | None:
        """Return the position once an order has traded; of a pair, all of the other side is closed by then."""
        held = self._readings.position
        if held is None:
            return None
        moved = signed(leg.side, leg.quantity)
        is_opposite = held < 0 if leg.side is Side.BUY else held > 0
        return moved if self._is_pair and is_opposite else add(held, moved)

    def _resting(self) -> tuple[OpenOrder, ...] | None:
        """Return the open orders of the market."""
        if self._readings.open_orders is not None:
            return self._readings.open_orders
        if self._readings.account_orders is None:
            return None
        market = self._instruction.market
        return tuple(order for order in self._readings.account_orders if order.symbol == market)

    def _at_most(self, rule: str, value: Decimal, limit: Decimal | None) -> None:
        if limit is None:
            return
        if value > limit:
            self._refuse(rule, shown(limit), shown(value))
        else:
            self.verdicts.append(f"{rule} {shown(value)} <= {shown(limit)}")

    def _within(self, rule: str, measure: Measure, base: Decimal, limit: Decimal, more: Decimal) -> None:
        """Hold a limit of the account against what is known here; the rest is for whoever reserves it."""
        if measure == "minute" and more <= limit:
            self.verdicts.append(f"{rule} {shown(limit)}: counted as it is sent")
        else:
            self._at_most(rule, add(base, more), limit)
        if self.breach is None:
            self.budgets.append(Budget(rule=rule, measure=measure, base=base, limit=limit, add=more))

    def _unknown(self, rule: str, limit: Decimal | str, what: str) -> None:
        text = limit if isinstance(limit, str) else shown(limit)
        self._refuse(rule, text, f"unknown, the venue does not tell the {what}")

    def _refuse(self, rule: str, limit: str, value: str) -> None:
        self.breach = Breach(rule, limit, value)
        self.verdicts.append(f"{rule}: {value}, limit {limit}")


def _own_price(leg: OrderPlan) -> Decimal | None:
    return leg.limit_price if leg.limit_price is not None else leg.stop_price


def _rest_of(order: OpenOrder) -> Decimal:
    return subtract(order.quantity, order.filled_quantity)
