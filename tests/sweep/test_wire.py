import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.store.scripts import Script
from tests.support.tree import ROOT
from tests.sweep.wire import http_end, http_language, redis_language, resp_end, scripts_of

LANGUAGE = redis_language(scripts_of(ROOT))


def packed(*words: bytes | str) -> bytes:
    made: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub wants a tuple of one
    return made


WORDS = st.lists(st.binary(max_size=20), min_size=1, max_size=5)


@given(WORDS, WORDS, st.integers(0, 400))
def test_a_message_ends_where_the_next_begins_and_not_before_it_has_all_come(
    first: list[bytes], second: list[bytes], cut: int
) -> None:
    one, other = packed(*first), packed(*second)
    assert resp_end(one + other) == len(one)
    assert resp_end(one[: min(cut, len(one) - 1)]) is None
    assert resp_end(one + other, len(one)) == len(one + other)


@pytest.mark.parametrize(
    "reply", [b"+OK\r\n", b":7\r\n", b"-ERR x\r\n", b"$-1\r\n", b"*-1\r\n", b"*2\r\n*0\r\n$1\r\na\r\n"]
)
def test_every_kind_of_reply_is_found(reply: bytes) -> None:
    assert resp_end(reply + b"+more\r\n") == len(reply)


def test_a_venues_message_ends_after_its_body() -> None:
    order = b"POST /desk/orders HTTP/1.1\r\ncontent-length: 3\r\n\r\n{}\n"
    question = b"GET /orders/a%2Fb?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert http_end(order + question) == len(order)
    assert http_end(order[:-1]) is None
    name = http_language().name
    assert [name(order), name(question)] == ["POST /orders", "GET /orders/{}"]


def test_commands_are_named_by_script_and_by_what_they_ask_for() -> None:
    script = Script("settle")
    commands: dict[tuple[str, ...], str] = {
        ("EVALSHA", script.sha, "0"): "script settle",
        ("EVAL", script.source, "0"): "script settle, whole",
        ("EVALSHA", "0" * 40, "0"): "script ?",
        ("xreadgroup", "GROUP", "g", "c", "STREAMS", "s", ">"): "XREADGROUP",
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "0"): "XREADGROUP own",
        ("config", "get", "x"): "CONFIG GET",
        ("GET", "x"): "GET",
    }
    assert {words: LANGUAGE.name(packed(*words)) for words in commands} == commands


def test_scripts_alone_are_missing_and_reads_are_never_denied_for_memory() -> None:
    assert [word for word in LANGUAGE.refusals if LANGUAGE.applies("HGETALL", word)] == ["LOADING"]
    assert LANGUAGE.applies("script settle", "NOSCRIPT")
    assert not LANGUAGE.applies("script settle, whole", "NOSCRIPT")
