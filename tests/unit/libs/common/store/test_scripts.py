import re
from importlib.resources import files
from itertools import chain

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.lifecycle import (
    AMBIGUOUS,
    ENDED,
    RESTING,
    WORST_FIRST,
    InstructionState,
    OrderState,
)
from libs.common.store.client import MEMORY_IS_FULL, translate, translate_text
from libs.common.store.head import Closed, Head, Moved, Stale, handed_out
from libs.common.store.reconciliation import FILLS_KEPT
from libs.common.store.scripts import PARTS, Script, read_each

LUA = files("libs.common.store").joinpath("lua")
NAMES = sorted(entry.name.removesuffix(".lua") for entry in LUA.iterdir() if entry.name.endswith(".lua"))
PRELUDE = LUA.joinpath("prelude.lua").read_text()
OPERATIONS = [name for name in NAMES if name not in {"prelude", *chain(*PARTS.values())}]
INTAKE = {"admit", "refuse", "probe"}
"""What the ingress runs: denied at the memory limit, on purpose, unless it is told otherwise."""
BOTH = {"layout"}
"""Writes at a first start, and does without where Redis is full then."""

HEAD = [b"HEAD", b"1-1", b"a", b"desk", b"1", b"{}", b"99", b"5", b"", b"2", b"7", b"0", b"1"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_script_says_what_it_does_and_what_it_answers(name: str):
    source = LUA.joinpath(f"{name}.lua").read_text()
    assert source.startswith(f"-- {name}: ")
    assert "-- Returns" in source


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - INTAKE - BOTH))
def test_scripts_of_workers_and_the_reaper_can_finish_when_redis_is_full(name: str):
    body = LUA.joinpath(f"{name}.lua").read_text().split("\n\n", 1)[1]
    code = [line for line in body.splitlines() if line and not line.startswith("--")]
    assert code[0] == "write_even_when_full()"


@pytest.mark.parametrize("name", sorted(INTAKE))
def test_scripts_of_the_ingress_are_denied_when_redis_is_full(name: str):
    assert "write_even_when_full()" not in LUA.joinpath(f"{name}.lua").read_text().splitlines()


def test_a_script_that_is_not_there_is_not_found():
    with pytest.raises(FileNotFoundError):
        Script("nothing")


def test_two_operations_are_two_scripts():
    assert len({Script(name).sha for name in OPERATIONS}) == len(OPERATIONS)


def test_the_prelude_ranks_end_states_as_the_lifecycle_does():
    [line] = [one for one in PRELUDE.splitlines() if one.startswith("local SEVERITY")]
    ranks = {
        state: int(rank)
        for state, rank in (pair.split(" = ") for pair in line.partition("{")[2].rstrip("}").split(", "))
    }
    worst_first = [state for state in WORST_FIRST if state in ENDED]
    assert sorted(ranks, key=ranks.__getitem__, reverse=True) == worst_first
    assert set(ranks) == {InstructionState(state) for state in ranks} == ENDED


@pytest.mark.parametrize(("name", "states"), [("AMBIGUOUS", AMBIGUOUS), ("RESTING", RESTING)])
def test_the_prelude_groups_order_states_as_the_lifecycle_does(name: str, states: frozenset[OrderState]):
    [words] = re.findall(rf"^local {name} = {{(.*)}}$", PRELUDE, re.MULTILINE)
    assert {word.removesuffix(" = true") for word in words.split(", ")} == states


def test_the_prelude_keeps_as_many_fills_as_the_comparison_counts_on():
    assert re.findall(r"^local FILLS_KEPT = (\d+)$", PRELUDE, re.MULTILINE) == [str(FILLS_KEPT)]


@pytest.mark.parametrize(
    ("word", "meaning"), [(b"CLOSED", Closed()), (b"STALE", Stale()), (b"STATE", Moved())]
)
def test_words_in_place_of_a_head_are_read(word: bytes, meaning: object):
    assert handed_out([word]) == meaning


def test_a_head_without_orders_is_read():
    head = handed_out(HEAD)
    assert isinstance(head, Head)
    assert (head.deadline_ms, head.lost_holders, head.admitted_at_ms, head.orders) == (99, 2, 7, ())


@pytest.mark.parametrize(
    "answer",
    [
        [b"HEAD", b"1-1"],
        [*HEAD[:6], b"inf", *HEAD[7:]],
        [*HEAD[:6], b"nan", *HEAD[7:]],
        [*HEAD[:2], b"\xff", *HEAD[3:]],
        [*HEAD[:9], b"many", b"7", b"0", b"1"],
        [*HEAD, b"o", b"NO SUCH STATE", b"1", b"1", b"0", b"", b"0"],
        [*HEAD, b"o", b"", b"0", b"0", b"0", b"", b"0"],
        [*HEAD, b"o"],
        [b"WHAT"],
        [],
    ],
)
def test_an_answer_that_cannot_be_read_fails_alone(answer: list[bytes]):
    good, bad, last = read_each([[b"CLOSED"], answer, [b"CLOSED"]], handed_out)
    assert (good, last) == (Closed(), Closed())
    assert isinstance(bad, StoreCorrupt)


def test_an_error_of_one_item_keeps_its_words():
    assert "WRONGTYPE" in str(handed_out([b"ERROR", b"WRONGTYPE Operation against a key"]))


@pytest.mark.parametrize(
    "text",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "@user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.",
        "=[C]: -1: -NOREPLICAS Not enough good replicas to write.\r\n",
        "READONLY You can't write against a read only replica.",
        "Error running script (call to f_a): @user_script:29: @user_script: 29: -READONLY You can't write",
        "-MISCONF Redis is configured to save RDB snapshots",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "BUSY Redis is busy running a script.",
        "UNBLOCKED the stream key no longer exists",
        "WAIT cannot be used with replica instances. Please also note that writes to replicas are just local.",
        "ERR WAITAOF cannot be used with replica instances.",
    ],
)
def test_what_passes_by_itself_is_told_apart(text: str):
    assert isinstance(translate_text(text), StoreUnavailable)


@pytest.mark.parametrize(
    "text",
    [
        "OOM command not allowed when used memory > 'maxmemory'.",
        "OOM command not allowed when used memory > 'maxmemory'. script: 00553b, on @user_script:443.",
        "Error running script (call to f_a): @user_script:29: -OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
def test_full_memory_is_told_in_words(text: str):
    error = OutOfMemoryError(text.removeprefix("OOM ")) if text.startswith("OOM ") else ResponseError(text)

    assert str(translate(error)) == str(translate_text(text)) == MEMORY_IS_FULL


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR Invalid stream ID specified as stream command argument",
        "NOGROUP No such key 'ready' or consumer group 'workers'",
        "BUSYGROUP Consumer Group name already exists",
        "@user_script: 40: attempt to compare nil with number",
        "NOAUTH Authentication required.",
        "",
    ],
)
def test_what_does_not_pass_is_corrupt(text: str):
    assert isinstance(translate_text(text), StoreCorrupt)
