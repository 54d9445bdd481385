"""`GET /health`: 503 exactly while alerts would be refused for want of Redis."""

from typing import Final

import orjson
from starlette.types import Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreUnavailable
from libs.common.store.intake import Intake
from libs.common.web.health import CachedCheck, Degraded
from libs.common.web.problems import send_json
from services.ingress.door import Door

_OK: Final = orjson.dumps({"status": "ok", "service": "ingress"})


def admission_check(door: Door, intake: Intake, clock: Clock) -> CachedCheck:
    """Return the check whether an alert posted now would become durable."""

    async def look_up() -> None:
        if not door.is_open:
            raise StoreUnavailable("Redis has not been reached since the start")
        await intake.probe()

    return CachedCheck(look_up, clock)


class HealthEndpoint:
    """Answers `GET /health`."""

    def __init__(self, check: CachedCheck) -> None:
        self._check = check

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        match await self._check():
            case Degraded(reason):
                body = orjson.dumps({"status": "degraded", "service": "ingress", "reason": reason})
                await send_json(send, 503, body, [(b"retry-after", b"1")])
            case _:
                await send_json(send, 200, _OK)
