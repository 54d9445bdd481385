"""Whether alerts are taken at all: only once Redis has been found fit to keep them."""

from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger

log = get_logger()


class Door:
    """Closed until Redis was found fit, and whenever it is found unfit later."""

    def __init__(self, metrics: IngressMetrics) -> None:
        self._metrics = metrics
        self.is_open = False
        self.reason = "Redis has not been found fit since the start"
        """Why it is closed, where it is."""

    def open(self) -> None:
        """Take alerts from now on."""
        self.is_open = True
        self._metrics.opened()
        log.info("door_opened")

    def judge(self, broken: str | None) -> None:
        """Close for the promise that Redis breaks, or open where it breaks none."""
        if broken is None:
            self.open()
            return
        self.is_open = False
        self.reason = broken
        self._metrics.closed()
        log.error("door_closed", reason=broken)
