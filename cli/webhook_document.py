"""A webhook as `--json` and people see it: never a digest of its credentials. Field names are an interface: they stay."""

from collections.abc import Iterable
from typing import Final

from cli.documents import Document
from cli.output import cell, when, write
from cli.webhook_place import Place
from cli.webhook_url import TOKEN, hook_url
from libs.common.policy.authentication import HashedSecret, HashedToken
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import Webhook
from libs.common.runtime.durations import UNIT_MS, format_duration
from libs.common.wire.dialects.catalogue import BY_NAME

_RATE_UNITS: Final = ("s", "min", "h", "d")
_LABEL_WIDTH: Final = 18


SHOWN_ONCE: Final = "shown this once: only digests of tokens and secrets are kept"


def webhook_document(webhook: Webhook, place: Place, now_ms: int) -> Document:
    """Return a webhook.

    Args:
        webhook: As it is stored or declared.
        place: Where it is served.
        now_ms: Tells which of its old credentials are still accepted.
    """
    limit, dedup, only = webhook.limit, webhook.dedup, webhook.only
    return {
        "name": webhook.name,
        "declared": webhook.name in place.declared,
        "disabled": webhook.is_disabled,
        "url": hook_url(place.base_url, TOKEN if webhook.tokens else None),
        "accounts": list(webhook.accounts),
        "dialect": webhook.dialect,
        "options": dict(webhook.options),
        "auth": [one.value for one in webhook.demands] or ["url"],
        "signing_keys": list(webhook.signing_keys),
        "allow": list(webhook.allow),
        "only": {
            "actions": [one.value for one in only.actions],
            "exchanges": list(only.exchanges),
            "symbols": list(only.symbols),
        },
        "rate": rate_text(limit),
        "burst": None if limit is None else limit.burst,
        "max_age_ms": webhook.max_age_ms,
        "max_body_bytes": webhook.max_body_bytes,
        "clock_skew_ms": webhook.clock_skew_ms,
        "dedup_ms": dedup.id_ms,
        "dedup_bar_ms": dedup.bar_ms,
        "dedup_body_ms": dedup.body_ms,
        "entries_per_bar": dedup.entries_per_bar,
        "old_url_until_ms": _last_expiry(webhook.tokens, now_ms),
        "old_secret_until_ms": _last_expiry(webhook.secrets, now_ms),
        "created_at_ms": webhook.created_at_ms or None,
    }


def show_webhook(document: Document, now_ms: int) -> None:
    """Write a webhook for people."""
    only = document["only"]
    burst = "" if document["burst"] is None else f", {document['burst']} at once"
    facts = (
        ("webhook", document["name"]),
        ("state", state_text(document)),
        ("url", document["url"]),
        ("accounts", ", ".join(document["accounts"])),
        ("dialect", document["dialect"] or "any, recognised by its shape"),
        ("options", ", ".join(f"{name}={value}" for name, value in document["options"].items())),
        ("demands", auth_text(document)),
        ("signing keys", ", ".join(document["signing_keys"])),
        ("allowed from", ", ".join(document["allow"]) or "any address"),
        ("only actions", ", ".join(only["actions"])),
        ("only exchanges", ", ".join(only["exchanges"])),
        ("only symbols", ", ".join(only["symbols"])),
        ("rate", f"{document['rate']}{burst}"),
        ("max age", format_duration(document["max_age_ms"])),
        ("max body", f"{document['max_body_bytes']} bytes"),
        ("repeats", _repeats(document)),
        ("old url until", _until(document["old_url_until_ms"], now_ms)),
        ("old secret until", _until(document["old_secret_until_ms"], now_ms)),
        ("made", _until(document["created_at_ms"], now_ms)),
    )
    for label, value in facts:
        if value:
            write(f"{label:<{_LABEL_WIDTH}}{cell(value)}")


def state_text(document: Document) -> str:
    """Return in a word whether a webhook is served."""
    if document["disabled"]:
        return "disabled"
    return "declared" if document["declared"] else "enabled"


def auth_text(document: Document) -> str:
    """Return what a post must present."""
    demands = [one for one in document["auth"] if one != "url"]
    dialect = BY_NAME.get(document["dialect"] or "")
    if dialect is not None and dialect.credential is None:
        demands = ["secret where there is one" if one == "secret" else one for one in demands]
    # The default webhook has a path that everybody knows, so its URL is no credential.
    return " + ".join(["url", *demands] if document["url"].endswith(f"/hooks/{TOKEN}") else demands)


def rate_text(limit: Limit | None) -> str:
    """Return a limit's rate as the configuration writes it."""
    if limit is None:
        return "off"
    for unit in _RATE_UNITS:
        unit_us = UNIT_MS[unit] * 1_000
        count = round(unit_us / limit.interval_us)
        if count and unit_us // count == limit.interval_us:
            return f"{count}/{unit}"
    return f"1/{max(1, round(limit.interval_us / 1_000))}ms"


def _last_expiry(credentials: Iterable[HashedSecret | HashedToken], now_ms: int) -> int | None:
    """Return when the last of those that were replaced ceases to be accepted; None where none is any more."""
    ends = [one.expires_at_ms for one in credentials if one.expires_at_ms is not None]
    return max((end for end in ends if end > now_ms), default=None)


def _repeats(document: Document) -> str:
    lengths = [format_duration(document[name]) for name in ("dedup_ms", "dedup_bar_ms", "dedup_body_ms")]
    entries = document["entries_per_bar"]
    pyramid = "" if entries == 1 else f", {entries} entries a bar"
    return f"by id {lengths[0]}, by bar {lengths[1]}, by body {lengths[2]}{pyramid}"


def _until(at_ms: int | None, now_ms: int) -> str | None:
    return None if at_ms is None else when(at_ms, now_ms)
