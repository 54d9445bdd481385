"""Waits a moment for the fill of a market order that the venue has taken and not yet filled."""

import asyncio
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import RESTING
from libs.common.domain.order import OrderReport
from services.worker.brokers.port import Broker
from services.worker.leases import Lease

FIRST_GAP_MS: Final = 50
LONGEST_GAP_MS: Final = 400


async def await_fill(
    broker: Broker,
    client_order_id: ClientOrderId,
    market: Market,
    report: OrderReport,
    lease: Lease,
    clock: Clock,
    *,
    wait_ms: int,
) -> OrderReport:
    """Ask for an order until it is not open any more, and return what the venue said last.

    Args:
        broker: The account's.
        client_order_id: An order that is ACCEPTED or PARTIAL.
        market: Where it trades.
        report: What the venue said so far.
        lease: Of its lane; without it there is nothing to wait for.
        clock: Monotonic time.
        wait_ms: How long at most; afterwards the order is followed outside its lane.
    """
    until_ms, gap_ms = clock.monotonic_ms() + wait_ms, FIRST_GAP_MS
    while report.state in RESTING and lease.is_ours():
        left_ms = until_ms - clock.monotonic_ms()
        if left_ms <= 0:
            break
        await asyncio.sleep(min(gap_ms, left_ms) / 1_000)
        gap_ms = min(2 * gap_ms, LONGEST_GAP_MS)
        try:
            found = await broker.find(client_order_id, market)
        except LookUpUnavailable:
            continue  # it has been taken, which is what counts here
        report = report if found is None else found
    return report
