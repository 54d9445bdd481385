"""A market of the simulated exchange, for its tests."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.book import Book, Order
from libs.common.policy.exchange import Execution, Step, Ticket, advance, cancel, submit, tick
from libs.common.policy.fills import Unfillable
from libs.common.policy.order_checks import Rules

NOW = 1_780_000_000_000
PLAIN = Rules()
OPEN = {OrderState.ACCEPTED, OrderState.PARTIAL}


def no_dice(low: float, high: float) -> float:
    raise AssertionError(f"no dice were asked for, {low} to {high}")


def halves(low: float, high: float) -> float:
    return (low + high) / 2


def decimal(number: str | Decimal | None) -> Decimal | None:
    return None if number is None else Decimal(number)


class Market:
    """A market under test: every call is a step on its book."""

    def __init__(self, rules: Rules = PLAIN, *, price: str | None = "100", uniform: Any = no_dice) -> None:
        self.rules, self.uniform, self.now_ms = rules, uniform, NOW
        self.book = Book()
        self.orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        if price is not None:
            self.tick(price)

    def submit(
        self,
        side: Side,
        quantity: str | Decimal = "1",
        order_type: OrderType = OrderType.MARKET,
        *,
        price: str | Decimal | None = None,
        **plan: Any,
    ) -> Order | Unfillable:
        order_id = str(sum(order.client_order_id is not None for order in self.orders.values()) + 1)
        plan |= {name: decimal(plan[name]) for name in LEVELS if name in plan}
        step = submit(
            self.book,
            Ticket(
                order_id,
                ClientOrderId(f"c{order_id}"),
                OrderPlan(side=side, quantity=Decimal(quantity), type=order_type, **plan),
            ),
            price=decimal(price),
            at_ms=self.now_ms,
            rules=self.rules,
            uniform=self.uniform,
        )
        if isinstance(step, Unfillable):
            return step
        self._take(step)
        assert step.orders[0].order_id == order_id, "its own order comes first"
        return step.orders[0]

    def must(self, *args: Any, **kwargs: Any) -> Order:
        order = self.submit(*args, **kwargs)
        assert isinstance(order, Order), order
        return order

    def refusal(self, *args: Any, **kwargs: Any) -> str:
        before = self.book
        refused = self.submit(*args, **kwargs)
        assert isinstance(refused, Unfillable), refused
        assert self.book is before
        return refused.code

    def tick(self, price: str | Decimal) -> Sequence[Order]:
        return self._take(
            tick(self.book, Decimal(price), at_ms=self.now_ms, rules=self.rules, uniform=self.uniform)
        )

    def wait(self, ms: int) -> Sequence[Order]:
        self.now_ms += ms
        return self._take(advance(self.book, at_ms=self.now_ms, rules=self.rules, uniform=self.uniform))

    def cancel(self, *order_ids: str) -> Sequence[Order]:
        return self._take(cancel(self.book, order_ids, at_ms=self.now_ms))

    def states(self) -> dict[str, str]:
        return {order_id: order.state.value for order_id, order in self.orders.items()}

    def _take(self, step: Step) -> Sequence[Order]:
        self.book = step.book
        self.orders |= {order.order_id: order for order in step.orders}
        self.executions += step.executions
        return step.orders


LEVELS = ("limit_price", "stop_price", "take_profit", "stop_loss")
BUY, SELL = Side.BUY, Side.SELL
LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT
