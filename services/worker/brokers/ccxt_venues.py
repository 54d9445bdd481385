"""What differs from exchange to exchange, as a table: ids, duplicates, request expiry, sandboxes, error codes. Pure.

An exchange that is not in the table is traded by `UNKNOWN`: nothing is assumed of it, so an order whose outcome is
unknown is held until it is found or an operator decides.

Sources: the exchanges' API references; `deduplication` and `duplicate` as they document them, else the weaker promise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from libs.common.domain.order import OrderType
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.port import Deduplication

SPOT: Final = MarketType.SPOT
SWAP: Final = MarketType.SWAP

PLAIN: Final = frozenset({OrderType.MARKET, OrderType.LIMIT})
ALL_TYPES: Final = frozenset(OrderType)

_NEVER: Final = re.compile(r"(?!)")


class Expiry(StrEnum):
    """How an exchange is told to refuse an order that arrives too late."""

    NONE = "none"
    """It cannot be told."""
    WINDOW = "window"
    """A number of milliseconds after the request's own time stamp."""
    HEADER = "header"
    """OKX: the header `expTime`, milliseconds since the epoch."""
    DEADLINE = "deadline"
    """Kraken: the parameter `deadline`, RFC 3339, between 2 and 60 s ahead."""


class LookUpBy(StrEnum):
    """Which call finds an order by our id."""

    ORDER = "order"
    """ccxt's `fetch_order` with `clientOrderId`."""
    BYBIT = "bybit"
    """The open and just ended ones, then the history, by `orderLinkId`."""
    BITGET = "bitget"
    """The order's details, by `clientOid`."""
    KRAKEN = "kraken"
    """The open ones, then the closed ones, by `cl_ord_id`."""
    ALPACA = "alpaca"
    """`orders:by_client_order_id`, which ccxt does not know."""
    RECENT = "recent"
    """The market's latest 100 orders, searched for the id: the exchange has no such question."""


