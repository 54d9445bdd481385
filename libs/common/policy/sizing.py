"""How much to trade, and which way."""

from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.alert import Action, QuantityUnit
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """There is nothing that could be sent."""

    reason: Reason
    detail: str


def plan_order(instruction: Instruction, default_quantity: Decimal | None) -> OrderPlan | Refused:
    """Plan the one order of an instruction: at market, the alert's quantity, else the account's.

    Anything but a plain market order of so many units is refused: what is left out of an order changes what it does.

    Args:
        instruction: What the alert asked for.
        default_quantity: Base units, above 0; None where the account has none.
    """
    unsupported = _unsupported(instruction)
    if unsupported:
        detail = f"only market orders to buy or sell units are executed, the alert asks for {unsupported}"
        return Refused(Reason.NOT_SUPPORTED, detail)
    quantity = instruction.quantity if instruction.quantity is not None else default_quantity
    if quantity is None:
        return Refused(
            Reason.NO_QUANTITY, "the alert names no quantity, and its account has no default_quantity"
        )
    side = Side.BUY if instruction.action is Action.BUY else Side.SELL
    return OrderPlan(side=side, quantity=quantity, reference_price=instruction.price)


def _unsupported(asked: Instruction) -> str:
    """Return in words what an instruction asks for beyond a plain order; empty where it is one, see `is_plain`."""
    words = []
    if asked.action is not Action.BUY and asked.action is not Action.SELL:
        words.append(f'action "{asked.action}"')
    if asked.unit is not QuantityUnit.UNITS:
        words.append(f'a quantity in "{asked.unit}"')
    if asked.order_type is not OrderType.MARKET:
        words.append(f'order type "{asked.order_type}"')
    if asked.take_profit is not None:
        words.append("a take-profit")
    if asked.stop_loss is not None:
        words.append("a stop-loss")
    if asked.time_in_force is not None:
        words.append(f'time in force "{asked.time_in_force}"')
    if asked.reduce_only:
        words.append("reduce only")
    return ", ".join(words)
