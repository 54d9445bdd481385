"""The settings: one immutable section per service, read from one YAML file and passed as arguments.

`config/bascule.yaml` is the commented reference. A field is named in the file as here, without its unit. What no section
can see by itself is checked in `load_settings`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, Market, WebhookName, safe_name
from libs.common.policy.allowance import Only
from libs.common.policy.limits import Limit, Limits
from libs.common.policy.routing import LaneBy
from libs.common.policy.symbols import SymbolEntry, SymbolMode, SymbolRule
from libs.common.runtime.durations import DurationMs, DurationOrZeroMs, Rate
from libs.common.runtime.sections import Section, WrongValue
from libs.common.wire.dialects.catalogue import BY_NAME

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
BasisPoints = Annotated[float, msgspec.Meta(ge=0, le=10_000)]

REQUEST_MARGIN_MS: Final = 1_000
"""How much sooner than its lane's lease a broker request must be dead."""

LONGEST_DEADLINE_MS: Final = 3_000
"""When TradingView hangs up: no answer after it reaches anybody."""

DEFAULT_REQUEST_EXPIRY_MS: Final = 5_000
DEFAULT_WEBHOOK: Final = WebhookName("default")
"""The webhook that `POST /webhook` serves."""

VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
VARIABLE_FORM: Final = "the name of an environment variable, never the secret itself"


class Durability(StrEnum):
    """What Redis must promise before a process starts."""

    ALWAYS = "always"
    """Fsync on every write: an acknowledged alert survives a crash of the machine."""
    EVERYSEC = "everysec"
    """Fsync each second: a crash of the machine may lose the last second, alerts answered 200 as well as the record
    of an order that has left, which may then be sent twice."""
    DECLARED = "declared"
    """Not checked, since a managed server bars CONFIG; you vouch for it."""
    NONE = "none"
    """No promise: a restart of Redis may lose everything."""


class RedisSettings(Section, frozen=True, kw_only=True):
    """Where the alerts are kept."""

    url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, `rediss://` or `unix://`; the environment's REDIS_URL comes first."""
    shards: int = 1
    """Parts that accounts are spread over; only 1 is built."""
    durability: Durability = Durability.ALWAYS
    """What Redis must promise; a process refuses to start on less."""

    def __post_init__(self) -> None:
        if self.shards != 1:
            raise WrongValue("shards", "1: only 1 is built")
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in {"redis", "rediss", "unix"} and bool(parts.netloc or parts.path)
            _ = parts.port  # raises where it is no number
        except ValueError:
            is_address = False
        if not is_address:
            raise WrongValue("url", "a redis://, rediss:// or unix:// address")


class IngressSettings(Section, frozen=True, kw_only=True):
    """The door that alerts come in by."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` lets other machines in: put TLS in front."""
    port: Port = 8_080
    """Port for alerts."""
    ops_host: str = "127.0.0.1"
    """Address of probes and metrics; never the open internet."""
    ops_port: Port = 9_101
    """Port of probes and metrics."""
    public_url: str | None = None
    """How TradingView reaches `port` from outside; shown in the URLs of webhooks. None: the local address is shown."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of reverse proxies: what they say in `X-Forwarded-For` counts as the sender's address."""
    certificate_proxies: tuple[str, ...] = ()
    """Those of them that verify client certificates and say in `X-Client-Certificate-Subject` and
    `X-Client-Certificate-San-Emails` whose it was. Nobody else is believed."""
    addresses: Mapping[str, tuple[str, ...]] = {}
    """Named sets of source addresses and networks, for `allow` of webhooks. `tradingview` is known unless set here."""
    deadline_ms: DurationMs = msgspec.field(default=DurationMs(2_000), name="deadline")
    """Time for an alert to become durable, else 503. TradingView hangs up after 3 s: stay below."""

    def __post_init__(self) -> None:
        if self.deadline_ms > LONGEST_DEADLINE_MS:
            raise WrongValue("deadline", "at most 3s, for TradingView hangs up then")
        if self.port == self.ops_port:
            raise WrongValue("ops_port", "another port than `port`")
        if self.public_url is not None and urlsplit(self.public_url).scheme not in {"http", "https"}:
            raise WrongValue("public_url", "an http:// or https:// address")


