import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.room import FREE_AFTER_MS, HOLDS_MS, PLENTY_BYTES, REOPENS_AT, Room


def heard(room: Room, *used: int) -> list[bool]:
    """Return whether it was full after each of these, of 1,000."""
    found = []
    for one in used:
        room.learn(one, 1_000, 0)
        found.append(room.is_full)
    return found


def test_it_is_full_from_its_share_on_until_a_little_below():
    room = Room(memory=0.8, backlog=1)
    assert heard(room, 799, 800, 799, 760, 759, 799, 801) == [False, True, True, True, False, False, True]


def test_a_server_that_does_not_say_how_much_there_is_is_never_full():
    room = Room(memory=0.8, backlog=1)
    room.learn(10**12, 0, 0)
    assert not room.is_full
    assert room.share == 0


def test_one_that_stays_a_little_below_its_share_is_free_after_a_while():
    room = Room(memory=0.8, backlog=1)
    room.learn(810, 1_000, 0)
    room.learn(790, 1_000, 1_000)
    room.learn(805, 1_000, 2_000)
    room.learn(790, 1_000, 3_000)
    room.learn(790, 1_000, 3_000 + FREE_AFTER_MS - 1)
    assert room.is_full

    room.learn(790, 1_000, 3_000 + FREE_AFTER_MS)

    assert not room.is_full
    assert room.bound == 0.8


def test_each_change_is_told_once():
    room, told = Room(memory=0.8, backlog=1), []
    room.on_change = lambda: told.append(room.is_full)
    heard(room, 100, 900, 950, 800, 100, 200, 850)
    assert told == [True, False, True]


OF_BYTES = 1_000_000_000


def test_while_there_is_plenty_what_was_heard_holds_for_a_moment():
    room = Room(memory=0.8, backlog=1)
    assert room.must_be_asked(0)
    room.learn(800_000_000 - PLENTY_BYTES, OF_BYTES, 5)
    assert not room.must_be_asked(5 + HOLDS_MS - 1)
    assert room.must_be_asked(5 + HOLDS_MS)


def test_without_plenty_it_must_be_asked_each_time():
    room = Room(memory=0.8, backlog=1)
    room.learn(800_000_000 - PLENTY_BYTES + 1, OF_BYTES, 5)
    assert room.must_be_asked(5)


def test_a_little_memory_is_never_plenty():
    room = Room(memory=0.8, backlog=1)
    room.learn(1_000, PLENTY_BYTES, 5)
    assert room.must_be_asked(5)


def test_a_server_that_does_not_say_is_asked_now_and_then():
    room = Room(memory=0.8, backlog=1)
    room.learn(10**12, 0, 5)
    assert not room.must_be_asked(5 + HOLDS_MS - 1)
    assert room.must_be_asked(5 + HOLDS_MS)


def test_what_is_full_must_be_asked_each_time_until_there_is_plenty():
    room = Room(memory=0.8, backlog=1)
    room.learn(900_000_000, OF_BYTES, 5)
    room.learn(770_000_000, OF_BYTES, 5)
    assert room.is_full
    assert room.must_be_asked(5)
    room.learn(390_000_000, OF_BYTES, 5)
    assert not room.is_full
    assert not room.must_be_asked(5)


def test_its_words_name_what_is_used_and_what_may_be():
    room = Room(memory=0.8, backlog=1)
    room.learn(812, 1_000, 0)
    assert room.words == "Redis uses 81.2% of its memory, and alerts are taken below 76.0% of it"


@given(memory=st.floats(0.01, 0.95), used=st.lists(st.integers(0, 1_000), max_size=30))
@pytest.mark.parametrize("of", [1_000])
def test_what_is_sent_to_redis_as_text_bounds_as_it_does_here(memory: float, used: list[int], of: int):
    room = Room(memory=memory, backlog=1)
    for one in used:
        bound = float(str(room.bound))
        room.learn(one, of, 0)
        assert room.is_full == (one / of >= bound)
        assert room.bound in {memory, memory * REOPENS_AT}
