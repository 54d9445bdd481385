"""Whether alerts would be taken: no exactly while posts are answered 503 for want of Redis."""

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreUnavailable
from libs.common.store.intake import Intake
from libs.common.web.health import CachedCheck
from services.ingress.door import Door


def admission_check(door: Door, intake: Intake, clock: Clock) -> CachedCheck:
    """Return the check whether an alert posted now would become durable."""

    async def look_up() -> None:
        if not door.is_open:
            raise StoreUnavailable(door.reason)
        await intake.probe()

    return CachedCheck(look_up, clock, subject="Redis")
