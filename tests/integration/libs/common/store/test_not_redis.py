"""An address that leads to something else than Redis is named as such, and never taken for a Redis that is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from libs.common.domain.errors import ConfigError, StoreBarred
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.settings import RedisSettings
from libs.common.store.checks import check_server
from libs.common.store.client import connect
from libs.common.store.readings import Readings
from libs.common.store.shards import Shards

ANSWERS = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "a mail server": b"220 mail.example.com ESMTP\r\n",
    "one of SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "memcached": b"ERROR\r\n",
    "bytes of TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "one that takes anything": b"+OK\r\n",
    "one that knows nothing": b"$-1\r\n",
    "one that counts": b":1\r\n",
    "one that says something else": b"$3\r\nabc\r\n",
    "one that says less": b"$21\r\nredis_mode:standalone\r\n",
    "one that lists": b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    "one that lists numbers": b"*2\r\n:1\r\n:2\r\n",
    "one that sends all back": b"",
    "a relative of Redis": b"-ERR unknown command 'INFO'\r\n",
    "one that is shut to strangers": b"-DENIED Redis is running in protected mode\r\n",
}


@asynccontextmanager
async def answering(words: bytes) -> AsyncIterator[int]:
    """Give the port of something that answers whatever comes with the same words; where these are none, with what came."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while came := await reader.read(65_536):
            writer.write(words or came)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("who", ANSWERS)
async def test_a_service_ends_where_its_address_leads_elsewhere(who: str) -> None:
    async with answering(ANSWERS[who]) as port:
        redis = RedisSettings(url=f"redis://127.0.0.1:{port}/0")
        shards = Shards.open(redis.url, 1, timeout_s=1)
        try:
            with pytest.raises(
                ConfigError, match=f"127.0.0.1:{port} (is not Redis|refuses INFO): .*correct the address"
            ):
                async with asyncio.timeout(5):
                    await check_when_up(shards[0], redis, asyncio.Event(), asyncio.Event())
        finally:
            await shards.aclose()


@pytest.mark.parametrize(
    "form", ["redis://:password@{}/0", "redis://{}/3", "redis+cluster://{}", "redis+sentinel://{}/service"]
)
async def test_whatever_is_said_first_what_does_not_speak_redis_is_named(form: str) -> None:
    async with answering(ANSWERS["a web server"]) as port:
        with pytest.raises(StoreBarred, match=f"127.0.0.1:{port} is not Redis") as caught:
            async with Readings.at(form.format(f"127.0.0.1:{port}")):
                pytest.fail("nobody there says how many shards there are")
        assert "address" in caught.value.remedy
        assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "who", sorted(ANSWERS.keys() - {"a relative of Redis", "one that is shut to strangers"})
)
async def test_whoever_reads_names_what_answers_in_its_place(who: str) -> None:
    async with answering(ANSWERS[who]) as port:
        with pytest.raises(StoreBarred, match=f"127.0.0.1:{port} is not Redis") as caught:
            async with Readings.at(f"redis://127.0.0.1:{port}/0"):
                pytest.fail("nobody there says how many shards there are")
        assert caught.value.remedy.startswith("correct the address")


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("one that sends all back", "HMGET answers HMGET, bascule:{s0}:meta, shards, run_id"),
        ("one that lists numbers", "HMGET answers 1, 2"),
        ("one that counts", "HMGET answers 1"),
        ("one that knows nothing", "HMGET answers nothing"),
        ("one that says something else", "HMGET answers abc"),
    ],
)
async def test_what_it_answered_is_told_in_its_own_words(who: str, words: str) -> None:
    async with answering(ANSWERS[who]) as port:
        with pytest.raises(StoreBarred) as caught:
            async with Readings.at(f"redis://127.0.0.1:{port}/0"):
                pytest.fail("nobody there says how many shards there are")
    assert str(caught.value) == f"what answers at 127.0.0.1:{port} is not Redis: {words}"


@pytest.mark.parametrize("who", ["one that sends all back", "one that lists", "one that counts"])
async def test_an_answer_to_info_that_cannot_be_read_is_told_as_such(who: str) -> None:
    async with answering(ANSWERS[who]) as port:
        client = connect(f"redis://127.0.0.1:{port}/0", timeout_s=1)
        try:
            with pytest.raises(StoreBarred, match=r"its answer to INFO cannot be read$"):
                await check_server(client, "always")
        finally:
            await client.aclose()
