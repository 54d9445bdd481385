"""How much to trade, and which way."""

from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.alert import Action
from libs.common.domain.instruction import Instruction, beyond_plain
from libs.common.domain.order import OrderPlan, Side
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
    if beyond := beyond_plain(instruction):
        detail = (
            f"only market orders to buy or sell units are executed, the alert asks for {', '.join(beyond)}"
        )
        return Refused(Reason.NOT_SUPPORTED, detail)
    quantity = instruction.quantity if instruction.quantity is not None else default_quantity
    if quantity is None:
        return Refused(
            Reason.NO_QUANTITY, "the alert names no quantity, and its account has no default_quantity"
        )
    side = Side.BUY if instruction.action is Action.BUY else Side.SELL
    return OrderPlan(side=side, quantity=quantity, reference_price=instruction.price)
