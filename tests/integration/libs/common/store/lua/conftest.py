from collections.abc import AsyncIterator

import pytest

from libs.common.store import scripts
from tests.fuzz.mutations import mutated_reader
from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.redis_server import RedisServer


@pytest.fixture(autouse=True)
def _mutation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs these tests against scripts with one line changed, where `BASCULE_MUTATION` asks for it."""
    reader = mutated_reader()
    if reader is not None:
        monkeypatch.setattr(scripts, "_read", reader)


@pytest.fixture
async def rig(redis_server: RedisServer) -> AsyncIterator[Rig]:
    rig = Rig(redis_server)
    await rig.start()
    try:
        yield rig
    finally:
        await rig.stop()
