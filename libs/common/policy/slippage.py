"""How much worse an order was filled than the alert's price."""

from typing import Final

from libs.common.domain.order import OrderPlan, OrderReport, Side

_BPS: Final = 10_000


def slippage_bps(plan: OrderPlan | None, report: OrderReport | None) -> float | None:
    """Return by how many basis points a fill was worse than the alert's price; None without both.

    Args:
        plan: With the alert's price.
        report: What the venue said last.

    Returns:
        To four places; below 0 where the fill was better.
    """
    if plan is None or report is None:
        return None
    reference, got = plan.reference_price, report.average_price
    if not reference or got is None:
        return None
    worse = got - reference if plan.side is Side.BUY else reference - got
    return float(round(worse / reference * _BPS, 4))
