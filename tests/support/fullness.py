"""Fills a Redis to a share of its memory, by moving its limit."""

from typing import Any, Final

from tests.support.bridge import Bridge
from tests.support.eventually import eventually

BALLAST_BYTES: Final = 8_000_000
"""Without it a share would change with every connection."""


def use_memory(client: Any, share: float) -> None:
    """Set the limit so that this share of it is used; above 1 nothing can be written by who may not when it is full.

    Args:
        client: A synchronous one.
        share: Of the limit; 0 takes the limit away.
    """
    client.config_set("maxmemory", 0)
    if not share:
        return
    if not client.exists("ballast"):
        # Not sent, which would leave buffers of its size behind for a while.
        client.setrange("ballast", BALLAST_BYTES, "x")
        client.expire("ballast", 600)
    found = client.info("memory")
    client.config_set("maxmemory", int((found["used_memory"] - found["mem_not_counted_for_evict"]) / share))


async def fill(bridge: Bridge, share: float) -> None:
    """Have so much used that alerts are refused, and wait until each ingress has heard it.

    What it heard before of a Redis with plenty holds for a moment, in which no alerts could have filled it.
    """
    use_memory(bridge.client, share)
    await eventually(lambda: all(one.metric("bascule_door_open") == 0 for one in bridge.ingresses))
