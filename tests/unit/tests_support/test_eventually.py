import pytest

from tests.support.eventually import eventually, eventually_sync


async def test_the_truthy_value_is_returned():
    values = iter([0, None, "", "there"])
    assert await eventually(lambda: next(values), interval_s=0) == "there"


async def test_an_async_condition_is_awaited_each_time():
    values = iter([False, 7])

    async def condition() -> int:
        return next(values)

    assert await eventually(condition, interval_s=0) == 7


async def test_an_assertion_counts_as_not_yet_and_is_told_at_the_end():
    def condition() -> bool:
        raise AssertionError("two of three")

    with pytest.raises(AssertionError, match=r"all three; last: two of three"):
        await eventually(condition, timeout_s=0.05, interval_s=0.01, message="all three")


async def test_any_other_error_passes_at_once():
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 / 0, timeout_s=5)


def test_the_condition_is_asked_at_least_once_without_time():
    assert eventually_sync(lambda: 1, timeout_s=0) == 1


def test_a_falsy_value_is_told_at_the_end():
    with pytest.raises(AssertionError, match="last value: 0"):
        eventually_sync(lambda: 0, timeout_s=0.02, interval_s=0.01)
