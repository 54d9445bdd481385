"""Whether alerts are taken at all: only once Redis has been found fit to keep them."""

from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger

log = get_logger()


class Door:
    """Closed until it is opened, once."""

    def __init__(self, metrics: IngressMetrics) -> None:
        self._metrics = metrics
        self.is_open = False

    def open(self) -> None:
        """Take alerts from now on."""
        self.is_open = True
        self._metrics.opened()
        log.info("door_opened")
