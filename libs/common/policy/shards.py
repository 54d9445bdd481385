"""Which shard holds an account."""

import zlib
from typing import Final

from libs.common.domain.ids import AccountName

HASH: Final = "crc32"
"""How accounts are spread; stands in Redis. Another hash would be another layout of what is there."""

MOST: Final = 256
"""Shards: more than a Redis Cluster that serves a bridge has primaries."""


def shard_of(account: AccountName, count: int) -> int:
    """Return the number of an account's shard, in `[0, count)`; the same for ever, on every machine."""
    return zlib.crc32(account.encode()) % count
