"""Trades at any exchange that ccxt knows, by the rules of `ccxt_venues`."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import ClientOrderId, Market, safe_name
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder
from libs.common.runtime.account_settings import CcxtAccount, MarketType
from services.worker.brokers import ccxt_orders
from services.worker.brokers.ccxt_errors import (
    Duplicate,
    is_json,
    is_page_of_a_door,
    masked,
    says_not_found,
)
from services.worker.brokers.ccxt_exchange import Call, Credentials, make_exchange, place_of
from services.worker.brokers.ccxt_link import Link, exact
from services.worker.brokers.ccxt_look_up import find_order
from services.worker.brokers.ccxt_orders import Ask, UnusableOrder
from services.worker.brokers.ccxt_venues import UNKNOWN, Expiry, venue_of
from services.worker.brokers.port import Capabilities, LookUp, StillOurs


class CcxtBroker:
    """One account at one exchange, spot or swaps."""

    def __init__(
        self, account: CcxtAccount, credentials: Credentials, clock: Clock, *, connections: int = 100
    ) -> None:
        """Args:
        account: Its settings.
        credentials: The key that they name.
        clock: Tells how far off the exchange's is.
        connections: The most that are open at once. Above a worker's slots, so that no order waits for one.

        Raises:
            ConfigError: ccxt is missing, or cannot trade what the settings say.
        """
        self._account, self._venue = account, venue_of(account.exchange)
        self._secrets = credentials.values()
        self._exchange = make_exchange(account, credentials, connections=connections)
        self._link = Link(account, self._exchange, self._venue, self._secrets, clock)
        can_look_up = self._venue is not UNKNOWN or bool(self._exchange.has.get("fetchOrder"))
        lagging = LookUp.LAGGING if account.look_up_lag_ms else LookUp.AUTHORITATIVE
        self.capabilities: Final = Capabilities(
            self._venue.deduplication,
            honours_expiry=self._venue.expiry is not Expiry.NONE,
            look_up=lagging if can_look_up else LookUp.NONE,
            look_up_lag_ms=account.look_up_lag_ms,
            orders=ccxt_orders.abilities(self._features(), self._venue, account.market_type),
        )
        self.exchange_name: Final = account.exchange
        self.market_type: Final = account.market_type
        self.place_name: Final = place_of(account)
        """Where it trades: `live`, `testnet`, `demo` or `url`."""

    def __repr__(self) -> str:
        account = self._account
        return f"CcxtBroker({account.exchange}, {account.market_type}, {self.place_name})"

    @property
    def skew_ms(self) -> int | None:
        """How far our clock is ahead of the exchange's; None where it has none, or was not asked yet."""
        return self._link.skew_ms

    async def ready(self) -> None:
        """Load the markets and compare clocks, unless that was done.

        Raises:
            LookUpUnavailable: The exchange did not say.
        """
        await self._link.ready()

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Send one order."""
        self._link.check_ready()
        with exact():
            market = self._market(request.symbol)
            if market is None:
                raise OrderRejected("unknown_market", self._unknown(request.symbol))
            asked = ccxt_orders.ask(
                request.plan,
                request.client_order_id,
                market,
                self._exchange.precisionMode,
                self.capabilities.orders,
                self._venue,
                self._account.market_type,
            )
            call = Call(still_ours, request.client_order_id, request.expires_at_ms)
            try:
                order = await self._send(call, asked)
            except Duplicate as error:
                return await self._adopt(request, error)
            return self._placed(call, order, market, request)

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Ask for one order."""
        self._link.check_usable("order")
        market = self._market(symbol)
        if market is None:
            raise LookUpUnavailable(self._unknown(symbol))
        with exact():
            order = await self._link.ask("order", self._found(client_order_id, market))
            if order is None:
                return None
            if self._venue is UNKNOWN and order.get("clientOrderId") != client_order_id:
                raise LookUpUnavailable("the exchange answered with an order that is not known to be ours")
            try:
                return ccxt_orders.report(order, market, client_order_id)
            except UnusableOrder as error:
                raise LookUpUnavailable(f"no usable order in the answer: {error}") from error

    async def position(self, symbol: Market) -> Decimal:
        """Ask for one position: on spot the coins owned, whoever bought them."""
        self._link.check_usable("position")
        market = self._market(symbol)
        if market is None:
            raise LookUpUnavailable(self._unknown(symbol))
        with exact():
            if self._account.market_type is MarketType.SPOT:
                return (await self._balances()).get(market["base"], Decimal(0))
            rows = await self._link.ask("position", self._exchange.fetch_positions([market["symbol"]]))
            return _signed_sum([row for row in rows if row.get("symbol") == market["symbol"]], market)

    async def price(self, symbol: Market) -> Decimal | None:
        """Ask for the last price."""
        self._link.check_usable("price")
        market = self._market(symbol)
        if market is None:
            return None
        with exact():
            ticker = await self._link.ask("price", self._exchange.fetch_ticker(market["symbol"]))
            return _last(ticker)

    async def account(self) -> Balance | None:
        """Ask for the balances, and for the prices of what is owned on spot."""
        self._link.check_usable("balance")
        currency = self._account.currency
        with exact():
            owned = await self._balances()
            equity = owned.pop(currency, Decimal(0))
            if self._account.market_type is MarketType.SPOT:
                equity += await self._value(owned, currency)
            return Balance(equity=equity, currency=currency)

    async def instrument(self, symbol: Market) -> Instrument | None:
        """Return the steps and limits of one market, as loaded."""
        self._link.check_usable("instrument")
        market = self._market(symbol)
        if market is None:
            return None
        with exact():
            return ccxt_orders.instrument(market, self._exchange.precisionMode)

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder] | None:
        """Ask for what rests."""
        self._link.check_usable("list of orders")
        if symbol is not None and self._market(symbol) is None:
            return ()
        with exact():
            orders = await self._link.ask(
                "list of orders",
                self._exchange.fetch_open_orders(
                    symbol, None, None, self._about_all() if symbol is None else {}
                ),
                none_for=("NotSupported", "ArgumentsRequired"),
            )
            if orders is None:
                return None
            found = []
            for order in orders:
                market = self._market(order.get("symbol"))
                if market is None:
                    raise LookUpUnavailable(
                        f"an order rests in {order.get('symbol')}, which is no market we know"
                    )
                try:
                    found.append(ccxt_orders.open_order(order, market))
                except UnusableOrder as error:
                    raise LookUpUnavailable(f"no usable list of orders: {error}") from error
            return tuple(found)

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Cancel single orders, one after the other."""
        self._link.check_ready()
        market = self._market(symbol)
        if market is None:
            raise OrderRejected("unknown_market", self._unknown(symbol))
        with exact():
            for count, order_id in enumerate(order_ids):
                call = Call(still_ours)
                try:
                    await self._link.call(
                        call, self._exchange.cancel_order(order_id, market["symbol"]), ("OrderNotFound",)
                    )
                    self._check_answered(call)
                except BrokerUnavailable as error:
                    if count == 0:
                        raise
                    raise OrderOutcomeUnknown(f"{count} orders were cancelled, then: {error}") from error

    async def markets(self) -> Sequence[Market] | None:
        """Return the names of the markets that the account trades."""
        await self.ready()
        return tuple(
            Market(name)
            for name, market in self._exchange.markets.items()
            if safe_name(name) == name and market.get("active") is not False and self._is_ours(market)
        )

    async def aclose(self) -> None:
        """Stop refreshing, and close all connections."""
        await self._link.aclose()

    async def _send(self, call: Call, asked: Ask) -> Any:
        return await self._link.call(
            call,
            self._exchange.create_order(
                asked.symbol, asked.type, asked.side, asked.amount, asked.price, dict(asked.parameters)
            ),
        )

    def _placed(
        self, call: Call, order: Any, market: Mapping[str, Any], request: OrderRequest
    ) -> OrderReport:
        try:
            if not isinstance(order, Mapping):
                raise UnusableOrder(f"it is a {type(order).__name__}")
            report = ccxt_orders.report(order, market, request.client_order_id, request.plan.quantity)
        except UnusableOrder as error:
            body = "" if call.answer is None else masked(call.answer.body, self._secrets)
            if call.answer is not None and is_page_of_a_door(call.answer):
                raise BrokerUnavailable(
                    f"the exchange's door refused the request ({call.answer.status}): {body}"
                ) from error
            raise OrderOutcomeUnknown(f"no usable order in the answer ({error}): {body}") from error
        if report.state is OrderState.REJECTED:
            raise OrderRejected(
                "rejected", masked(report.detail or "the exchange gave no reason", self._secrets)
            )
        return report

    def _check_answered(self, call: Call) -> None:
        """Refuse to take a page, or nothing, for a cancellation: ccxt looks at no more than errors."""
        answer = call.answer
        if answer is None or not is_json(answer.body) or answer.body.strip() in {"{}", "[]"}:
            body = "" if answer is None else masked(answer.body, self._secrets)
            raise OrderOutcomeUnknown(f"the answer does not say that it was cancelled: {body}")

    async def _adopt(self, request: OrderRequest, error: Duplicate) -> OrderReport:
        """Return the order that the exchange has under our id: an earlier attempt's."""
        try:
            found = await self.find(request.client_order_id, request.symbol)
        except LookUpUnavailable as unavailable:
            raise OrderOutcomeUnknown(f"the exchange has this id ({error}), then: {unavailable}") from error
        if found is None:
            raise OrderOutcomeUnknown(f"the exchange has this id, but does not find it: {error}") from error
        return found

    async def _found(
        self, client_order_id: ClientOrderId, market: Mapping[str, Any]
    ) -> Mapping[str, Any] | None:
        try:
            return await find_order(self._exchange, self._venue, client_order_id, market)
        except Exception as error:
            if says_not_found(error, self._venue):
                return None
            raise

    async def _balances(self) -> dict[str, Decimal]:
        balance = await self._link.ask("balance", self._exchange.fetch_balance(self._about_all()))
        total = balance.get("total")
        if not isinstance(total, Mapping) or not balance.get("info"):
            raise LookUpUnavailable("no usable balance in the answer")
        try:
            owned = {name: ccxt_orders.decimal(value) or Decimal(0) for name, value in total.items()}
            if self._account.market_type is MarketType.SWAP and self._account.exchange == "bybit":
                owned |= ccxt_orders.bybit_equities(balance["info"])
        except UnusableOrder as error:
            raise LookUpUnavailable(f"no usable balance in the answer: {error}") from error
        return owned

    async def _value(self, owned: Mapping[str, Decimal], currency: str) -> Decimal:
        """Return what coins are worth; those that have no market in the currency count nothing."""
        wanted = {
            f"{coin}/{currency}": quantity
            for coin, quantity in owned.items()
            if quantity and self._market(f"{coin}/{currency}") is not None
        }
        if not wanted:
            return Decimal(0)
        if self._exchange.has.get("fetchTickers"):
            tickers = await self._link.ask("prices", self._exchange.fetch_tickers(list(wanted)))
        else:
            tickers = {
                name: await self._link.ask("price", self._exchange.fetch_ticker(name)) for name in wanted
            }
        value = Decimal(0)
        for name, quantity in wanted.items():
            price = _last(tickers.get(name) or {})
            if price is None:
                raise LookUpUnavailable(f"no price of {name} in the answer")
            value += quantity * price
        return value

    def _about_all(self) -> dict[str, Any]:
        return dict(self._venue.questions.get(self._account.market_type, {}))

    def _market(self, symbol: str | None) -> Mapping[str, Any] | None:
        market: Mapping[str, Any] | None = (self._exchange.markets or {}).get(symbol)
        return market if market is not None and self._is_ours(market) else None

    def _is_ours(self, market: Mapping[str, Any]) -> bool:
        if self._account.market_type is MarketType.SPOT:
            return bool(market.get("spot"))
        # Contracts that settle in the coin itself are counted in money, not in base units.
        return bool(market.get("swap")) and bool(market.get("linear"))

    def _unknown(self, symbol: str) -> str:
        account = self._account
        return f"{account.exchange} has no {account.market_type} market {symbol}; ccxt writes BTC/USDT or BTC/USDT:USDT"

    def _features(self) -> Mapping[str, Any] | None:
        features = (self._exchange.features or {}).get(self._account.market_type.value)
        if self._account.market_type is MarketType.SWAP and features:
            features = features.get("linear") or features
        return features if isinstance(features, Mapping) else None


def _last(ticker: Mapping[str, Any]) -> Decimal | None:
    try:
        price = ccxt_orders.decimal(ticker.get("last"))
    except UnusableOrder as error:
        raise LookUpUnavailable(f"no usable price in the answer: {error}") from error
    return price if price is not None and price > 0 else None


def _signed_sum(rows: Sequence[Mapping[str, Any]], market: Mapping[str, Any]) -> Decimal:
    size, sides, total = ccxt_orders.contract_size(market), set[str](), Decimal(0)
    for row in rows:
        try:
            contracts = ccxt_orders.decimal(row.get("contracts"))
        except UnusableOrder as error:
            raise LookUpUnavailable(f"no usable position in the answer: {error}") from error
        if not contracts:
            continue
        if row.get("side") not in {"long", "short"}:
            raise LookUpUnavailable("a position without a side in the answer")
        sides.add(row["side"])
        total += abs(contracts) * size * (1 if row["side"] == "long" else -1)
    if len(sides) > 1:
        raise LookUpUnavailable("the account holds a long and a short position: set it to one-way mode")
    return total
