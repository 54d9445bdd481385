"""What goes wrong between a simulated exchange and whoever trades there, and how long it takes to answer."""

from dataclasses import dataclass
from enum import StrEnum

from libs.common.policy.retry import Uniform


class Fault(StrEnum):
    """What becomes of one request that does not simply succeed."""

    TIMEOUT_BEFORE = "timeout_before"
    """No answer; the order was not accepted."""
    TIMEOUT_AFTER = "timeout_after"
    """No answer; the order was accepted."""
    LATE_ACCEPT = "late_accept"
    """No answer; the order is accepted some time afterwards."""
    THROTTLED = "throttled"
    """429 with `Retry-After`; the order was not accepted."""
    SERVER_ERROR = "server_error"
    """500; the order was not accepted."""
    SERVER_ERROR_AFTER = "server_error_after"
    """500; the order was accepted."""
    MAINTENANCE = "maintenance"
    """503: the exchange says that it takes no orders."""
    REFUSED = "refused"
    """The order is refused for good, for no reason of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each happens: shares of all orders, 0 to 1, together 1 at most."""

    timeout_before: float = 0.0
    timeout_after: float = 0.0
    late_accept: float = 0.0
    throttled: float = 0.0
    server_error: float = 0.0
    server_error_after: float = 0.0
    maintenance: float = 0.0
    refused: float = 0.0
    look_up_lag_ms: int = 0
    """How long an order that was accepted stays unknown to look-ups."""
    retry_after_ms: int = 1_000
    """What a 429 asks for."""
    late_by_ms: int = 1_000
    """How long after its request an order is accepted late."""

    def share(self, fault: Fault) -> float:
        """Return how often a fault happens to an order."""
        share: float = getattr(self, fault.value)
        return share

    def draw(self, uniform: Uniform) -> Fault | None:
        """Return what happens to an order; None: nothing. The dice are thrown once, and not at all without faults."""
        return self._draw(tuple(Fault), uniform)

    def draw_for_look_up(self, uniform: Uniform) -> Fault | None:
        """Return what happens to a request that only asks."""
        return self._draw((Fault.THROTTLED, Fault.SERVER_ERROR, Fault.MAINTENANCE), uniform)

    def _draw(self, faults: tuple[Fault, ...], uniform: Uniform) -> Fault | None:
        shares = [(fault, share) for fault in faults if (share := self.share(fault))]
        if not shares:
            return None
        thrown = uniform(0, 1)
        for fault, share in shares:
            if thrown < share:
                return fault
            thrown -= share
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers take: most are near the least, few near the most."""

    least_ms: int = 0
    most_ms: int = 0
    """At least `least_ms`."""

    def draw_ms(self, uniform: Uniform) -> int:
        """Return the time of one answer; the dice are thrown only where there is a range."""
        if self.most_ms <= self.least_ms:
            return self.least_ms
        return self.least_ms + int((self.most_ms - self.least_ms) * uniform(0, 1) ** 3)
