"""URLs of webhooks, and what keeps TradingView from posting to one."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from cli.addresses import webhook_url

TOKEN: Final = "<TOKEN>"  # noqa: S105 - stands for one
"""What stands for a token that cannot be shown any more."""

_PORTS: Final = (80, 443)


def hook_url(base: str | None, token: str | None) -> str:
    """Return where alerts for a webhook are posted to; the path alone where nothing says where the ingress is.

    Args:
        base: The ingress's address.
        token: The webhook's; None for the default webhook, which has none.
    """
    base = (base or "").rstrip("/")
    return webhook_url(base) if token is None else f"{base}/hooks/{token}"


def url_warnings(url: str) -> list[str]:
    """Return in words why TradingView would not post to a URL, or not safely; none where all is well."""
    parts = urlsplit(url)
    found = _host_warnings(parts.hostname or "")
    if parts.scheme != "https":
        found.append(
            f"{parts.scheme}:// is not encrypted: whoever listens on the way reads tokens and secrets; use https://"
        )
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is not None and port not in _PORTS:
        found.append(f"TradingView refuses port {port}: it posts to ports 80 and 443 only")
    return found


def _host_warnings(host: str) -> list[str]:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return [f"TradingView cannot reach {host}: localhost is this machine alone"]
        if "." not in host or host.endswith((".local", ".internal", ".lan")):
            return [f"TradingView cannot reach {host}: that name is known in your own network alone"]
        return []
    if isinstance(address, IPv6Address):
        return [f"TradingView cannot reach {host}: it does not post to IPv6 addresses", *_private(address)]
    return _private(address)


def _private(address: IPv4Address | IPv6Address) -> list[str]:
    if address.is_loopback or address.is_unspecified:
        return [f"TradingView cannot reach {address}: localhost is this machine alone"]
    if not address.is_global:
        return [f"TradingView cannot reach {address}: it is a private address"]
    return []
