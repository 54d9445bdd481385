"""How many connections a server holds, and which of them makes room."""

import asyncio
import socket
from pathlib import Path

from tests.support.eventually import eventually
from tests.unit.libs.common.web.running_server import (
    GET,
    HALF,
    Running,
    answer,
    apart,
    is_closed,
    post,
    serving,
)


async def test_the_oldest_half_open_connection_makes_room_for_a_new_one() -> None:
    async with serving(max_connections=4) as running:
        known, known_writer = await running.connect(GET)
        assert (await answer(known))[0] == 404
        strangers = [await running.connect(HALF) for _ in range(9)]
        reader, writer = await running.connect(post(b"abc"))
        assert (await answer(reader))[::2] == (200, b"3")
        for stranger, _ in strangers[:7]:
            assert await is_closed(stranger)
        assert running.closed("displaced") == 7
        known_writer.write(GET)
        assert (await answer(known))[0] == 404
        for open_writer in (known_writer, writer, *(other for _, other in strangers)):
            open_writer.close()


async def test_without_strangers_the_longest_idle_connection_makes_room() -> None:
    async with serving(max_connections=3) as running:
        idle = []
        for _ in range(3):
            idle.append(await running.connect(GET))
            assert (await answer(idle[-1][0]))[0] == 404
        reader, writer = await running.connect(GET)
        assert (await answer(reader))[0] == 404
        assert await is_closed(idle[0][0])
        for one, its_writer in idle[1:]:
            its_writer.write(GET)
            assert (await answer(one))[0] == 404
        for _, its_writer in [*idle, (reader, writer)]:
            its_writer.close()


async def test_a_new_connection_is_closed_where_all_others_are_busy() -> None:
    async with serving(max_connections=2) as running:
        busy = [await running.connect(post(b"", "/slow")) for _ in range(2)]
        await eventually(lambda: running.app.under_way == 2)
        reader, writer = await running.connect()
        assert await is_closed(reader)
        assert running.closed("full") == 1
        running.app.may_end.set()
        for one, _ in busy:
            assert (await answer(one))[0] == 404
        for open_writer in (writer, *(other for _, other in busy)):
            open_writer.close()


async def test_a_closed_connection_makes_room(running: Running) -> None:
    async with serving(max_connections=1) as one:
        for _ in range(5):
            reader, writer = await one.connect(GET.replace(b"Host", b"Connection: close\r\nHost"))
            assert (await answer(reader))[0] == 404
            assert await is_closed(reader)
            writer.close()


async def test_half_open_connections_leave_descriptors_for_senders() -> None:
    async with apart(max_files=256) as (pid, port):
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for one in strangers:
            one.send(HALF)

        async def answered() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(b"abc"))
            try:
                return (await answer(reader))[::2] == (200, b"3")
            except (ConnectionError, asyncio.IncompleteReadError):
                return False
            finally:
                writer.close()

        await eventually(answered)
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= 256 - 32
        for one in strangers:
            one.close()
