"""A server that starts, stops, and keeps idle connections for a while."""

import asyncio

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.web import server
from libs.common.web.server import HttpServer
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.unit.libs.common.web.running_server import (
    GET,
    App,
    Running,
    answer,
    both_ways,
    is_closed,
    post,
    serving,
)


async def test_an_idle_connection_is_closed_after_the_keep_alive_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 1)
    async with serving() as running:
        reader, writer = await running.connect(GET)
        assert (await answer(reader))[0] == 404
        assert await is_closed(reader)
        assert running.closed("late") == 0
        writer.close()


@both_ways
async def test_a_server_that_stops_answers_what_is_under_way(running: Running) -> None:
    reader, writer = await running.connect(post(b"abc", "/slow"))
    await eventually(lambda: running.app.under_way)
    stopping = asyncio.create_task(running.server.stop())
    await eventually(lambda: running.server._server.should_exit)
    running.app.may_end.set()
    assert (await answer(reader))[0] == 404
    await stopping
    assert await is_closed(reader)
    writer.close()


@pytest.mark.parametrize("host", ["\udcff", "a b", "x" * 70, "256.0.0.1", "no-such-host.invalid"])
async def test_a_host_that_cannot_be_listened_on_is_named(host: str) -> None:
    server = HttpServer(App(), host, free_port())
    with pytest.raises(ConfigError, match="cannot listen on"):
        await server.start()
