"""The settings of what alerts are posted to."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Final

import msgspec

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.allowance import Only
from libs.common.runtime.durations import DurationMs, DurationOrZeroMs, Rate
from libs.common.runtime.sections import Section, WrongValue
from libs.common.runtime.setting_values import VARIABLE, VARIABLE_FORM, Count
from libs.common.wire.dialects.catalogue import BY_NAME

DEFAULT_WEBHOOK: Final = WebhookName("default")
"""The webhook that `POST /webhook` serves."""


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
    max_age_exits_ms: DurationMs = msgspec.field(default=DurationMs(600_000), name="max_age_exits")
    """The same for alerts that only ever lessen a position, or cancel; at least `max_age` in any case."""
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
