"""A webhook: whom it lets in, how much, how alerts are read, and where they go."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from libs.common.domain.alert import AlertContent, is_exit
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.allowance import Only
from libs.common.policy.authentication import HashedSecret, HashedToken
from libs.common.policy.limits import Limit

RUN_TIME_LIMIT: Final = Limit(interval_us=2_000_000, burst=120)
"""30 a minute, and the alerts of a whole watch list at one candle's close."""

RUN_TIME_MAX_BODY: Final = 25_000
"""Bytes; what Algo Trade Analytics allows."""


class Demand(StrEnum):
    """What a post must present besides the token in its URL."""

    SECRET = "secret"  # noqa: S105 - a word, not a secret
    """The secret in the body, where the dialect has a place for one; or a signature instead."""
    SIGNATURE = "signature"
    """An HMAC-SHA256 of the body in `X-Signature` or `X-Signature-256`."""
    CERTIFICATE = "certificate"
    """TradingView's client certificate, as verified by a proxy that the configuration names."""


class DedupWindows(msgspec.Struct, frozen=True, kw_only=True):
    """How long an alert is recognised as the same one."""

    id_ms: int = 86_400_000
    """By the sender's own id."""
    bar_ms: int = 60_000
    """By strategy, bar, symbol and action."""
    body_ms: int = 30_000
    """By its body: twice the 15 s in which TradingView sends again, shorter than most meant repeats."""
    entries_per_bar: int = 1
    """How many alerts of one strategy, bar, symbol and action are meant, for strategies that pyramid."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that rules the posts to one webhook; also how one made at run time is stored, defaults and all:
    those of a later version must not change it.
    """

    name: WebhookName
    accounts: tuple[AccountName, ...]
    """Every alert becomes one instruction for each of these."""
    tokens: tuple[HashedToken, ...] = ()
    """Of its URL; none where it has a path of its own."""
    secrets: tuple[HashedSecret, ...] = ()
    demands: tuple[Demand, ...] = (Demand.SECRET,)
    """Empty: the URL's token is enough."""
    signing_keys: tuple[str, ...] = ()
    """Names of keys in the configuration: a signature with any of them is valid."""
    dialect: str | None = None
    """The only one it takes; None recognises each alert's."""
    options: Mapping[str, str] = {}
    """What it settles about that dialect."""
    allow: tuple[str, ...] = ()
    """Source addresses, networks and names of sets; empty: any."""
    only: Only = Only()
    limit: Limit | None = None
    """How many alerts are admitted, over all ingresses; None: all."""
    max_body_bytes: int = RUN_TIME_MAX_BODY
    max_age_ms: int = 60_000
    max_age_exits_ms: int = 600_000
    """For alerts that only ever lessen a position, or cancel."""
    clock_skew_ms: int = 5_000
    dedup: DedupWindows = DedupWindows()
    is_disabled: bool = False
    created_at_ms: int = 0
    """0 where it stands in the configuration."""

    def max_age_of(self, content: AlertContent) -> int:
        """Return how old an alert may become, ms: as old as both it and the webhook allow."""
        longest_ms = max(self.max_age_ms, self.max_age_exits_ms) if is_exit(content) else self.max_age_ms
        own_ms = content.max_age_ms
        return longest_ms if own_ms is None else min(own_ms, longest_ms)
