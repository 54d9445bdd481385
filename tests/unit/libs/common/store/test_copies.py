"""What replies to WAIT and WAITAOF mean; servers that know WAITAOF are newer than those that tests have everywhere."""

from collections.abc import Sequence

import pytest
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.copies import Copies
from libs.common.store.sending import packed

UNKNOWN = ResponseError("unknown command 'WAITAOF', with args beginning with: '1' '1' '50'")
IN_MEMORY = 1
"""The answer to WAIT."""


def copies(replicas: int = 1, *, is_on_disk: bool = True) -> Copies:
    return Copies(replicas, is_on_disk=is_on_disk, timeout_s=2.0)


def test_disks_are_asked_for_once_more_after_memory_has_it() -> None:
    asked = copies().asked(0)
    words = (("WAIT", 1, 500), ("WAITAOF", 1, 1, 50), ("WAITAOF", 1, 1, 500))
    assert (asked.words, asked.count) == (b"".join(map(packed, words)), 3)


@pytest.mark.parametrize(("electable", "needed"), [(0, 2), (2, 2), (3, 3)])
def test_all_that_may_take_over_must_have_it_and_never_fewer_than_configured(
    electable: int, needed: int
) -> None:
    assert copies(2).asked(electable).needed == needed


@pytest.mark.parametrize("replies", [(IN_MEMORY, [1, 0], [1, 1]), (0, [1, 0], [1, 1]), (2, [1, 1], [1, 2])])
def test_what_is_on_disk_in_the_end_counts(replies: Sequence[object]) -> None:
    judge(copies(), replies)


@pytest.mark.parametrize("replies", [(IN_MEMORY, [1, 0], [1, 0]), (IN_MEMORY, [1, 1], [1, 0])])
def test_what_is_in_memory_alone_does_not_count(replies: Sequence[object]) -> None:
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it within 500 ms"):
        judge(copies(), replies)


def test_a_server_that_knows_no_waitaof_is_believed_for_memory_and_a_newer_one_after_it_is_not() -> None:
    one = copies()
    judge(one, (IN_MEMORY, UNKNOWN, UNKNOWN))
    with pytest.raises(StoreUnavailable):
        judge(one, (IN_MEMORY, [1, 0], [1, 0]))
    with pytest.raises(StoreUnavailable):
        judge(copies(), (0, UNKNOWN, UNKNOWN))


def test_a_user_who_may_not_ask_is_told() -> None:
    denied = NoPermissionError("this user has no permissions to run the 'waitaof' command")
    with pytest.raises(RedisError, match="waitaof"):
        judge(copies(), (IN_MEMORY, denied, denied))


def judge(one: Copies, replies: Sequence[object]) -> None:
    one.judge(one.asked(0), replies)
