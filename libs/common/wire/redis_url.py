"""The forms of addresses of Redis."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

CLUSTER_SCHEMES: Final[Mapping[str, str]] = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""How addresses of a Redis Cluster begin, and as what each of its nodes is spoken to."""

FORMS: Final = "a redis://, rediss://, unix://, redis+cluster:// or rediss+cluster:// address"

DEFAULT_PORT: Final = 6_379

_SINGLE_SCHEMES: Final = frozenset({"redis", "rediss", "unix"})


def is_redis_url(url: str) -> bool:
    """Tell whether a text has the form of an address of Redis; more may be wrong with it, see `store/address.py`."""
    try:
        parts = urlsplit(url)
        if parts.scheme in CLUSTER_SCHEMES:
            return bool(read_nodes(parts.netloc))
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    return parts.scheme in _SINGLE_SCHEMES and bool(parts.netloc or parts.path)


def read_nodes(netloc: str) -> tuple[tuple[str, int], ...]:
    """Return hosts and ports of `user:password@host:port,host:port`; at least one.

    Raises:
        ValueError: One of them is none.
    """
    nodes = []
    for text in netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        if not one.hostname:
            raise ValueError("its nodes are not written as host:port,host:port")
        nodes.append((one.hostname, DEFAULT_PORT if one.port is None else one.port))
    return tuple(nodes)
