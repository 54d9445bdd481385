"""Clears alarms of what is not watched any more: nobody else would."""

from collections.abc import Mapping
from typing import Final

from libs.common.policy.alarms import AlarmKind
from libs.common.store.alarms import Alarms
from services.reaper.raising import Raising

INTERVAL_S: Final = 30.0


class Unwatched:
    """Looks at kinds that the configuration switched off, or that it watches no more for another reason."""

    name = "unwatched"

    def __init__(self, alarms: Alarms, kinds: Mapping[AlarmKind, Raising]) -> None:
        """Args:
        alarms: Of a shard.
        kinds: Those that no duty watches there.
        """
        self._alarms = alarms
        self._kinds = {kind.value: raising for kind, raising in kinds.items()}

    async def run_once(self) -> float:
        """Clear what is raised of them."""
        for alarm in await self._alarms.raised():
            if alarm.kind in self._kinds:
                await self._kinds[alarm.kind].clear(alarm.subject, "not watched any more")
        return INTERVAL_S