class WorkerSettings(Section, frozen=True, kw_only=True):
    """The processes that execute lanes."""

    ops_host: str = "127.0.0.1"
    """Address of probes and metrics; never the open internet."""
    ops_port: Port = 9_110
    """Port of probes and metrics; `bascule up` gives worker n this plus n."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Lanes one worker executes at a time. More: more orders under way at a slow broker, more memory."""
    lease_ms: DurationMs = msgspec.field(default=DurationMs(6_000), name="lease")
    """Time a lane is a worker's without renewal. Long: slow recovery after a crash. Short: stalls cost lanes."""
    poison_limit: Count = 10
    """Workers that may be lost while an instruction ran; then it is dead-lettered."""
    drain_ms: DurationMs = msgspec.field(default=DurationMs(20_000), name="drain")
    """Time to finish what was sent after SIGTERM; what is left then is handed back."""


class ReaperSettings(Section, frozen=True, kw_only=True):
    """The process that heals: lapsed leases, due lanes, lost tokens, trimming."""

    ops_host: str = "127.0.0.1"
    """Address of probes and metrics; never the open internet."""
    ops_port: Port = 9_103
    """Port of probes and metrics."""
    interval_ms: DurationMs = msgspec.field(default=DurationMs(500), name="interval")
    """Time between passes. Long: parked lanes start late and recovery is slow. Short: more load on Redis."""


class Auth(StrEnum):
    """What a post to a webhook must present besides the token in its URL."""

    URL = "url"
    """Nothing: the token is enough."""
    SECRET = "secret"  # noqa: S105 - a word, not a secret
    """The secret, where the alert's dialect has a place for one."""
    SIGNATURE = "signature"
    """A signature of the body with one of the webhook's `signing_keys`."""
    CERTIFICATE = "certificate"
    """TradingView's client certificate, verified by one of `ingress.certificate_proxies`."""


class OnlySettings(Section, frozen=True, kw_only=True):
    """Allow-lists; an empty one allows everything."""

    actions: tuple[Action, ...] = ()
    """Of buy, sell, close_long, close_short, close_all, target, flip, cancel."""
    exchanges: tuple[str, ...] = ()
    """As alerts write them, whatever their case."""
    symbols: tuple[str, ...] = ()
    """As alerts write them, whatever their case; `*` stands for any characters."""

    def only(self) -> Only:
        """Return them as they are applied."""
        return Only(actions=self.actions, exchanges=self.exchanges, symbols=self.symbols)


