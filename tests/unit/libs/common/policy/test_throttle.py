import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.throttle import Let, Throttle, Throttled


@pytest.mark.parametrize(("count", "per_ms"), [(1, 1_000), (3, 1_000), (7, 10_000), (30, 60_000)])
def test_the_count_may_come_at_once_and_one_more_may_not(count: int, per_ms: int) -> None:
    throttle = Throttle(count, per_ms)
    assert [throttle.ask(5_000) for _ in range(count)] == [Let()] * count
    assert isinstance(throttle.ask(5_000), Throttled)


def test_who_comes_back_when_told_is_let_in() -> None:
    throttle = Throttle(2, 1_000)
    throttle.ask(0)
    throttle.ask(0)
    match throttle.ask(100):
        case Throttled(retry_after_ms):
            assert throttle.ask(100 + retry_after_ms) == Let()
        case _:
            pytest.fail("let in")


def test_being_refused_costs_nothing() -> None:
    throttle = Throttle(1, 1_000)
    throttle.ask(0)
    for now_ms in range(0, 1_000, 10):
        assert isinstance(throttle.ask(now_ms), Throttled)
    assert throttle.ask(1_000) == Let()


@given(st.integers(1, 20), st.lists(st.integers(0, 300), max_size=200))
def test_never_more_than_twice_the_count_in_any_window(count: int, pauses_ms: list[int]) -> None:
    throttle, now_ms, let = Throttle(count, 1_000), 0, []
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        if throttle.ask(now_ms) == Let():
            let.append(now_ms)
    for start_ms in let:
        assert sum(start_ms <= at_ms < start_ms + 1_000 for at_ms in let) <= 2 * count
