"""Which node is asked, and what is believed of its answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from libs.common.store.cluster import Topology, slot_of
from libs.common.store.connections import Unfit
from libs.common.store.routing import Node
from tests.support.eventually import eventually

A, B, C = ("a", 1), ("b", 2), ("c", 3)

WHOLE = [
    [0, 99, [b"a", 1, b"id"], [b"c", 3, b"id"]],
    [100, 199, [b"b", 2, b"id"]],
]


class Nodes:
    """Answer what a test says; a node of none does not answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.topology = Topology([A, B], self.ask, timeout_s=1)

    async def ask(self, node: Node) -> Sequence[Any]:
        self.asked.append(node[0])
        await asyncio.sleep(0)
        answer = self.answers.get(node[0], RedisConnectionError("refused"))
        if answer == "silent":
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        found: Sequence[Any] = answer
        return found


def test_the_slots_of_shards_are_what_redis_makes_of_their_tags():
    assert [slot_of(f"bascule:{{s{number}}}:lanes") for number in range(4)] == [11097, 15224, 2843, 6970]


async def test_the_primary_of_a_slot_is_asked_for_once_and_known_from_then_on():
    nodes = Nodes(a=WHOLE, b=WHOLE)
    for slot, node in ((0, A), (99, A), (100, B), (5, A)):
        assert await nodes.topology.primary(slot) == node
    assert nodes.asked == ["a"]


async def test_who_wants_to_know_at_the_same_time_shares_one_question():
    nodes = Nodes(a=WHOLE)
    assert await asyncio.gather(*(nodes.topology.primary(5) for _ in range(20))) == [A] * 20
    assert nodes.asked == ["a"]


async def test_a_slot_in_doubt_is_asked_for_again_and_of_another_node():
    nodes = Nodes(a=WHOLE, b=[[0, 199, [b"c", 3, b"id"]]])
    assert await nodes.topology.primary(5) == A
    nodes.topology.doubt(5)
    assert await nodes.topology.primary(5) == C
    assert nodes.asked == ["a", "b"]


async def test_who_asks_after_a_doubt_is_not_told_what_was_asked_before_it():
    nodes = Nodes(a=WHOLE, b=[[0, 199, [b"c", 3, b"id"]]])
    before = asyncio.create_task(nodes.topology.primary(5))
    while not nodes.asked:
        await asyncio.sleep(0)
    nodes.topology.doubt(5)
    after = asyncio.create_task(nodes.topology.primary(5))
    assert (await before, await after) == (A, C)


async def test_while_a_node_is_away_another_is_asked_also_one_that_the_address_does_not_name():
    nodes = Nodes(a=WHOLE, c=WHOLE)
    assert await nodes.topology.primary(5) == A
    nodes.answers["a"] = RedisConnectionError("refused")
    for _ in range(3):
        nodes.topology.doubt(5)
        assert await nodes.topology.primary(5) == A
    assert "c" in nodes.asked


async def test_a_node_that_hangs_leaves_time_for_another():
    nodes, hanging = Nodes(b=WHOLE), asyncio.Event()

    async def ask(node: Node) -> Sequence[Any]:
        if node == A:
            await hanging.wait()
        return await nodes.ask(node)

    assert await Topology([A, B], ask, timeout_s=0.2).primary(5) == A
    assert nodes.asked == ["b"]


async def test_a_node_that_gave_no_answer_is_asked_again_only_where_no_other_answers():
    nodes = Nodes(b=WHOLE, c=WHOLE)
    for _ in range(4):
        assert await nodes.topology.primary(5) == A
        nodes.topology.doubt(5)
    assert nodes.asked.count("a") == 1
    nodes.answers = {"a": WHOLE}
    assert await nodes.topology.primary(5) == A


async def test_with_nobody_there_it_says_whom_it_asked_last():
    with pytest.raises(RedisConnectionError, match=r"no node .* answers; the last was b:2: refused"):
        await Nodes().topology.primary(5)


async def test_a_slot_that_nobody_serves_is_told():
    with pytest.raises(RedisConnectionError, match="serves slot 200"):
        await Nodes(a=WHOLE).topology.primary(200)


@pytest.mark.parametrize("host", [b"", None])
async def test_a_node_without_a_name_is_where_it_was_asked(host: bytes | None):
    assert await Nodes(a=[[0, 199, [host, 7, b"id"]]]).topology.primary(5) == ("a", 7)


async def test_a_node_whose_name_nobody_knows_serves_nothing():
    with pytest.raises(RedisConnectionError, match="serves slot 5"):
        await Nodes(a=[[0, 199, [b"?", 7, b"id"]]]).topology.primary(5)


@pytest.mark.parametrize("error", [NoPermissionError("no"), Unfit("no cluster", remedy="another address")])
async def test_what_does_not_pass_is_told_as_it_is(error: Exception):
    with pytest.raises(type(error)):
        await Nodes(a=error).topology.primary(5)
    assert await Nodes(a=error, b=WHOLE).topology.primary(5) == A


async def test_who_gives_up_waiting_does_not_keep_others_from_their_answer():
    nodes = Nodes(a=WHOLE)
    one, other = (asyncio.create_task(nodes.topology.primary(5)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    assert await other == A


async def test_closing_ends_the_question_that_is_under_way():
    nodes = Nodes(a="silent")
    waiting = asyncio.create_task(nodes.topology.primary(5))
    await eventually(lambda: nodes.asked == ["a"])
    await nodes.topology.aclose()
    with pytest.raises(RedisConnectionError, match="closed while"):
        await waiting
    assert nodes.asked == ["a"]