class WebhookSettings(Section, frozen=True, kw_only=True):
    """What alerts are posted to: `default` at `/webhook`, others at `/hooks/<token>`."""

    MAX_BODY_BYTES: ClassVar[int] = 40_960

    accounts: tuple[AccountName, ...]
    """Every alert becomes one instruction for each of these."""
    secret: str | None = None
    """The environment variable (or its `_FILE` twin) that holds the secret in the body."""
    token: str | None = None
    """The same for the token in its URL; `default` has none."""
    auth: tuple[Auth, ...] = (Auth.SECRET,)
    """What a post must present besides the token."""
    signing_keys: tuple[str, ...] = ()
    """Keys, named in the section `signing_keys`, whose signature counts. None: the secret is the key."""
    dialect: str | None = None
    """The only dialect it takes. None: each alert's is recognised."""
    options: Mapping[str, str] = {}
    """What that dialect leaves to the settings of its tool, see docs/dialects.md."""
    allow: tuple[str, ...] = ()
    """Source addresses, networks and names of sets such as tradingview; others get 403. Empty: any."""
    only: OnlySettings = OnlySettings()
    """Which alerts it takes; others get 422."""
    rate: Rate = Rate.OFF
    """Alerts admitted, over all ingresses; above it 429, which TradingView does not send again."""
    burst: Count | None = None
    """Alerts that may come at once after a pause. None: the number in `rate`."""
    max_age_ms: DurationMs = msgspec.field(default=DurationMs(60_000), name="max_age")
    """An alert older than this is not traded any more: it ends EXPIRED."""
    max_body: Annotated[int, msgspec.Meta(ge=256, le=MAX_BODY_BYTES)] = 16_384
    """Bytes a post may have; above it 413."""
    clock_skew_ms: DurationOrZeroMs = msgspec.field(default=DurationOrZeroMs(5_000), name="clock_skew")
    """How far in the future a fire time may lie; beyond it the time of arrival counts instead."""
    dedup_ms: DurationMs = msgspec.field(default=DurationMs(86_400_000), name="dedup")
    """Time an alert is recognised by its own id."""
    dedup_bar_ms: DurationMs = msgspec.field(default=DurationMs(60_000), name="dedup_bar")
    """Time an alert without an id is recognised by strategy, bar, symbol and action."""
    dedup_body_ms: DurationMs = msgspec.field(default=DurationMs(30_000), name="dedup_body")
    """Time an alert with neither is recognised by its body."""
    entries_per_bar: Annotated[int, msgspec.Meta(ge=1, le=50)] = 1
    """How many alerts of one strategy, bar, symbol and action are meant, for strategies that pyramid."""

    def __post_init__(self) -> None:
        for field in ("secret", "token"):
            name = getattr(self, field)
            if name is not None and VARIABLE.fullmatch(name) is None:
                raise WrongValue(field, VARIABLE_FORM, is_hidden=True)
        if not self.accounts or len(set(self.accounts)) != len(self.accounts):
            raise WrongValue("accounts", "a list with at least one account, each once")
        if not self.auth or (Auth.URL in self.auth and len(self.auth) > 1):
            raise WrongValue("auth", "[url] alone, or some of secret, signature, certificate")
        if Auth.SECRET in self.auth and self.secret is None:
            raise WrongValue("secret", f"{VARIABLE_FORM}, since `auth` demands it")
        if Auth.SIGNATURE in self.auth and not self.signing_keys and self.secret is None:
            raise WrongValue("signing_keys", "a list of keys, since `auth` demands a signature")
        if self.burst is not None and self.rate.is_off:
            raise WrongValue("burst", "no value where `rate` is off")
        self._check_dialect()

    def _check_dialect(self) -> None:
        if self.dialect is None:
            if self.options:
                raise WrongValue("options", "no value where no dialect is named")
            return
        dialect = BY_NAME.get(self.dialect)
        if dialect is None:
            raise WrongValue("dialect", " or ".join(BY_NAME))
        for name, value in self.options.items():
            allowed = dialect.options.get(name)
            if allowed is None:
                raise WrongValue(
                    "options", f"some of {', '.join(dialect.options)}" if dialect.options else "no value"
                )
            if value not in allowed:
                raise WrongValue("options", f"{name} to be {' or '.join(sorted(allowed))}")


class LimitSettings(Section, frozen=True, kw_only=True):
    """How fast orders may be sent in one market."""

    rate: Rate = Rate(5, 1_000)
    """Orders in a time."""
    burst: Count = 10
    """Orders that may go at once after a pause."""


class AccountLimitSettings(LimitSettings, frozen=True, kw_only=True):
    """The same for all markets of an account together."""

    rate: Rate = Rate(10, 1_000)
    """Orders in a time."""
    burst: Count = 20
    """Orders that may go at once after a pause."""


class LimitOverride(Section, frozen=True, kw_only=True):
    """The same for one account or symbol."""

    rate: Rate
    """Orders in a time."""
    burst: Count | None = None
    """Orders that may go at once after a pause. None: as in `limits`."""


class LimitsSettings(Section, frozen=True, kw_only=True):
    """The limits that hold where an account sets none. `paper` and `log` accounts have none unless they set one."""

    symbol: LimitSettings = LimitSettings()
    """For each symbol of an account. Low: bursts wait, and may expire. High: the venue refuses."""
    account: AccountLimitSettings = AccountLimitSettings()
    """For all symbols of an account together."""


