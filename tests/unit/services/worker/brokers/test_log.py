"""The dry run says what it would have sent."""

from structlog.testing import capture_logs

from libs.common.domain.order import Side
from services.worker.brokers.log import LogBroker
from tests.contract.orders import order, ours


async def test_an_order_is_one_line_at_debug() -> None:
    with capture_logs() as lines:
        request = order(Side.SELL)
        await LogBroker().place(request, ours)
    assert lines == [
        {
            "event": "order_logged",
            "log_level": "debug",
            "alert_id": request.alert_id,
            "account": request.account,
            "symbol": request.symbol,
            "client_order_id": request.client_order_id,
            "side": "sell",
            "quantity": "1",
        }
    ]


async def test_an_order_without_a_price_is_filled_without_one() -> None:
    assert (await LogBroker().place(order(price=None), ours)).average_price is None
