"""A venue that never deduplicates, and refuses a request that comes after its expiry."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from libs.common.domain.ids import ClientOrderId

Report = Callable[[str, object], None]
"""Takes the name of a broken promise and what it was broken for."""


@dataclass(frozen=True)
class Request:
    """One attempt on its way."""

    order_id: ClientOrderId
    lane: str
    position: int
    """Of its instruction in the order in which they were queued."""
    expires_at_ms: int
    deadline_ms: int
    nonce: str
    account: str = ""
    rests: bool = False
    """Whether it waits at the venue once it has arrived."""


class Venue:
    """Executes whatever arrives in time, as often as it arrives."""

    def __init__(self, report: Report) -> None:
        self.executed: Counter[ClientOrderId] = Counter()
        self.travelling: list[tuple[int, Request]] = []
        """Requests that arrive later, by when."""
        self.resting: dict[ClientOrderId, str] = {}
        """Orders that wait to be filled, and whose they are."""
        self.nobodys: set[ClientOrderId] = set()
        """Orders of instructions that a fail-over lost: they have no place among the others."""
        self._last: dict[str, int] = {}
        self._report = report

    def arrive(self, request: Request, now_ms: int) -> bool:
        """Take a request in; returns whether it was executed."""
        if now_ms > request.expires_at_ms:
            return False
        self.executed[request.order_id] += 1
        if self.executed[request.order_id] > 1:
            self._report("DOUBLE", request.order_id)
        if now_ms > request.deadline_ms:
            self._report("LATE", request)
        if request.order_id not in self.nobodys:
            if self._last.get(request.lane, 0) > request.position:
                self._report("ORDER", request)
            self._last[request.lane] = request.position
        if request.rests:
            self.resting[request.order_id] = request.account
        return True

    def forget_the_order(self) -> None:
        """Take what comes next for the first of its lane: what was decided in a lost tail may be decided otherwise."""
        self._last.clear()

    def delay(self, request: Request, until_ms: int) -> None:
        """Let a request arrive later."""
        self.travelling.append((until_ms, request))

    def let_arrive(self, now_ms: int) -> None:
        """Take in what is due."""
        due = [request for at_ms, request in self.travelling if at_ms <= now_ms]
        self.travelling = [one for one in self.travelling if one[0] > now_ms]
        for request in due:
            self.arrive(request, now_ms)

    def knows(self, order_id: ClientOrderId) -> bool:
        """Answer a look-up."""
        return self.executed[order_id] > 0

    def may_still_execute(self, order_id: ClientOrderId, now_ms: int) -> bool:
        """Tell whether a request of it is under way that would be executed."""
        return any(
            request.order_id == order_id and request.expires_at_ms >= max(now_ms, at_ms)
            for at_ms, request in self.travelling
        )