class AccountLimits(Section, frozen=True, kw_only=True):
    """What an account sets in place of `limits`."""

    symbol: LimitOverride | None = None
    """For each symbol of this account."""
    account: LimitOverride | None = None
    """For all symbols of this account together."""
    symbols: Mapping[Market, LimitOverride] = {}
    """For single symbols, by the venue's name of them; comes before `symbol`."""


class AccountSettings(Section, frozen=True, kw_only=True):
    """What every account has, whatever its broker."""

    has_default_limits: ClassVar[bool] = False

    default_quantity: Decimal | None = None
    """Base units to trade where an alert names no quantity. None: such an alert is refused."""
    lane_by: LaneBy = LaneBy.SYMBOL
    """What keeps its order of arrival; `strategy` needs alerts that name one, which those of FactorQX do not."""
    request_expiry_ms: DurationMs | None = msgspec.field(default=None, name="request_expiry")
    """Time after sending in which the venue may still execute an order; at most the lease less 1 s. None: 5 s, or
    that much where the lease is shorter."""
    limits: AccountLimits = AccountLimits()
    """Rate limits of its own."""
    symbols: SymbolMode = SymbolMode.AS_SENT
    """What becomes of a symbol that is not in the table of `symbols`: traded as sent, or refused."""
    symbol_rules: tuple[SymbolRule, ...] = ()
    """How such a symbol is written before that."""
    only: OnlySettings = OnlySettings()
    """Which alerts it takes; of others the webhook's other accounts get their share, and this one's ends SKIPPED."""

    def __post_init__(self) -> None:
        _check_above_zero("default_quantity", self.default_quantity)


class PaperAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="paper"):
    """Trades on paper: fills at the alert's price, else the last known, else `default_price`."""

    default_price: Decimal | None = None
    """The price where neither the alert nor an earlier one gave any. None: the order is rejected."""
    slippage_bps: BasisPoints = 0.0
    """Basis points by which every fill is worse than its price."""
    fee_bps: BasisPoints = 0.0
    """Basis points of a fill's value that it costs."""
    cash: Decimal = Decimal(100_000)
    """What the account starts with."""
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{2,12}$")] = "USDT"
    """What cash and profit are counted in; a name only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_above_zero("default_price", self.default_price)
        if not self.cash.is_finite() or self.cash < 0:
            raise WrongValue("cash", "a number of at least 0")


class LogAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="log"):
    """A dry run: orders go to the log and nowhere else."""


class HttpAccount(AccountSettings, frozen=True, kw_only=True, tag_field="broker", tag="http"):
    """Sends signed orders to an execution layer of your own."""

    has_default_limits: ClassVar[bool] = True

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
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
            raise WrongValue("url", "an http:// or https:// address without a query")
        if VARIABLE.fullmatch(self.secret) is None:
            raise WrongValue("secret", VARIABLE_FORM, is_hidden=True)


Account = PaperAccount | LogAccount | HttpAccount


class SymbolSettings(Section, frozen=True, kw_only=True):
    """An entry of the table: what a symbol is to the venue of an account."""

    symbol: str
    """As alerts write it, without its `EXCHANGE:`; upper and lower case mean the same."""
    market: Market
    """What the venue calls it."""
    exchange: str | None = None
    """Only for alerts that name this one; None: for any."""
    account: AccountName | None = None
    """Only for this one; None: for any."""

    def __post_init__(self) -> None:
        if not self.symbol or ":" in self.symbol:
            raise WrongValue("symbol", "a symbol without an exchange before it")
        if safe_name(self.market) != self.market:
            raise WrongValue("market", "at most 64 letters, digits and _ . : / ! @ + -")

    def entry(self) -> SymbolEntry:
        """Return it as it is applied."""
        return SymbolEntry(self.symbol, self.market, exchange=self.exchange, account=self.account)


class BreakerSettings(Section, frozen=True, kw_only=True):
    """When to stop sending orders to an account's venue that keeps failing."""

    failures: Count = 5
    """Failures in a row before it opens. Low: opens at hiccups."""
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.7
    """The share of failures, of at least 10 attempts in `window`, at which it opens too. Low: opens at hiccups."""
    window_ms: DurationMs = msgspec.field(default=DurationMs(30_000), name="window")
    """The time over which `rate` counts. Long: old failures count."""
    reset_ms: DurationMs = msgspec.field(default=DurationMs(10_000), name="reset")
    """Time from opening to the next trial order. Long: a healed venue stands idle."""


