"""Asks an exchange what became of an order, by our id for it.

"Not found" decides whether an order is sent again, so it must be the exchange's own word: an empty or odd answer is
none. ccxt's helpers make an empty list of one, hence the plain calls here.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import ClientOrderId
from services.worker.brokers.ccxt_exchange import Exchange
from services.worker.brokers.ccxt_venues import LookUpBy, Venue

LATEST: Final = 100
"""Orders of a market that are searched where an exchange cannot be asked for one."""

_Order = Mapping[str, Any]
_Found = _Order | None


async def find_order(
    exchange: Exchange, venue: Venue, client_order_id: ClientOrderId, market: Mapping[str, Any]
) -> _Found:
    """Return ccxt's structure of an order; None where the exchange says that it knows none.

    Raises:
        LookUpUnavailable: The answer does not say.
        ccxt.BaseError: The call failed; `OrderNotFound` is for the caller to read as None.
    """
    return await _FINDERS[venue.look_up](exchange, client_order_id, market)


async def _by_order(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    order: _Order = await exchange.fetch_order("", market["symbol"], {"clientOrderId": client_order_id})
    return order


async def _by_bybit(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    category = "spot" if market["spot"] else "linear" if market["linear"] else "inverse"
    question = {"category": category, "symbol": market["id"], "orderLinkId": client_order_id}
    for ask in (exchange.privateGetV5OrderRealtime, exchange.privateGetV5OrderHistory):
        answer = await ask(question)
        if str(answer.get("retCode")) != "0":
            raise _odd(answer)
        found = _ours(exchange, _list(answer, "result", "list"), "orderLinkId", client_order_id, market)
        if found is not None:
            return found
    return None


async def _by_bitget(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    if exchange.options.get("uta"):
        answer = await exchange.privateUtaGetV3TradeOrderInfo({"clientOid": client_order_id})
    elif market["spot"]:
        answer = await exchange.privateSpotGetV2SpotTradeOrderInfo({"clientOid": client_order_id})
    else:
        kind, _ = exchange.handle_product_type_and_params(market, {})
        answer = await exchange.privateMixGetV2MixOrderDetail(
            {"symbol": market["id"], "productType": kind, "clientOid": client_order_id}
        )
    content = answer.get("data")
    orders = [content] if isinstance(content, dict) else content
    if answer.get("code") != "00000" or not isinstance(orders, list):
        raise _odd(answer)
    return _ours(exchange, orders, "clientOid", client_order_id, market)


async def _by_kraken(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    question = {"cl_ord_id": client_order_id}
    for ask, key in ((exchange.privatePostOpenOrders, "open"), (exchange.privatePostClosedOrders, "closed")):
        answer = await ask(question)
        orders = (answer.get("result") or {}).get(key)
        if answer.get("error") != [] or not isinstance(orders, dict):
            raise _odd(answer)
        rows = [{"id": order_id, **order} for order_id, order in orders.items()]
        found = _ours(exchange, rows, "cl_ord_id", client_order_id, market)
        if found is not None:
            return found
    return None


async def _by_alpaca(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    question = {"client_order_id": client_order_id}
    answer = await exchange.request("v2/orders:by_client_order_id", ["trader", "private"], "GET", question)
    return _ours(exchange, [answer], "client_order_id", client_order_id, market)


async def _by_recent(exchange: Exchange, client_order_id: ClientOrderId, market: Mapping[str, Any]) -> _Found:
    answer = await exchange.v3PrivateGetBrokerageOrdersHistoricalBatch(
        {"product_id": market["id"], "limit": LATEST}
    )
    return _one(exchange, _list(answer, "orders"), "client_order_id", client_order_id, market)


_FINDERS: Final[
    Mapping[LookUpBy, Callable[[Exchange, ClientOrderId, Mapping[str, Any]], Awaitable[_Found]]]
] = MappingProxyType(
    {
        LookUpBy.ORDER: _by_order,
        LookUpBy.BYBIT: _by_bybit,
        LookUpBy.BITGET: _by_bitget,
        LookUpBy.KRAKEN: _by_kraken,
        LookUpBy.ALPACA: _by_alpaca,
        LookUpBy.RECENT: _by_recent,
    }
)


def _list(answer: Any, *keys: str) -> list[Any]:
    content = answer
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, list):
        raise _odd(answer)
    return content


def _one(
    exchange: Exchange, rows: list[Any], key: str, client_order_id: ClientOrderId, market: Mapping[str, Any]
) -> _Found:
    """Return the row that is ours, of a list that holds others' too."""
    for row in rows:
        if not isinstance(row, dict):
            raise _odd(row)
        if row.get(key) == client_order_id:
            order: _Order = exchange.parse_order(row, market)
            return order
    return None


def _ours(
    exchange: Exchange, rows: list[Any], key: str, client_order_id: ClientOrderId, market: Mapping[str, Any]
) -> _Found:
    """Return the only row there may be, of the answer to a question for our id."""
    found = _one(exchange, rows, key, client_order_id, market)
    if found is None and rows:
        raise _odd(rows)
    return found


def _odd(answer: Any) -> LookUpUnavailable:
    return LookUpUnavailable(f"the answer does not say whether there is such an order: {str(answer)[:200]}")
