"""Puts a held lane to wait."""

from libs.common.domain.reasons import Reason
from libs.common.store.lanes import Lanes, Parking, Return
from libs.common.telemetry.execution_spans import note_parked
from services.worker.leases import Lease
from services.worker.persistence import persist


class Parker:
    """Parks lanes, and keeps at it until Redis answers or the lane is lost."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    async def park(self, lease: Lease, wait_ms: int, reason: Reason, *, detail: str = "") -> Return:
        """Park a lane for so long from now.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        return await self._park(Parking(lease.held, wait_ms, 0, reason, detail=detail), lease)

    async def park_until(self, lease: Lease, due_at_ms: int, reason: Reason, *, detail: str = "") -> Return:
        """Park a lane until a time of Redis' clock.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        return await self._park(Parking(lease.held, None, due_at_ms, reason, detail=detail), lease)

    async def _park(self, parking: Parking, lease: Lease) -> Return:
        note_parked(parking.reason)
        return await persist(lambda: self._lanes.park.submit(parking), lease)
