"""One question to several shards."""

import asyncio
from collections.abc import Awaitable

import pytest

from libs.common.domain.errors import BridgeError, StoreBarred, StoreCorrupt, StoreUnavailable
from libs.common.store.fan_out import ask_all, ask_each

AWAY = StoreUnavailable("Redis did not take the call: no route")


async def answer(what: str | Exception) -> str:
    if isinstance(what, Exception):
        raise what
    return what


def calls(*answers: str | Exception) -> dict[int, Awaitable[str]]:
    return {number: answer(one) for number, one in enumerate(answers)}


async def test_all_answers_come_by_their_shards() -> None:
    assert await ask_all(calls("a", "b", "c")) == {0: "a", 1: "b", 2: "c"}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (("a", AWAY), "shard 1: Redis did not take the call: no route"),
        ((AWAY, "b", AWAY), "shards 0, 2: Redis did not take the call: no route"),
        ((AWAY,), str(AWAY)),
        ((AWAY, AWAY), str(AWAY)),
    ],
)
async def test_shards_that_do_not_answer_are_named_where_others_do(
    answers: tuple[str | Exception, ...], words: str
) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        await ask_all(calls(*answers))
    assert str(raised.value) == words


async def test_a_shard_that_does_not_let_us_in_stays_one_that_somebody_must_mend() -> None:
    with pytest.raises(StoreBarred) as raised:
        await ask_all(calls("a", StoreBarred("no rights", "give some")))
    assert (str(raised.value), raised.value.remedy) == ("shard 1: no rights", "give some")


async def test_what_cannot_be_read_is_no_shard_that_is_away() -> None:
    with pytest.raises(StoreCorrupt):
        await ask_all(calls("a", AWAY, StoreCorrupt("junk")))


async def test_each_shard_answers_for_itself() -> None:
    junk = StoreCorrupt("junk")
    spread = await ask_each(calls("a", AWAY, junk))

    assert spread.answers == {0: "a"}
    assert spread.failed == {1: AWAY, 2: junk}
    with pytest.raises(BridgeError):
        _ = spread.away


async def test_all_are_asked_at_once() -> None:
    all_asked = asyncio.Barrier(3)

    async def wait() -> None:
        async with asyncio.timeout(5):
            await all_asked.wait()

    await ask_all({number: wait() for number in range(3)})


async def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await ask_each(calls("a", ZeroDivisionError()))


async def test_where_no_shard_answers_the_first_ones_trouble_is_told() -> None:
    (await ask_each(calls(AWAY, "b"))).need_any()
    with pytest.raises(StoreUnavailable) as raised:
        (await ask_each(calls(AWAY, StoreCorrupt("junk")))).need_any()
    assert raised.value is AWAY
