"""Looks again whether this Redis keeps every write: its settings and its replicas may change while it runs."""

from collections.abc import Awaitable, Callable
from typing import Final

INTERVAL_S: Final = 1.0


class Look:
    """A change that a crash follows before the next pass is not noticed."""

    name = "look"

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        """Args:
        look: `Incarnations.look` at the reaper's own Redis.
        """
        self._look = look

    async def run_once(self) -> float:
        """Note it where a write may be lost from now on."""
        await self._look()
        return INTERVAL_S
