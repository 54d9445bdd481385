"""What a call waits for after its script: replicas that have what it wrote, so that a fail-over does not lose it.

WAIT and WAITAOF count the replicas that have all that their connection wrote so far. From Redis 7.2 on a connection that
wrote nothing waits for nothing, so an answer that repeats an earlier one would count though no replica has that: such
calls write something of their own before they wait.

A replica that is asked what is on its disk answers before it has written what came with the question, and again only
a second later. So it is asked for its memory first, and for its disk once it has told of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.sending import Command, packed

SHARE: Final = 0.25
"""The part of a call's time-out that replicas have for their memory, and again for their disk: who is too late is told so,
and is not taken for silent."""

ONCE_MORE_MS: Final = 50
"""After this time a replica is asked for its disk again."""

STAMP_MS: Final = 10_000
"""How long what is written for a repeated answer stays."""

_STAMP: Final = "redis.pcall('XDEL', KEYS[1], '1-1') return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])"
"""At the memory limit Redis denies SET, but not in a script that has called what it does not deny: a halt is set then of all times."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sent behind a script."""

    words: bytes
    count: int
    """How many answers there are to it."""
    needed: int
    """How many replicas must have what was written."""


NOTHING: Final = Asked(b"", 0, 0)


class Copies:
    """How many replicas must have what a call wrote."""

    def __init__(self, replicas: int, *, is_on_disk: bool, timeout_s: float, stamp: str = "") -> None:
        """Args:
        replicas: At least so many; at least one.
        is_on_disk: Whether it must be on their disks, where Redis can say so (7.2 and newer); else in their memory.
        timeout_s: Of the call.
        stamp: A key to write before, where answers may repeat what was written earlier; see above.
        """
        self._replicas = replicas
        self._timeout_ms = int(timeout_s * SHARE * 1_000)
        self._asks_for_disks = is_on_disk
        self._stamps: tuple[Command, ...] = (("EVAL", _STAMP, 1, stamp, STAMP_MS),) if stamp else ()

    @classmethod
    def wanted(cls, replicas: int, durability: str, *, timeout_s: float, stamp: str = "") -> "Copies | None":
        """Return what the configuration wants; None where it wants no replica to have anything."""
        if not replicas:
            return None
        return cls(replicas, is_on_disk=durability == "always", timeout_s=timeout_s, stamp=stamp)

    def asked(self, electable: int) -> Asked:
        """Return what is sent behind the script, on the same connection and so to the same server.

        Args:
            electable: Replicas that may take over at any moment, as far as is known. All of them must have it, or one that
                was replaced and runs on goes on with those that are left.
        """
        needed, ms = max(self._replicas, electable), self._timeout_ms
        commands: tuple[Command, ...] = (*self._stamps, ("WAIT", needed, ms))
        if self._asks_for_disks:
            commands += (
                ("WAITAOF", 1, needed, min(ONCE_MORE_MS, ms)),
                ("WAITAOF", 1, needed, ms),
            )
        return Asked(b"".join(map(packed, commands)), len(commands), needed)

    def judge(self, asked: Asked, replies: Sequence[Any]) -> None:
        """Make sure that enough replicas have it.

        Args:
            asked: What was sent.
            replies: To that; errors as they came.

        Raises:
            RedisError: One of them.
            StoreUnavailable: Too few have it.
        """
        # An older Redis can only say what is in their memory. The next one, after a fail-over, may be newer: it is asked again.
        known = [reply for reply in replies if not _is_unknown(reply)]
        for reply in known:
            if isinstance(reply, RedisError):
                raise reply
        found = known[-1]
        count = int(found[1] if isinstance(found, list) else found)
        if count < asked.needed:
            raise StoreUnavailable(
                f"{count} of {asked.needed} replicas had it within {self._timeout_ms} ms: nothing counts until they do"
            )


def _is_unknown(reply: Any) -> bool:
    return isinstance(reply, ResponseError) and "unknown command" in str(reply).lower()
