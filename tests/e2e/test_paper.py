"""Limits and exits on paper, through the whole bridge."""

from tests.support.bridge_config import SECRET
from tests.support.eventually import eventually

ALERT = {"bascule": 1, "secret": SECRET, "action": "buy", "symbol": "BTCUSDT", "quantity": "1"}


async def test_a_limit_order_fills_and_its_exits_close_it_as_later_alerts_move_the_price(
    private_redis, bridge_factory
):
    bridge = bridge_factory(private_redis, broker="paper", workers=2)

    def book() -> str:
        return bridge.client.hget("bascule:{s0}:paper:desk:positions", "BTCUSDT") or ""

    def filled() -> list[str]:
        entries = bridge.client.xrange("bascule:{s0}:journal")
        return [fields["detail"] for _, fields in entries if fields["event"] == "FILL"]

    limit = {"order_type": "limit", "limit_price": "95", "take_profit": "110", "stop_loss": "90"}
    await bridge.send_many([{**ALERT, "price": "100", **limit}])
    await bridge.wait_ended(1)
    assert '"quantity"' not in book().partition('"orders"')[0]

    await bridge.send_many([{**ALERT, "price": "94"}])
    await bridge.wait_ended(2)
    await eventually(lambda: "1 at 95, 1 of 1" in filled())
    assert '"quantity":"2"' in book()

    await bridge.send_many([{**ALERT, "price": "112", "quantity": "0.5"}])
    await bridge.wait_ended(3)
    assert '"quantity":"1.5"' in book(), "one less by the take-profit, a half more by the last alert"
    assert '"orders"' not in book()
