"""The settings of what alerts are traded on: one section for each kind of broker."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from libs.common.domain.ids import Market
from libs.common.policy.routing import LaneBy
from libs.common.policy.sessions import Sessions
from libs.common.policy.symbols import SymbolMode, SymbolRule
from libs.common.runtime.durations import DurationMs, DurationOrZeroMs, Rate
from libs.common.runtime.paper_settings import PaperFaults, Preset, Share
from libs.common.runtime.risk_settings import RiskSettings
from libs.common.runtime.sections import Section, WrongValue
from libs.common.runtime.setting_values import VARIABLE, VARIABLE_FORM, BasisPoints, Count
from libs.common.runtime.webhook_settings import OnlySettings
from libs.common.wire.web_address import is_web_address

DEFAULT_RECONCILE_MS: Final = 60_000
LEAST_RECONCILE_MS: Final = 1_000


class LimitOverride(Section, frozen=True, kw_only=True):
    """The same for one account or symbol."""

    rate: Rate
    """Orders in a time."""
    burst: Count | None = None
    """Orders that may go at once after a pause. None: as in `limits`."""


class AccountLimits(Section, frozen=True, kw_only=True):
    """What an account sets in place of `limits`."""

    symbol: LimitOverride | None = None
    """For each symbol of this account."""
    account: LimitOverride | None = None
    """For all symbols of this account together."""
    symbols: Mapping[Market, LimitOverride] = {}
    """For single symbols, by the venue's name of them; comes before `symbol`."""


class OnUnknown(StrEnum):
    """What becomes of a lane whose order may or may not have traded, when the venue cannot say."""

    HOLD = "hold"
    """It waits until the venue can, or an operator says: `bascule orders resolve`."""
    SKIP = "skip"
    """The alert ends DEAD as `outcome_unknown`, and the lane goes on: what comes next may trade on a wrong position."""


class OnDrift(StrEnum):
    """What follows when a venue's position is not what our orders explain."""

    JOURNAL = "journal"
    """It is told: journal, log, metric."""
    HALT = "halt"
    """The account is paused as well, until `bascule resume`."""


class ReconcileSettings(Section, frozen=True, kw_only=True):
    """How an account's positions and open orders are compared with its venue's."""

    every_ms: DurationOrZeroMs | None = msgspec.field(default=None, name="every")
    """Time between two comparisons; 0s: never. None: 60s, and never for `paper` and `log` accounts. Short: drift is
    found sooner, at the price of more requests to the venue."""
    on_drift: OnDrift = OnDrift.JOURNAL
    """What follows when they differ."""

    def __post_init__(self) -> None:
        if self.every_ms and self.every_ms < LEAST_RECONCILE_MS:
            raise WrongValue("every", "at least 1s, or 0s for never")


class AccountSettings(Section, frozen=True, kw_only=True):
    """What every account has, whatever its broker."""

    has_default_limits: ClassVar[bool] = False
    is_reconciled: ClassVar[bool] = False
    """Whether it is compared with its venue unless told otherwise."""

    default_quantity: Decimal | None = None
    """Base units to trade where an alert names no quantity. None: such an alert is refused."""
    lane_by: LaneBy = LaneBy.SYMBOL
    """What keeps its order of arrival; `strategy` needs alerts that name one, which those of FactorQX do not."""
    request_expiry_ms: DurationMs | None = msgspec.field(default=None, name="request_expiry")
    """Time after sending in which the venue may still execute an order; at most the lease less 1 s. None: 5 s, or
    that much where the lease is shorter."""
    fill_wait_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(2_000), name="fill_wait")
    """Time a market order is waited for where the venue has only taken it; after it the order is followed outside its
    lane. Of an order that closes before another opens, the next one waits for its fill in any case."""
    on_unknown: OnUnknown = OnUnknown.HOLD
    """What becomes of a lane whose order cannot be told, once its alert is too old to be sent again."""
    order_time_limit_ms: DurationMs | None = msgspec.field(default=None, name="order_time_limit")
    """Time an order may rest at the venue; then it is cancelled. None: as long as the venue keeps it."""
    reconcile: ReconcileSettings = ReconcileSettings()
    """How positions and open orders are compared with the venue's."""
    limits: AccountLimits = AccountLimits()
    """Rate limits of its own."""
    risk: RiskSettings = RiskSettings()
    """What orders are held against before they are sent. A breach ends their alert REJECTED."""
    symbols: SymbolMode = SymbolMode.AS_SENT
    """What becomes of a symbol that is not in the table of `symbols`: traded as sent, or refused."""
    symbol_rules: tuple[SymbolRule, ...] = ()
    """How such a symbol is written before that."""
    only: OnlySettings = OnlySettings()
    """Which alerts it takes; of others the webhook's other accounts get their share, and this one's ends SKIPPED."""

    def __post_init__(self) -> None:
        _check_above_zero("default_quantity", self.default_quantity)

    @property
    def reconcile_every_ms(self) -> int | None:
        """Return the time between two comparisons with the venue; None: never."""
        own_ms = self.reconcile.every_ms
        if own_ms is None:
            return DEFAULT_RECONCILE_MS if self.is_reconciled else None
        return int(own_ms) or None


class PaperAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="paper"):
    """Trades on paper: at the alert's price, else the last known, else `default_price`; see docs/paper.md."""

    default_price: Decimal | None = None
    """The price where neither the alert nor an earlier one gave any. None: the order is rejected."""
    slippage_bps: BasisPoints = 0.0
    """Basis points by which every fill at the market price is worse than it."""
    fee_bps: BasisPoints = 0.0
    """Basis points of a fill's value that it costs."""
    cash: Decimal = Decimal(100_000)
    """What the account starts with."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{2,12}$")] = "USDT"
    """What cash and profit are counted in; a name only."""
    quantity_step: Decimal | None = None
    """Quantities must be multiples of it. None: any will do."""
    price_step: Decimal | None = None
    """Prices that orders name must be multiples of it. None: any will do."""
    min_quantity: Decimal | None = None
    """Base units; smaller orders are refused, unless they only reduce."""
    max_quantity: Decimal | None = None
    """Base units; larger orders are refused."""
    min_value: Decimal | None = None
    """In `currency`; orders worth less are refused, unless they only reduce."""
    hours: tuple[str, ...] = ()
    """When its markets trade: `Mon-Fri 09:30-16:00 America/New_York`, or the name of a table. Empty: always."""
    latency_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(0), name="latency")
    """The least time that an order takes on its way."""
    latency_most_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(0), name="latency_most")
    """The most; few take that long. Below `latency`: all take `latency`."""
    partial_fills: Share = 0.0
    """The share of fills that are only a part; the rest follows a little later."""
    preset: Preset = Preset.FRICTIONLESS
    """Figures for slippage, fee, latency, partial fills and faults where they are 0 here."""
    faults: PaperFaults = PaperFaults()
    """What goes wrong on purpose."""
    seed: int = 1
    """What its dice are thrown from: the same seed, orders and prices, the same fills."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in (
            "default_price",
            "quantity_step",
            "price_step",
            "min_quantity",
            "max_quantity",
            "min_value",
        ):
            _check_above_zero(field, getattr(self, field))
        if not self.cash.is_finite() or self.cash < 0:
            raise WrongValue("cash", "a number of at least 0")
        try:
            Sessions.parse(self.hours)
        except ValueError as error:
            raise WrongValue("hours", str(error)) from error


class LogAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="log"):
    """A dry run: orders go to the log and nowhere else."""


class HttpAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="http"):
    """Sends signed orders to an execution layer of your own."""

    has_default_limits: ClassVar[bool] = True
    is_reconciled: ClassVar[bool] = True

    url: str
    """Where it listens; orders go to `{url}/orders`."""
    secret: str
    """The environment variable (or its `_FILE` twin) with the key that requests are signed with."""
    timeout_ms: DurationMs = msgspec.field(default=DurationMs(2_000), name="timeout")
    """Time to wait for an answer; after it the order's outcome is unknown and is looked up."""
    look_up_lag_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(2_000), name="look_up_lag")
    """Time after executing an order in which it may still answer that it does not know it. Too short: an order whose
    answer was lost may be sent twice. Long: its lane waits."""
    verify_answers: bool = False
    """Whether an answer without a valid signature over its body counts as none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_web_address(self.url) or urlsplit(self.url).query or urlsplit(self.url).fragment:
            raise WrongValue("url", "an http:// or https:// address without a query")
        if VARIABLE.fullmatch(self.secret) is None:
            raise WrongValue("secret", VARIABLE_FORM, is_hidden=True)


class MarketType(StrEnum):
    """What is traded at an exchange. One account trades one kind."""

    SPOT = "spot"
    """Coins that are owned."""
    SWAP = "swap"
    """Perpetual contracts that settle in the quote currency; one-way position mode."""


class CcxtAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="ccxt"):
    """Trades at an exchange, on its sandbox unless `live`. Needs the extra: `make up EXTRAS=ccxt`."""

    has_default_limits: ClassVar[bool] = True
    is_reconciled: ClassVar[bool] = True

    exchange: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]{2,32}$")]
    """What ccxt calls it: bybit, binance, bitget, okx, kraken, coinbase, alpaca..."""
    api_key: str
    """The environment variable (or its `_FILE` twin) with the key."""
    secret: str
    """The one with the key's secret."""
    password: str | None = None
    """The one with the key's passphrase, where the exchange has one (Bitget, OKX, KuCoin)."""
    market_type: MarketType = MarketType.SPOT
    """Spot markets, or perpetual swaps."""
    live: bool = False
    """Whether real money is traded. Otherwise the sandbox of the exchange, and without one the worker does not start."""
    demo: bool = False
    """Where an exchange has a testnet and demo trading (Binance, Bybit): the latter. Each has keys of its own."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{2,12}$")] = "USDT"
    """What equity is counted in: the quote currency of what is traded."""
    timeout_ms: DurationMs = msgspec.field(default=DurationMs(2_000), name="timeout")
    """Time to wait for an answer; after it the order's outcome is unknown and is looked up."""
    look_up_lag_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(2_000), name="look_up_lag")
    """Time after executing an order in which the exchange may still answer that it does not know it. Too short: an
    order whose answer was lost may be sent twice. Long: its lane waits."""
    url: str | None = None
    """A server that stands in for the exchange, for tests: no other address is asked. None: the exchange's own."""
    symbols: SymbolMode = SymbolMode.STRICT
    """As for every account; but what is not in the table is refused here unless this says otherwise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("api_key", "secret", "password"):
            variable = getattr(self, field)
            if variable is not None and VARIABLE.fullmatch(variable) is None:
                raise WrongValue(field, VARIABLE_FORM, is_hidden=True)
        if self.live and self.demo:
            raise WrongValue("demo", "false, or `live` to be false: demo trading is not live")
        if self.url is not None:
            is_fit = is_web_address(self.url)
            if not is_fit or urlsplit(self.url).path.strip("/") or urlsplit(self.url).query:
                raise WrongValue("url", "an http:// or https:// address without a path")


Account = PaperAccount | LogAccount | HttpAccount | CcxtAccount


def _check_above_zero(field: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and value > 0):
        raise WrongValue(field, "a number above 0")
