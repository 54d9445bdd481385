from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.integration.services.reaper.rig import ReaperRig
from tests.integration.services.reaper.watchdog import Watchdog
from tests.support.redis_server import RedisServer


@pytest.fixture(autouse=True)
def events() -> Iterator[list[EventDict]]:
    """What was logged."""
    with capture_logs() as events:
        yield events


@pytest.fixture
async def rig(redis_server: RedisServer) -> AsyncIterator[ReaperRig]:
    rig = ReaperRig(redis_server)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()


@pytest.fixture
async def watchdog(rig: ReaperRig) -> Watchdog:
    return Watchdog(rig)
