"""Posts that come whole are answered without a task of their own."""

import asyncio

import pytest

from tests.support.eventually import eventually
from tests.unit.libs.common.web.running_server import Running, answer, both_ways, connections_of, post


@both_ways
@pytest.mark.parametrize("at", [1, 60, 80, 100])
async def test_a_request_that_comes_in_two_parts_is_read(running: Running, at: int) -> None:
    whole = post(b"x" * 50)
    reader, writer = await running.connect(whole[:at])
    await eventually(lambda: running.server._server.server_state.connections)
    await asyncio.sleep(0)
    writer.write(whole[at:])
    assert (await answer(reader))[::2] == (200, b"50")
    writer.close()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(post(b"abc", "/echo?x=1"), id="a query"),
        pytest.param(post(b"abc", "/ech%6f"), id="an escape"),
        pytest.param(post(b"abc", "/echo#x"), id="a fragment"),
        pytest.param(post(b"abc", "http://somewhere/echo"), id="a whole address"),
        pytest.param(post(b"abc", headers=b"Expect: 100-continue\r\n"), id="an expectation"),
        pytest.param(post(b"abc").replace(b"POST", b"PUT"), id="another method"),
    ],
)
async def test_what_an_app_would_read_otherwise_is_left_to_it(running: Running, raw: bytes) -> None:
    _, writer = await running.connect(raw)
    await eventually(lambda: running.app.bodies)
    assert running.app.asked == []
    writer.close()


async def test_no_answer_is_put_behind_one_that_nobody_takes(running: Running) -> None:
    _, writer = await running.connect(post(b"abc", "/large"))
    (connection,) = await connections_of(running)
    await eventually(lambda: connection.flow.write_paused)
    running.app.asked.clear()
    before = connection.cycle
    writer.write(post(b"abc"))
    await eventually(lambda: connection.cycle is not before)
    assert running.app.asked == []
    writer.transport.abort()


@pytest.mark.parametrize("at", [20, 60])
@pytest.mark.parametrize("url", ["http://x", "//", "/a b"])
async def test_an_address_that_is_none_is_answered_in_whatever_parts_it_comes(
    running: Running, url: str, at: int
) -> None:
    raw = post(b"x" * 50, url)
    reader, writer = await running.connect(raw[:-at])
    await connections_of(running)
    writer.write(raw[-at:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 4")
    writer.close()