class RetentionSettings(Section, frozen=True, kw_only=True):
    """How long history is kept. Long: more memory in Redis."""

    alerts_ms: DurationMs = msgspec.field(default=DurationMs(604_800_000), name="alerts")
    """Alerts, instructions and orders, from the moment they ended."""
    journal_ms: DurationMs = msgspec.field(default=DurationMs(604_800_000), name="journal")
    """The journal of every state change."""
    dead_letters_ms: DurationMs = msgspec.field(default=DurationMs(2_592_000_000), name="dead_letters")
    """Dead letters; the order record lasts as long, so that a replay can look the order up."""


class Settings(Section, frozen=True, kw_only=True):
    """Everything the file says."""

    redis: RedisSettings = RedisSettings()
    ingress: IngressSettings = IngressSettings()
    worker: WorkerSettings = WorkerSettings()
    reaper: ReaperSettings = ReaperSettings()
    webhooks: Mapping[WebhookName, WebhookSettings] = {}
    signing_keys: Mapping[str, str] = {}
    """Keys of signatures on posts: name -> the environment variable (or its `_FILE` twin) that holds it."""
    accounts: Mapping[AccountName, Account] = {}
    symbols: tuple[SymbolSettings, ...] = ()
    """What symbols are to venues; entries confirmed with `bascule symbols confirm` count too."""
    limits: LimitsSettings = LimitsSettings()
    breaker: BreakerSettings = BreakerSettings()
    retention: RetentionSettings = RetentionSettings()

    def request_expiry_of(self, account: AccountName) -> int:
        """Return how long after sending an account's venue may still execute an order, ms.

        Raises:
            KeyError: There is no such account.
        """
        longest_ms = self.worker.lease_ms - REQUEST_MARGIN_MS
        own_ms = self.accounts[account].request_expiry_ms
        return min(DEFAULT_REQUEST_EXPIRY_MS, longest_ms) if own_ms is None else own_ms

    def secret_names(self) -> dict[str, str]:
        """Return the variables of all secrets that are named: name -> who needs it."""
        users: dict[str, str] = {}
        for webhook_name, webhook in self.webhooks.items():
            for variable in (webhook.secret, webhook.token):
                if variable is not None:
                    users.setdefault(variable, f"webhook {webhook_name}")
        for key, variable in self.signing_keys.items():
            users.setdefault(variable, f"signing key {key}")
        for account_name, account in self.accounts.items():
            if isinstance(account, HttpAccount):
                users.setdefault(account.secret, f"account {account_name}")
        return users

    def limits_for(self, account: AccountName, market: Market) -> Limits:
        """Return the limits of an account's orders in a market.

        Raises:
            KeyError: There is no such account.
        """
        chosen = self.accounts[account]
        own, default = chosen.limits, self.limits
        return Limits(
            symbol=_limit(own.symbols.get(market) or own.symbol, default.symbol, chosen),
            account=_limit(own.account, default.account, chosen),
        )


def _limit(override: LimitOverride | None, default: LimitSettings, account: AccountSettings) -> Limit | None:
    if override is not None:
        rate, burst = override.rate, override.burst or default.burst
    elif account.has_default_limits:
        rate, burst = default.rate, default.burst
    else:
        return None
    return None if rate.is_off else Limit(rate.interval_us, burst)


def _check_above_zero(field: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and value > 0):
        raise WrongValue(field, "a number above 0")
