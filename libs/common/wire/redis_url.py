"""The forms of addresses of Redis."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

CLUSTER_SCHEMES: Final[Mapping[str, str]] = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""How addresses of a Redis Cluster begin, and as what each of its nodes is spoken to."""

SENTINEL_SCHEMES: Final[Mapping[str, str]] = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""How addresses begin that name Sentinels, and as what these and the servers are spoken to."""

FORMS: Final = "a redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster:// address"

URL_PASSWORDS: Final = frozenset({"password", "sentinel_password"})
"""Options behind the `?` of an address that nobody may see."""

DEFAULT_PORT: Final = 6_379
DEFAULT_SENTINEL_PORT: Final = 26_379

_SINGLE_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})


def is_redis_url(url: str) -> bool:
    """Tell whether a text has the form of an address of Redis; more may be wrong with it, see `store/address.py`."""
    try:
        parts = urlsplit(url)
        if parts.scheme in CLUSTER_SCHEMES:
            return bool(read_nodes(parts.netloc))
        if parts.scheme in SENTINEL_SCHEMES:
            return bool(read_nodes(parts.netloc) and read_service(parts.path))
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in _SINGLE_SCHEMES and bool(parts.netloc or parts.path)


def read_nodes(netloc: str, *, default_port: int = DEFAULT_PORT) -> tuple[tuple[str, int], ...]:
    """Return hosts and ports of `user:password@host:port,host:port`; at least one.

    Raises:
        ValueError: One of them is none.
    """
    nodes = []
    for text in netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise ValueError("its nodes are not written as host:port,host:port")
        nodes.append((one.hostname, default_port if one.port is None else one.port))
    return tuple(nodes)


def read_service(path: str) -> tuple[str, str]:
    """Return what `/service` or `/service/db` names: the service that Sentinels watch, and the database, empty for 0.

    Raises:
        ValueError: It names no service, or more.
    """
    service, _, database = path.removeprefix("/").partition("/")
    if not service or not (database or "0").isdecimal():
        raise ValueError(
            "after the sentinels it names no service: host:port,host:port/service or .../service/0"
        )
    return unquote(service), database
