from collections.abc import AsyncIterator

import pytest

from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.redis_server import RedisServer


@pytest.fixture
async def rig(redis_server: RedisServer) -> AsyncIterator[Rig]:
    rig = Rig(redis_server)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()
