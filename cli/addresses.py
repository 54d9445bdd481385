"""Addresses of the ingress, as this machine and as TradingView reach it."""

from typing import Final

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - not listened on


def reachable(host: str) -> str:
    """Return the address by which this machine reaches who listens on `host`."""
    return _ANY_ADDRESS.get(host, host)


def local_url(host: str, port: int) -> str:
    """Return the URL by which this machine reaches who listens there."""
    host = reachable(host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def webhook_url(base: str) -> str:
    """Return where alerts are posted to at an ingress."""
    return f"{base.rstrip('/')}/webhook"
