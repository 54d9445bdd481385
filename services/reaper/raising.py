"""Raises and clears alarms of one kind, and says so once."""

from libs.common.policy.alarms import AlarmKind, Change
from libs.common.store.alarms import Alarm, Alarms
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics

log = get_logger()


class Raising:
    """Of several reapers the one whose call made the change logs and counts it."""

    def __init__(self, alarms: Alarms, metrics: WatchdogMetrics, kind: AlarmKind) -> None:
        self._alarms = alarms
        self._metrics = metrics
        self._kind = kind
        metrics.declare_alarms(kind)

    async def raised(self) -> dict[str, Alarm]:
        """Return those of the kind that are raised, by their subjects.

        Raises:
            StoreUnavailable: No answer.
        """
        return {one.subject: one for one in await self._alarms.raised() if one.kind == self._kind}

    async def raise_(self, subject: str, detail: str) -> None:
        """Raise one; where it is raised already, confirm it.

        Raises:
            StoreUnavailable: No answer: it may be raised.
        """
        if await self._alarms.note(self._kind, subject, Change.RAISED, detail):
            self._metrics.alarm(self._kind)
            log.warning("alarm_raised", kind=self._kind.value, subject=subject, detail=detail)

    async def clear(self, subject: str, detail: str) -> None:
        """Clear one, if it is raised.

        Raises:
            StoreUnavailable: No answer: it may be cleared.
        """
        if await self._alarms.note(self._kind, subject, Change.CLEARED, detail):
            log.info("alarm_cleared", kind=self._kind.value, subject=subject, detail=detail)
