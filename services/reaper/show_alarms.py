"""Shows in every reaper's metrics what the one whose turn it is has found."""

from typing import Final

from libs.common.policy.alarms import AlarmKind
from libs.common.store.alarms import Alarms
from libs.common.store.watch import Watch
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics

INTERVAL_S: Final = 2.0


class ShowAlarms:
    """Counts what is raised."""

    name = "show_alarms"

    def __init__(self, alarms: Alarms, watch: Watch, metrics: WatchdogMetrics) -> None:
        self._alarms = alarms
        self._watch = watch
        self._metrics = metrics

    async def run_once(self) -> float:
        """Read them once more."""
        kinds = [alarm.kind for alarm in await self._alarms.raised()]
        self._metrics.raised({kind: kinds.count(kind) for kind in AlarmKind})
        watched = await self._watch.count_habits()
        self._metrics.strategies(watched=watched, silent=kinds.count(AlarmKind.SILENCE))
        self._metrics.refusals(is_rising=AlarmKind.REFUSALS in kinds)
        return INTERVAL_S
