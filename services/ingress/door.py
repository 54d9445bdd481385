"""Whether alerts are taken at all: only once Redis has been found fit to keep them."""

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_fixed

from libs.common.domain.errors import StoreUnavailable
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.metrics import IngressMetrics

log = get_logger()


class Door:
    """Closed until Redis has been reached and its settings keep what is promised."""

    def __init__(
        self, check: Callable[[], Awaitable[object]], metrics: IngressMetrics, *, retry_s: float = 0.2
    ) -> None:
        """Args:
        check: Raises `StoreUnavailable` while Redis is away and `ConfigError` where it is not fit.
        metrics: Show the state.
        retry_s: The pause between two checks while Redis is away.
        """
        self.is_open = False
        self._check = check
        self._metrics = metrics
        self._retry_s = retry_s

    async def try_open(self) -> None:
        """Check once; stay closed where Redis is away.

        Raises:
            ConfigError: Redis is not fit: the process must not go on.
        """
        try:
            await self._check()
        except StoreUnavailable as error:
            log.warning("redis_away", error=str(error))
            return
        self._open()

    async def open(self) -> None:
        """Return once it is open, however long Redis stays away.

        Raises:
            ConfigError: Redis is not fit: the process must not go on.
        """
        if self.is_open:
            return
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreUnavailable), wait=wait_fixed(self._retry_s), reraise=True
        ):
            with attempt:
                await self._check()
        self._open()

    def _open(self) -> None:
        self.is_open = True
        self._metrics.is_open.set(1)
        log.info("door_opened")
