from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.integration.services.worker.rig import Worker, WorkerRig
from tests.support.clock import ManualClock
from tests.support.redis_server import RedisServer
from tests.support.scripted_broker import ScriptedBroker


@pytest.fixture(autouse=True)
def events() -> Iterator[list[EventDict]]:
    """What was logged; kept from the console, whose tracebacks cost more than the tests."""
    with capture_logs() as events:
        yield events


@pytest.fixture
async def rig(
    redis_server: RedisServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerRig]:
    rig = WorkerRig(redis_server, clock)
    await rig.start(monkeypatch)
    try:
        yield rig
    finally:
        await rig.stop()


@pytest.fixture
def worker(rig: WorkerRig) -> Worker:
    return rig.worker()


@pytest.fixture
def broker(rig: WorkerRig) -> ScriptedBroker:
    return rig.broker
