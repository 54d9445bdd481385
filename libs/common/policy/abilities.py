"""What an order asks for, held against what its venue lets an order carry."""

from libs.common.domain.alert import Action
from libs.common.domain.instruction import Instruction
from libs.common.domain.venue import OrderAbilities


def lacking(instruction: Instruction, abilities: OrderAbilities) -> list[str]:
    """Return in words what an instruction asks for and its venue does not have; empty where it has all.

    Whether it has reduce-only orders does not count: such orders are sized by the position.
    """
    words: list[str] = []
    if instruction.action is Action.CANCEL:
        return words
    if instruction.order_type not in abilities.types:
        words.append(f'order type "{instruction.order_type}"')
    if instruction.take_profit is not None and not abilities.has_take_profit:
        words.append("take-profit")
    if instruction.stop_loss is not None and not abilities.has_stop_loss:
        words.append("stop-loss")
    if instruction.time_in_force is not None and instruction.time_in_force not in abilities.times_in_force:
        words.append(f'time in force "{instruction.time_in_force}"')
    return words
