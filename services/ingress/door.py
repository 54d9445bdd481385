"""Whether alerts are taken at all: only once Redis has been found fit to keep them, and while it has room."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import LaneName
from libs.common.policy.room import Room
from libs.common.store.checks import ServerFacts
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger
from services.ingress.sampling import Sampler

MEMORY_FULL: Final = "memory_full"
LANE_FULL: Final = "lane_full"
FULL: Final = frozenset({MEMORY_FULL, LANE_FULL})
"""Codes of 503s that are logged here: once, and not for every alert."""

RETRY_AFTER_S: Final = 5
"""When to send again what found no room: about when TradingView does by itself."""

LANE_LOGGED_EVERY_MS: Final = 60_000
"""A lane that is full is full and not full by turns, with every instruction that ends."""

_LANES_KNOWN: Final = 1_000

NO_FACTS: Final[Mapping[str, int]] = MappingProxyType({})

log = get_logger()


class Door:
    """Closed until Redis was found fit, and whenever it is found unfit later; nothing is admitted while it is full."""

    def __init__(
        self, room: Room, metrics: IngressMetrics, clock: Clock, *, facts: Mapping[str, int] = NO_FACTS
    ) -> None:
        """Args:
        room: Tells whether Redis is full, from what admissions heard.
        metrics: Show it.
        clock: Spaces log lines.
        facts: Stand on them, where there are several doors.
        """
        self.room = room
        self._clock = clock
        self._full_lanes: dict[LaneName, Sampler] = {}
        self.is_open = False
        """Whether Redis was found fit. What it is too full for is still asked of it: it knows repeats."""
        self.has_opened = False
        """Whether it ever was."""
        self.reason = "Redis has not been found fit since the start"
        """Why it is closed, where it is."""
        self._facts = facts
        room.on_change = self._heed
        metrics.watch_door(lambda: self.is_open and not room.is_full, lambda: room.share)

    def open(self) -> None:
        """Take alerts from now on, as far as there is room."""
        self.is_open = self.has_opened = True
        log.info("door_opened", **self._facts)

    def judge(self, broken: str | None) -> None:
        """Close for the promise that Redis breaks, or open where it breaks none."""
        if broken is None:
            self.open()
            return
        self.is_open = False
        self.reason = broken
        log.error("door_closed", reason=broken, **self._facts)

    def weigh(self, facts: ServerFacts) -> None:
        """Note how full Redis is, for times when no alert comes that would hear it."""
        self.room.learn(facts.used_bytes, facts.memory_bytes, self._clock.monotonic_ms())

    def memory_refusal(self) -> AdmissionError:
        """Return the answer to an alert that Redis is too full for."""
        detail = f"{self.room.words}: send it again later"
        return AdmissionError(503, MEMORY_FULL, detail, retry_after_s=RETRY_AFTER_S)

    def lane_refusal(self, lane: LaneName, waiting: int) -> AdmissionError:
        """Return the answer to an alert for a lane that is too full for it."""
        most = self.room.backlog
        if count := self._sampler(lane).take():
            log.warning("lane_full", lane=lane, waiting=waiting, most=most, count=count)
        detail = f"{waiting} instructions wait in lane {lane}, and at most {most} may: send it again later"
        return AdmissionError(503, LANE_FULL, detail, retry_after_s=RETRY_AFTER_S)

    def _sampler(self, lane: LaneName) -> Sampler:
        found = self._full_lanes.get(lane)
        if found is None:
            if len(self._full_lanes) >= _LANES_KNOWN:
                self._full_lanes.clear()
            found = self._full_lanes[lane] = Sampler(self._clock, every_ms=LANE_LOGGED_EVERY_MS)
        return found

    def _heed(self) -> None:
        if self.room.is_full:
            log.error("memory_full", reason=self.room.words, **self._facts)
        else:
            log.info("memory_free", reason=self.room.words, **self._facts)
