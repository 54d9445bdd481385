"""The configuration of a bridge under test, and the secrets that it names."""

from collections.abc import Mapping
from typing import Any, Final

SECRET: Final = "test-webhook-secret"
VENUE_SECRET: Final = "test-venue-secret"
ACCOUNT: Final = "desk"


def default_config(redis_url: str, broker: str, venue_url: str | None) -> dict[str, Any]:
    """Return one webhook that leads to one account, and no limits.

    Args:
        redis_url: Where its records are.
        broker: `paper` or `log`.
        venue_url: Where the orders go through the `http` broker instead.
    """
    account: dict[str, Any] = {"broker": broker, "default_quantity": 1}
    if broker == "paper":
        account["default_price"] = 100
    if venue_url is not None:
        account = {"broker": "http", "default_quantity": 1, "url": venue_url, "secret": "DESK_SECRET"}
    return {
        "redis": {"url": redis_url, "durability": "always"},
        "webhooks": {
            "default": {
                "secret": "WEBHOOK_SECRET",
                "accounts": [ACCOUNT],
                "rate": "off",
                "max_age": "60s",
            }
        },
        "accounts": {ACCOUNT: account},
        "limits": {"symbol": {"rate": "off", "burst": 1}, "account": {"rate": "off", "burst": 1}},
    }


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `over` laid on it, section by section; None takes a key away.

    A section that names another broker replaces the whole account, whose other keys would not fit.
    """
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(known, Mapping) and isinstance(value, Mapping):
            is_replaced = value.get("broker", known.get("broker")) != known.get("broker")
            merged[key] = dict(value) if is_replaced else merge(known, value)
        else:
            merged[key] = value
    return merged
