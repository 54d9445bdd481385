"""Whether a service can do its work: asked often, looked up rarely, answered to probes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, assert_never

import orjson
from starlette.types import Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.web.problems import send_json


@dataclass(frozen=True, slots=True)
class Healthy:
    """It can."""


@dataclass(frozen=True, slots=True)
class Degraded:
    """It cannot, for now."""

    reason: str
    """One sentence, without secrets."""


Health = Healthy | Degraded

Check = Callable[[], Awaitable[Health]]

MAX_AGE_MS: Final = 250
TIMEOUT_S: Final = 1.0


async def always_healthy() -> Health:
    """Answer for what is well as long as it answers at all."""
    return Healthy()


class HealthEndpoint:
    """Answers probes with what a check says: 200, or 503 with the reason."""

    def __init__(self, service: str, check: Check) -> None:
        self._service = service
        self._check = check

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        match await self._check():
            case Healthy():
                await send_json(send, 200, orjson.dumps({"status": "ok", "service": self._service}))
            case Degraded(reason):
                body = orjson.dumps({"status": "degraded", "service": self._service, "reason": reason})
                await send_json(send, 503, body, [(b"retry-after", b"1")])
            case other:
                assert_never(other)


class CachedCheck:
    """Shares one look-up among all who ask at about the same time.

    A crowd of probes must not become a crowd of look-ups.
    """

    def __init__(
        self,
        look_up: Callable[[], Awaitable[None]],
        clock: Clock,
        *,
        subject: str,
        max_age_ms: int = MAX_AGE_MS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Args:
        look_up: Raises a `BridgeError` where the service cannot do its work.
        clock: Ages the answer.
        subject: Who is asked, for the reason where no answer comes.
        max_age_ms: How long an answer holds.
        timeout_s: After this time no answer is a bad answer.
        """
        self._look_up = look_up
        self._clock = clock
        self._subject = subject
        self._max_age_ms = max_age_ms
        self._timeout_s = timeout_s
        self._known: Health = Healthy()
        self._until_ms = -1
        self._asking: asyncio.Task[Health] | None = None

    async def __call__(self) -> Health:
        """Return the state, at most `max_age_ms` old."""
        if self._clock.monotonic_ms() < self._until_ms:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # One prober that hangs up must not cancel it for the others.
        return await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """End a look-up that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._look_up()
            self._known = Healthy()
        except TimeoutError:
            self._known = Degraded(f"{self._subject} did not answer within {self._timeout_s:g} s")
        except BridgeError as error:
            self._known = Degraded(str(error))
        finally:
            self._asking = None
        self._until_ms = self._clock.monotonic_ms() + self._max_age_ms
        return self._known
