import asyncio

import pytest

from libs.common.runtime import redis_check
from libs.common.runtime.redis_check import keep_checking
from libs.common.runtime.settings import Durability
from libs.common.store.client import connect
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer


async def test_a_promise_that_redis_breaks_later_is_found_and_so_is_that_it_keeps_it_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_check, "AGAIN_S", 0.02)
    client, stopping, found = connect(redis_server.url, timeout_s=2), asyncio.Event(), []
    checking = asyncio.create_task(keep_checking(client, Durability.ALWAYS, stopping, found.append))
    with redis_server.client() as admin:
        admin.config_set("appendfsync", "everysec")
        try:
            await eventually(lambda: len(found) == 1)
        finally:
            admin.config_set("appendfsync", "always")
    await eventually(lambda: len(found) == 2)
    assert "appendfsync" in found[0]
    assert found[1] is None
    stopping.set()
    await checking
    await client.aclose()
