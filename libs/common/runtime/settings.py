"""The settings: one immutable section per service, read from one YAML file and passed as arguments.

`config/bascule.yaml` is the commented reference. A field is named in the file as here, without its unit. What no section
can see by itself is checked in `load_settings`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from libs.common.domain.ids import AccountName, Market, WebhookName, safe_name
from libs.common.policy.limits import Limit, Limits
from libs.common.policy.shards import MOST
from libs.common.policy.symbols import SymbolEntry
from libs.common.runtime.account_settings import (
    Account,
    AccountSettings,
    CcxtAccount,
    HttpAccount,
    LimitOverride,
)
from libs.common.runtime.durations import DurationMs, Rate
from libs.common.runtime.sections import Section, WrongValue
from libs.common.runtime.setting_values import Count, Port
from libs.common.runtime.watchdog_settings import AlarmSettings, WatchdogSettings
from libs.common.runtime.webhook_settings import WebhookSettings
from libs.common.wire.redis_url import FORMS, is_redis_url
from libs.common.wire.web_address import is_web_address

REQUEST_MARGIN_MS: Final = 1_000
"""How much less than its lane's lease a broker request has. A wait in place and the age of the lease come out of this."""


LONGEST_DEADLINE_MS: Final = 3_000
"""When TradingView hangs up: no answer after it reaches anybody."""


DEFAULT_REQUEST_EXPIRY_MS: Final = 5_000

MOST_REPLICAS: Final = 10


class Durability(StrEnum):
    """What Redis must promise before a process starts."""

    ALWAYS = "always"
    """Fsync on every write: an acknowledged alert survives a crash of the machine."""
    EVERYSEC = "everysec"
    """Fsync each second: a crash of the machine may lose the last second, alerts answered 200 as well as the records
    of orders that have left. These are looked up at their venues before anything is sent again."""
    DECLARED = "declared"
    """Not checked, since a managed server bars CONFIG; you vouch for it."""
    NONE = "none"
    """No promise: a restart of Redis may lose everything."""


class RedisSettings(Section, frozen=True, kw_only=True):
    """Where the alerts are kept."""

    url: str = "redis://127.0.0.1:6379/0"
    """`redis://`, `rediss://` (TLS; behind a `?` ssl_ca_certs, ssl_certfile and ssl_keyfile name its files), `unix://`; with
    Sentinels `redis+sentinel://` or `rediss+sentinel://`, all of them and what they watch, `host:port,host:port/service`;
    for a Redis Cluster `redis+cluster://` or `rediss+cluster://` with some of its nodes; the environment's REDIS_URL comes
    first."""
    shards: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 1
    """Parts that accounts are spread over, each on one primary of a Redis Cluster. More: more primaries share the work;
    an alert for accounts of several shards takes two round trips. It cannot be changed once Redis holds anything."""
    durability: Durability = Durability.ALWAYS
    """What Redis must promise; a process refuses to start on less."""
    replicas: Annotated[int, msgspec.Meta(ge=0, le=MOST_REPLICAS)] = 0
    """Replicas that must have an alert before it is answered 200, and an order's intent before it is sent. More: a fail-over
    loses nothing acknowledged while so many others have it; each call waits for them, and without them nothing is taken."""

    def __post_init__(self) -> None:
        if not is_redis_url(self.url):
            raise WrongValue("url", FORMS)


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
    link_traceparent: bool = False
    """Whether the span of a post is linked to what its `traceparent` header names. It never becomes part of that trace."""

    def __post_init__(self) -> None:
        if self.deadline_ms > LONGEST_DEADLINE_MS:
            raise WrongValue("deadline", "at most 3s, for TradingView hangs up then")
        if self.port == self.ops_port:
            raise WrongValue("ops_port", "another port than `port`")
        if self.public_url is not None and not is_web_address(self.public_url):
            raise WrongValue("public_url", "an http:// or https:// address")


class WorkerSettings(Section, frozen=True, kw_only=True):
    """The processes that execute lanes."""

    ops_host: str = "127.0.0.1"
    """Address of probes and metrics; never the open internet."""
    ops_port: Port = 9_110
    """Port of probes and metrics; `bascule up` gives worker n this plus n."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Lanes one worker executes at a time; with several shards so many of each, lest one that stands still takes the slots of
    the others. More: more orders under way at a slow broker, more memory."""
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


class LimitsSettings(Section, frozen=True, kw_only=True):
    """How much is let through: to venues, where an account sets no limits of its own, and into Redis.

    `paper` and `log` accounts have no limits of orders unless they set one.
    """

    symbol: LimitSettings = LimitSettings()
    """For each symbol of an account. Low: bursts wait, and may expire. High: the venue refuses."""
    account: AccountLimitSettings = AccountLimitSettings()
    """For all symbols of an account together."""
    memory: Annotated[float, msgspec.Meta(gt=0, le=0.95)] = 0.8
    """The share of Redis' maxmemory, or without one of its machine's memory, from which on alerts are answered 503. What
    is left is for workers, to end what is queued. High: little is left. Low: memory lies idle."""
    backlog: Count = 10_000
    """Instructions waiting in one lane, from which on alerts for it are answered 503. High: alerts wait, and expire. Low:
    bursts are refused."""


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


class BreakerExits(StrEnum):
    """What an open breaker does to orders that only lessen a position."""

    WAIT = "wait"
    """As to any other."""
    PASS = "pass"  # noqa: S105 - a word, not a secret
    """It lets them through."""


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
    exits: BreakerExits = BreakerExits.WAIT
    """What becomes of orders that only lessen a position while it is open."""


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
    watchdog: WatchdogSettings = WatchdogSettings()
    alarms: AlarmSettings = AlarmSettings()

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
            variables: tuple[str | None, ...] = ()
            if isinstance(account, HttpAccount):
                variables = (account.secret,)
            elif isinstance(account, CcxtAccount):
                variables = (account.api_key, account.secret, account.password)
            for variable in variables:
                if variable is not None:
                    users.setdefault(variable, f"account {account_name}")
        if self.alarms.url_variable is not None:
            users.setdefault(self.alarms.url_variable, "alarms")
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
