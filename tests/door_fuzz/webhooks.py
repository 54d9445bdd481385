"""Webhooks of every kind, each with credentials of its own, for an ingress to be tried at."""

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.allowance import Only
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import DedupWindows, Demand, Webhook
from libs.common.wire.dialects.catalogue import DIALECTS
from tests.support.bridge_config import ACCOUNT

_DESK: Final = (AccountName(ACCOUNT),)
_LENGTH: Final = 24

_KINDS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "open": {},
        "url": {"demands": (), "secrets": ()},
        "signed": {"demands": (Demand.SIGNATURE,), "signing_keys": ("relay",)},
        "certified": {"demands": (Demand.CERTIFICATE,)},
        "all": {"demands": tuple(Demand), "signing_keys": ("relay", "other")},
        "addresses": {"allow": ("tradingview", "10.1.0.0/16")},
        "slow": {"limit": Limit(interval_us=5_000_000, burst=5)},
        "two": {"accounts": (*_DESK, AccountName("strict"))},
        "strict": {"accounts": (AccountName("strict"),)},
        "nowhere": {"accounts": (AccountName("nowhere"),)},
        "pyramid": {"dedup": DedupWindows(entries_per_bar=3)},
        "brief": {"dedup": DedupWindows(id_ms=1, bar_ms=1, body_ms=1), "max_age_ms": 1},
        "small": {"max_body_bytes": 150},
        "buys": {"only": Only(actions=(Action.BUY,), symbols=("BTC*", "ETHUSDT"), exchanges=("BINANCE",))},
        "disabled": {"is_disabled": True},
        "keyless": {"demands": (Demand.SIGNATURE,), "signing_keys": ("unknown",)},
    }
)


@dataclass(frozen=True)
class Target:
    """Where to post, and with what."""

    name: str
    secret: str
    """In the body."""
    token: str | None = None
    """Of the URL; None: `/webhook`."""
    dialect: str | None = None
    """The only one it takes."""


@dataclass
class Credentials:
    """Makes up secrets, and remembers them all."""

    chance: random.Random
    made: list[str] = field(default_factory=list)

    def make(self) -> str:
        """Return one more: nothing else looks like it."""
        secret = "".join(self.chance.choices(string.ascii_letters + string.digits, k=_LENGTH))
        self.made.append(secret)
        return secret


def made_webhooks(credentials: Credentials) -> list[tuple[Webhook, Target]]:
    """Return webhooks as they are made at run time: of every kind, and pinned to every dialect."""
    kinds = dict(_KINDS)
    for dialect in DIALECTS:
        options = {name: min(values) for name, values in dialect.options.items()}
        kinds[f"pinned-{dialect.name}"] = {"dialect": dialect.name, "options": options}
    made = []
    for name, changes in kinds.items():
        token, old = credentials.make(), credentials.make()
        # Of a webhook without secrets no word is one.
        secret = "no-secret-at-all" if changes.get("secrets") == () else credentials.make()
        whole: dict[str, Any] = {
            "name": WebhookName(name),
            "accounts": _DESK,
            "tokens": (HashedToken(token_digest(token)),),
            "secrets": (hash_secret(secret, "new"), hash_secret(old, "old", expires_at_ms=4_000_000_000_000)),
            "created_at_ms": 1,
        }
        made.append((Webhook(**{**whole, **changes}), Target(name, secret, token, changes.get("dialect"))))
    return made
