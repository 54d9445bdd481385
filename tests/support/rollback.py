"""Takes a Redis back to an earlier moment, as a fail-over to a replica does that lacked the newest writes."""

from typing import Any

import redis


class Rollback:
    """What a server held at one moment.

    Args:
        client: Of the server; used with its own decoding switched off.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._raw: Any = redis.Redis(
            connection_pool=redis.ConnectionPool(
                connection_class=client.connection_pool.connection_class,
                **{**client.connection_pool.connection_kwargs, "decode_responses": False},
            )
        )
        self._kept: dict[bytes, tuple[bytes, int]] = {}

    def keep(self) -> None:
        """Remember all there is, with pending lists and what expires when."""
        keys = self._raw.keys("*")
        pipeline = self._raw.pipeline(transaction=True)
        for key in keys:
            pipeline.dump(key)
            pipeline.pttl(key)
        found = pipeline.execute()
        kept = zip(keys, found[::2], found[1::2], strict=True)
        self._kept = {key: (value, max(0, ttl)) for key, value, ttl in kept if value is not None}

    def fall_back(self) -> None:
        """Lose everything that was written since."""
        pipeline = self._raw.pipeline(transaction=True)
        pipeline.flushall()
        for key, (value, ttl) in self._kept.items():
            pipeline.restore(key, ttl, value)
        pipeline.execute()

    def close(self) -> None:
        """Close its connections."""
        self._raw.close()
