"""What a bridge keeps in Redis."""

from collections import Counter
from typing import Any, Final

import redis

from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service

ENDED: Final = frozenset({"EXECUTED", "REJECTED", "SKIPPED", "EXPIRED", "DEAD"})
"""As the tests have it, whatever the code under test says."""


class Stored:
    """Reads the records of the first shard.

    Args:
        url: Of the server itself, not of a proxy in front of it.
    """

    def __init__(self, url: str) -> None:
        self._read_url = url
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Return a synchronous client of the server itself."""
        if self._client is None:
            self._client = redis.Redis.from_url(
                self._read_url, decode_responses=True, protocol=2, socket_timeout=10.0, retry=None
            )
        return self._client

    def read_from(self, server: RedisServer) -> None:
        """Read keys from another server from now on: one that took over."""
        self.close_client()
        self._read_url = server.url

    def close_client(self) -> None:
        """Close the connections that were read on."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def instructions(self) -> dict[str, dict[str, str]]:
        """Return every instruction record, by `<alert id>:<account>`."""
        return self._records("instruction")

    def orders(self) -> dict[str, dict[str, str]]:
        """Return every order record, by client order id."""
        return self._records("order")

    def instruction_states(self) -> dict[str, str]:
        """Return the state of every instruction, by `<alert id>:<account>`."""
        return {name: record.get("state", "") for name, record in self.instructions().items()}

    def state_counts(self) -> Counter[str]:
        """Return how many instructions are in which state."""
        return Counter(self.instruction_states().values())

    async def wait_ended(self, count: int, timeout_s: float = 30.0) -> Counter[str]:
        """Wait until `count` instructions have ended and none is open; return the number per state."""

        def have_ended() -> Counter[str]:
            states = self.state_counts()
            ended = sum(number for state, number in states.items() if state in ENDED)
            assert ended >= count, f"{ended} of {count} ended: {dict(states)}"
            assert ended == states.total(), f"open: {dict(states)}"
            return states

        return await eventually(have_ended, timeout_s, 0.1, f"{count} instructions end")

    def held_lanes(self) -> dict[str, str]:
        """Return lane -> holder for every lane that a worker has opened."""
        held = {}
        fences: dict[str, str] = self.client.hgetall("bascule:{s0}:lanes")
        for lane, value in fences.items():
            holder = value.partition("|")[2]
            if holder:
                held[lane] = holder
        return held

    def lanes_held_by(self, worker: Service) -> list[str]:
        """Return the lanes a worker has opened and not handed back; a holder's name holds its process id."""
        return [
            lane
            for lane, holder in self.held_lanes().items()
            if holder.split("-")[-2:-1] == [str(worker.pid)]
        ]

    def dead_letters(self) -> list[dict[str, str]]:
        """Return the fields of every dead letter."""
        letters: list[tuple[str, dict[str, str]]] = self.client.xrange("bascule:{s0}:dead")
        return [fields for _, fields in letters]

    def _records(self, kind: str) -> dict[str, dict[str, str]]:
        prefix = f"bascule:{{s0}}:{kind}:"
        keys = sorted(set(self.client.scan_iter(match=f"{prefix}*", count=2_000)))
        with self.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            records = pipeline.execute()
        # One may have expired meanwhile.
        return {key.removeprefix(prefix): record for key, record in zip(keys, records, strict=True) if record}