class Sandbox(StrEnum):
    """What can be traded at without real money."""

    TESTNET = "testnet"
    """ccxt's sandbox mode: other addresses, or a mark on every request."""
    DEMO = "demo"
    """ccxt's demo trading: the exchange's own simulation beside its live prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """One exchange."""

    id_parameter: str = "clientOrderId"
    """What ccxt's `create_order` takes our id by."""
    id_length: int = 26
    """Characters it may have at most."""
    id_alphabet: re.Pattern[str] = re.compile(r"[A-Za-z0-9]+")
    """What it may be made of."""
    look_up: LookUpBy = LookUpBy.ORDER
    deduplication: Deduplication = Deduplication.NONE
    expiry: Expiry = Expiry.NONE
    sandboxes: Mapping[MarketType, tuple[Sandbox, ...]] | None = None
    """By market type, the usual one first. None: whatever ccxt has a test address for."""
    without_sandbox: str = ""
    """What to try instead, where there is none."""
    types: Mapping[MarketType, frozenset[OrderType]] = field(
        default_factory=lambda: MappingProxyType({SPOT: PLAIN, SWAP: PLAIN})
    )
    """Orders that one look-up finds. Stops elsewhere live in lists of their own, under ids of their own."""
    has_attached: frozenset[MarketType] = frozenset()
    """Where take-profit and stop-loss can be attached to an order."""
    stop_parameter: str = "triggerPrice"
    """What ccxt takes a stop's price by."""
    has_trigger_direction: bool = False
    """Whether a stop in a swap must say from which side its price is reached."""
    reduces: bool = True
    """Whether `reduceOnly` is a mark on an order in a swap, and not another call."""
    buys_base: bool = True
    """Whether a spot market buy can name the quantity it buys; where not, such orders are refused."""
    parameters: Mapping[MarketType, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """Sent with every order."""
    questions: Mapping[MarketType, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    """Sent with questions about the whole account, where ccxt would ask about another kind of market."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """ccxt's, on top of ours."""
    market_types: Mapping[MarketType, str] | None = None
    """ccxt's words in `options.fetchMarkets.types`, where it has such: only what is traded is loaded."""
    has_exact_numbers: bool = False
    """Whether ccxt's adapter was tested to carry numbers as text, so that no digit is lost."""
    has_synchronised_clock: bool = False
    """Whether requests are stamped with the exchange's time rather than ours."""
    duplicate: re.Pattern[str] = _NEVER
    """Found in the body of an answer that says: I have an order of this id already."""
    ambiguous: frozenset[str] = frozenset()
    """Codes that do not tell whether the order was executed, whatever ccxt makes of them."""
    not_executed: frozenset[str] = frozenset()
    """Codes of a request that came too late or out of its time window: certainly not executed."""
    refused: frozenset[str] = frozenset()
    """Codes that refuse an order for good, where ccxt has no name for them."""
    not_found: frozenset[str] = frozenset()
    """Codes by which a look-up says that there is no such order, where ccxt makes something else of them."""
    credentials: frozenset[str] = frozenset()
    """Codes that refuse the key, whatever ccxt makes of them."""


_BOTH: Final = MappingProxyType({SPOT: ALL_TYPES, SWAP: ALL_TYPES})

UNKNOWN: Final = Venue()
"""Every exchange that is not in the table."""

VENUES: Final[Mapping[str, Venue]] = MappingProxyType(
    {
        "binance": Venue(
            id_length=36,
            id_alphabet=re.compile(r"[.A-Z:/a-z0-9_-]+"),
            deduplication=Deduplication.OPEN,
            expiry=Expiry.WINDOW,
            # ccxt refuses Binance's testnet for futures, which Binance gave up for demo trading.
            sandboxes={SPOT: (Sandbox.TESTNET, Sandbox.DEMO), SWAP: (Sandbox.DEMO,)},
            # Stops in swaps are "algo orders" there, with ids and look-ups of their own.
            types={SPOT: ALL_TYPES, SWAP: PLAIN},
            questions={SWAP: {"type": "swap"}},
            options={"warnOnFetchOpenOrdersWithoutSymbol": False, "fetchMargins": False},
            market_types={SPOT: "spot", SWAP: "linear"},
            has_exact_numbers=True,
            has_synchronised_clock=True,
            duplicate=re.compile(r'Duplicate order sent|"code"\s*:\s*-4116\b'),
            ambiguous=frozenset({"-1000", "-1001", "-1006", "-1007"}),
            not_executed=frozenset({"-1021", "-5028", "-4188"}),
            credentials=frozenset({"-1022", "-1002", "-2014", "-2015"}),
        ),
        "bybit": Venue(
            id_length=36,
            id_alphabet=re.compile(r"[A-Za-z0-9_-]+"),
            look_up=LookUpBy.BYBIT,
            deduplication=Deduplication.LIFETIME,
            expiry=Expiry.WINDOW,
            sandboxes={SPOT: (Sandbox.TESTNET, Sandbox.DEMO), SWAP: (Sandbox.TESTNET, Sandbox.DEMO)},
            types=_BOTH,
            has_attached=frozenset({SWAP}),
            has_trigger_direction=True,
            market_types={SPOT: "spot", SWAP: "linear"},
            has_exact_numbers=True,
            has_synchronised_clock=True,
            duplicate=re.compile(r'"retCode"\s*:\s*"?(?:110072|170141|12141)\b'),
            ambiguous=frozenset({"10000", "10016", "10019", "170001", "170007", "170146"}),
            not_executed=frozenset({"10002"}),
            credentials=frozenset({"10003", "10004", "10005", "10007", "10010", "33004"}),
        ),
        "okx": Venue(
            id_length=32,
            id_alphabet=re.compile(r"[A-Za-z0-9]+"),
            deduplication=Deduplication.OPEN,
            expiry=Expiry.HEADER,
            sandboxes={SPOT: (Sandbox.TESTNET,), SWAP: (Sandbox.TESTNET,)},
            has_attached=frozenset({SPOT, SWAP}),
            parameters={SPOT: {"tgtCcy": "base_ccy"}, SWAP: {}},
            options={"createOrder": "privatePostTradeOrder"},
            market_types={SPOT: "spot", SWAP: "swap"},
            has_exact_numbers=True,
            has_synchronised_clock=True,
            duplicate=re.compile(r'"(?:sC|c)ode"\s*:\s*"?51016\b'),
            ambiguous=frozenset({"50004", "50026", "51149"}),
            not_executed=frozenset({"50102", "50112"}),
            credentials=frozenset(
                {"50100", "50101", "50103", "50104", "50105", "50110", "50111", "50113", "50114"}
            ),
        ),
        "bitget": Venue(
            id_length=40,
            id_alphabet=re.compile(r"[A-Za-z0-9_.:#/-]+"),
            look_up=LookUpBy.BITGET,
            deduplication=Deduplication.OPEN,
            sandboxes={SPOT: (Sandbox.TESTNET,), SWAP: (Sandbox.TESTNET,)},
            has_attached=frozenset({SWAP}),
            # Its market buys name what they spend.
            buys_base=False,
            market_types={SPOT: "spot", SWAP: "swap"},
            has_exact_numbers=True,
            has_synchronised_clock=True,
            duplicate=re.compile(r'"code"\s*:\s*"?(?:40786|43118)\b|[Dd]uplicate clientOid'),
            ambiguous=frozenset({"40010", "40015", "40725", "45001"}),
            not_executed=frozenset({"40005", "40008"}),
            credentials=frozenset(
                {"40001", "40002", "40006", "40009", "40011", "40012", "40014", "40018", "40037"}
            ),
        ),
        "kraken": Venue(
            id_length=36,
            id_alphabet=re.compile(r"[A-Za-z0-9_-]+"),
            look_up=LookUpBy.KRAKEN,
            deduplication=Deduplication.OPEN,
            expiry=Expiry.DEADLINE,
            sandboxes={SPOT: (), SWAP: ()},
            without_sandbox="for futures there is `exchange: krakenfutures` with a demo; else try another exchange's "
            "testnet",
            types={SPOT: ALL_TYPES, SWAP: frozenset()},
            stop_parameter="stopLossPrice",
            has_exact_numbers=True,
            duplicate=re.compile(r"(?i)EOrder:[^\"]*(?:duplicate|cl_?ord_?id)"),
            ambiguous=frozenset({"EService:Unavailable", "EService:Busy", "EGeneral:Internal error"}),
            not_executed=frozenset({"EAPI:Invalid nonce", "EService:Deadline elapsed"}),
            credentials=frozenset(
                {"EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied"}
            ),
        ),
        "coinbase": Venue(
            # ccxt drops `clientOrderId` and sends a random one.
            id_parameter="client_order_id",
            id_length=128,
            id_alphabet=re.compile(r"[A-Za-z0-9_-]+"),
            look_up=LookUpBy.RECENT,
            sandboxes={SPOT: (), SWAP: ()},
            without_sandbox="`exchange: coinbaseexchange` has one, with keys of its own; else try another exchange's "
            "testnet",
            # Its market buys name what they spend, as ccxt sends them.
            buys_base=False,
            reduces=False,
            has_exact_numbers=True,
            refused=frozenset(
                {
                    "COMMANDER_REJECTED_NEW_ORDER",
                    "INELIGIBLE_PAIR",
                    "INSUFFICIENT_FUND",
                    "INSUFFICIENT_FUNDS",
                    "INVALID_LEDGER_BALANCE",
                    "INVALID_LIMIT_PRICE",
                    "INVALID_LIMIT_PRICE_POST_ONLY",
                    "INVALID_NO_LIQUIDITY",
                    "INVALID_PRICE_PRECISION",
                    "INVALID_PRODUCT_ID",
                    "INVALID_REQUEST",
                    "INVALID_SIDE",
                    "INVALID_SIZE_PRECISION",
                    "ORDER_ENTRY_DISABLED",
                    "UNSUPPORTED_ORDER_CONFIGURATION",
                }
            ),
            duplicate=re.compile(
                r"(?i)duplicate[^\"]*client_?order_?id|client_?order_?id[^\"]*(?:duplicate|exists)"
            ),
        ),
        "alpaca": Venue(
            id_length=128,
            id_alphabet=re.compile(r"[A-Za-z0-9_.-]+"),
            look_up=LookUpBy.ALPACA,
            deduplication=Deduplication.LIFETIME,
            sandboxes={SPOT: (Sandbox.TESTNET,), SWAP: ()},
            types={SPOT: PLAIN | {OrderType.STOP_LIMIT}, SWAP: frozenset()},
            has_exact_numbers=True,
            duplicate=re.compile(r"client_order_id must be unique"),
            not_found=frozenset({"40410000"}),
            credentials=frozenset({"40110000", "40310100"}),
        ),
    }
)
"""By ccxt's name."""


def venue_of(exchange: str) -> Venue:
    """Return what is known of an exchange."""
    return VENUES.get(exchange, UNKNOWN)
