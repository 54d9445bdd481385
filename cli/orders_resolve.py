"""`bascule orders resolve`: an operator's word for what became of an order."""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, assert_never

import click

from cli.context import ask, find_bridge
from cli.documents import decimal, order_document
from cli.filters import json_option
from cli.naming import find_beginning
from cli.operators import confirm_typed, operator_name
from cli.output import Failure, cell, note, painted, span, when, write, write_json
from cli.text import REASON
from libs.common.domain.ids import ClientOrderId, is_client_order_id
from libs.common.domain.lifecycle import AMBIGUOUS, RESTING

if TYPE_CHECKING:
    from libs.common.store.decisions import Answer, Decision
    from libs.common.store.readings import Readings
    from libs.common.store.records import OrderRecord

FILLED: Final = "filled"
NOT_EXECUTED: Final = "not-executed"


def positive(_: click.Context, param: click.Parameter, value: str | None) -> Decimal | None:
    """Return an exact number above 0; a callback of options."""
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal(0)
    if not number.is_finite() or number <= 0:
        raise click.BadParameter(f'got "{value}", expected a number above 0', param=param)
    return number


@click.command(name="resolve")
@click.argument("name", metavar="ID")
@click.option(
    "--as",
    "verdict",
    type=click.Choice([FILLED, NOT_EXECUTED]),
    required=True,
    help="What the venue shows of it.",
)
@click.option("--reason", type=REASON, required=True, help="How you know; kept in its history.")
@click.option("--quantity", callback=positive, help="Of filled: how much, where it was not all.")
@click.option("--price", callback=positive, help="Of filled: at which average price.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do it without being asked.")
@json_option
def resolve(
    name: str,
    verdict: str,
    reason: str,
    quantity: Decimal | None,
    price: Decimal | None,
    is_confirmed: bool,
    as_json: bool,
) -> None:
    """Say what became of an order that cannot be looked up.

    Look at the venue first, for the order's id. Said to be filled, it is never sent again; said to be not executed, it
    is, if its alert is still young, unless it has rested at the venue. Of an ID its beginning is enough.
    """
    if verdict == NOT_EXECUTED and (quantity is not None or price is not None):
        raise click.UsageError(f"--quantity and --price go with --as {FILLED}")
    if not reason.strip():
        raise click.UsageError("the reason is empty")
    bridge = find_bridge()

    async def look(readings: "Readings") -> "tuple[OrderRecord, int]":
        return await _find(readings, name), await readings.now_ms()

    order, now_ms = ask(bridge, look)
    is_unfollowed = order.state in RESTING and order.plan is None
    if order.state not in AMBIGUOUS and not is_unfollowed:
        raise Failure(f"order {order.client_order_id} is {order.state}: there is nothing to decide")
    _check_quantity(order, verdict, quantity)
    if not as_json:
        _show(order, now_ms)
    if not is_confirmed:
        confirm_typed(verdict, f"Type {verdict} to settle it so:")

    async def decide(readings: "Readings") -> "Answer":
        decisions = readings.of(order.account).decisions
        return await decisions.decide(_decision(order, verdict, reason, quantity, price))

    answer = ask(bridge, decide)
    _say(order, verdict, answer)
    if as_json:
        write_json({**order_document(ask(bridge, look)[0]), "outcome": "resolved", "as": verdict})
    else:
        write(f"order {order.client_order_id} is settled as {verdict}; its lane goes on")


def _decision(
    order: "OrderRecord", verdict: str, reason: str, quantity: Decimal | None, price: Decimal | None
) -> "Decision":
    from libs.common.store.decisions import Decision, Verdict

    return Decision(order, Verdict(verdict), operator_name(), reason, quantity, price)


def _check_quantity(order: "OrderRecord", verdict: str, quantity: Decimal | None) -> None:
    if verdict != FILLED:
        return
    if order.plan is None and quantity is None:
        raise Failure("the order's plan is not on record: say with --quantity how much was filled")
    if order.plan is not None and quantity is not None and quantity > order.plan.quantity:
        raise Failure(f"--quantity is {quantity:f}, expected at most the order's {order.plan.quantity:f}")


def _say(order: "OrderRecord", verdict: str, answer: "Answer") -> None:
    """Return where it was decided.

    Raises:
        Failure: It was not.
    """
    from libs.common.store.decisions import Decided, Forgotten, NotOpen, TooEarly

    match answer:
        case Decided():
            return
        case TooEarly(wait_ms):
            raise Failure(
                f"not settled: the request may still execute for {span(wait_ms)} ({wait_ms} ms); "
                "look at the venue again then"
            )
        case NotOpen(state, attempt):
            raise Failure(
                f"not settled as {verdict}: the order is {state} by now (attempt {attempt}, looked at {order.attempts})"
            )
        case Forgotten():
            raise Failure(f"there is no record of order {order.client_order_id} any more")
        case _:
            assert_never(answer)


async def _find(readings: "Readings", name: str) -> "OrderRecord":
    """Return the one order whose id is or begins with `name`.

    Raises:
        Failure: There is none, or more than one.
    """
    if is_client_order_id(name):
        exact = await readings.orders([ClientOrderId(name)])
        if exact:
            return exact[0]
        raise Failure(f"no order {name}")
    return await find_beginning(
        name,
        lambda limit: readings.newest_orders(
            limit=limit, matches=lambda order: order.client_order_id.startswith(name)
        ),
        lambda order: f"{order.client_order_id} ({order.state})",
        kind="order",
        missing=f"no order {name}",
    )


def _show(order: "OrderRecord", now_ms: int) -> None:
    plan = order.plan
    facts = (
        ("order", order.client_order_id),
        ("account", order.account),
        ("symbol", order.market),
        ("asks for", None if plan is None else f"{plan.side} {decimal(plan.quantity)} {plan.type}"),
        ("state", f"{painted(order.state)}, attempt {order.attempts}"),
        ("sent", when(order.signed_at_ms, now_ms)),
        ("alert", order.alert_id),
    )
    for label, value in facts:
        write(f"{label:<10}{value if label == 'state' else cell(value)}")
    note(f"look at the venue of {order.account} for the order named {order.client_order_id}")
