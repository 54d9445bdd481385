"""Webhooks of the configuration, as the ones made at run time are: with digests in place of their secrets."""

import secrets
from collections.abc import Mapping
from typing import Final

from libs.common.domain.ids import WebhookName
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import DedupWindows, Demand, Webhook
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.webhook_settings import Auth, WebhookSettings

_SALT_BYTES: Final = 8


def fresh_salt() -> str:
    """Return a salt for one secret."""
    return secrets.token_hex(_SALT_BYTES)


def declared_webhook(name: WebhookName, settings: WebhookSettings, environ: Mapping[str, str]) -> Webhook:
    """Return what a section of the configuration describes.

    Raises:
        ConfigError: A secret that it names is missing.
    """
    rate = settings.rate
    dedup = DedupWindows(
        # Plain numbers: the client packs those fastest.
        id_ms=int(settings.dedup_ms),
        bar_ms=int(settings.dedup_bar_ms),
        body_ms=int(settings.dedup_body_ms),
        entries_per_bar=settings.entries_per_bar,
    )
    return Webhook(
        name=name,
        accounts=settings.accounts,
        tokens=() if settings.token is None else (_hashed_token(settings.token, environ),),
        secrets=()
        if settings.secret is None
        else (hash_secret(read_secret(settings.secret, environ).reveal(), fresh_salt()),),
        demands=tuple(Demand(one.value) for one in settings.auth if one is not Auth.URL),
        signing_keys=settings.signing_keys,
        dialect=settings.dialect,
        options=settings.options,
        allow=settings.allow,
        only=settings.only.only(),
        limit=None if rate.is_off else Limit(rate.interval_us, settings.burst or rate.count),
        max_body_bytes=settings.max_body,
        max_age_ms=int(settings.max_age_ms),
        max_age_exits_ms=int(settings.max_age_exits_ms),
        clock_skew_ms=int(settings.clock_skew_ms),
        dedup=dedup,
    )


def _hashed_token(variable: str, environ: Mapping[str, str]) -> HashedToken:
    return HashedToken(token_digest(read_secret(variable, environ).reveal()))
