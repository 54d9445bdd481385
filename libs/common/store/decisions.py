"""What operators decide about orders whose outcome nobody else can tell."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import RESTING, OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.exact import signed
from libs.common.policy.halts import author
from libs.common.store.keys import Keys
from libs.common.store.records import OrderRecord
from libs.common.store.scripts import Script
from libs.common.wire import codec

MARGIN_MS: Final = 500
"""How long after its expiry a request may still show up at the venue. How far the venue's look-ups lag is not in it:
a worker that asks has to wait for that, an operator has seen for himself."""

BY_OPERATOR: Final = "operator"
"""The venue's id of an order whose end an operator told."""


class Verdict(StrEnum):
    """What became of the order."""

    FILLED = "filled"
    """The venue executed it: nothing of it is sent again."""
    NOT_EXECUTED = "not-executed"
    """Nothing was executed: it is sent again, if its alert is still young. Not so one that rested: it was cancelled."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An operator's word."""

    order: OrderRecord
    """As it was looked at."""
    verdict: Verdict
    by: str
    reason: str
    quantity: Decimal | None = None
    """Base units that were filled; None: all of it."""
    price: Decimal | None = None
    """The average price of what was filled, where it is known."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    """Names this decision: told again after a lost reply, it counts once."""


@dataclass(frozen=True, slots=True)
class Decided:
    """It is on disk; the order's lane goes on from it at once."""


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The request may still execute for this long."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class NotOpen:
    """The order is not as it was looked at any more: somebody else has settled it, or sends it again."""

    state: OrderState
    attempt: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """There is no record of it any more."""


Answer = Decided | TooEarly | NotOpen | Forgotten


class Decisions:
    """Takes them."""

    def __init__(self, client: Redis, keys: Keys, *, now_ms: int | None = None) -> None:
        """Args:
        client: For the script.
        keys: The shard's.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._now = "" if now_ms is None else str(now_ms)
        self._script = Script("decide")

    async def decide(self, decision: Decision) -> Answer:
        """Settle what became of an order.

        Raises:
            StoreUnavailable: No answer: it may have been decided.
            StoreCorrupt: A record of it cannot be used.
            ValueError: It is filled, and neither its plan nor the decision says by how much.
        """
        order = decision.order
        is_filled = decision.verdict is Verdict.FILLED
        has_rested = order.state in RESTING
        quantity = None
        if is_filled:
            quantity = _filled(decision)
        elif has_rested and order.report is not None:
            quantity = order.report.filled_quantity
        # A part of it is no end that another order may follow: the rest is taken for canceled.
        is_part = quantity is not None and order.plan is not None and quantity < order.plan.quantity
        state = OrderState.FILLED if is_filled and not is_part else OrderState.CANCELED
        has_end = is_filled or has_rested
        by, reason = author(decision.by), " ".join(decision.reason.split())
        report = OrderReport(
            order_id=BY_OPERATOR,
            state=state,
            filled_quantity=quantity or Decimal(0),
            average_price=decision.price,
            detail=f"{reason} (by {by})",
        )
        note = {"as": decision.verdict.value, "by": by, "reason": reason, "attempt": order.attempts}
        if quantity is not None:
            note |= {"filled_quantity": f"{quantity:f}"}
        if decision.price is not None:
            note |= {"average_price": f"{decision.price:f}"}
        args: list[str | bytes | int] = [
            self._now,
            order.client_order_id,
            order.attempts,
            (state if has_end else OrderState.NOT_EXECUTED).value,
            decision.nonce,
            MARGIN_MS,
            codec.ORDER_REPORT.encode(report) if has_end else "",
            "" if quantity is None else _signed(order, quantity),
            f"{decision.verdict}: {reason} (by {by})",
            msgspec.json.encode(note),
        ]
        keys = [*self._keys.fixed, self._keys.order(order.client_order_id)]
        return _answer(await self._script.run(self._client, keys, args))


def _filled(decision: Decision) -> Decimal:
    plan = decision.order.plan
    if decision.quantity is not None:
        return decision.quantity
    if plan is None:
        raise ValueError("the order's plan is not on record: the quantity must be named")
    return plan.quantity


def _signed(order: OrderRecord, quantity: Decimal) -> str:
    return "" if order.plan is None else format(signed(order.plan.side, quantity), "f")


def _answer(reply: Sequence[Any]) -> Answer:
    match [word.decode("utf-8", "replace") for word in reply]:
        case ["DONE"]:
            return Decided()
        case ["EARLY", wait_ms]:
            return TooEarly(int(wait_ms))
        case ["STATE", state, attempt]:
            return NotOpen(OrderState(state), int(attempt))
        case ["NONE"]:
            return Forgotten()
        case _:
            raise StoreCorrupt(f"decide answered {reply!r}")
