from libs.common.store.flight_time import SLACK_MS, FlightTime
from tests.support.clock import ManualClock


def test_before_redis_has_answered_once_nothing_is_known(clock: ManualClock):
    assert FlightTime(clock, 1_500).not_after_ms() is None


def test_a_call_may_be_executed_until_its_caller_has_given_up(clock: ManualClock):
    time = FlightTime(clock, 1_500)
    departed_ms = time.departs()
    clock.advance(40)
    time.learn(1_000_000, departed_ms)
    clock.advance(60)
    assert time.not_after_ms() == 1_000_000 + 100 + 1_500 + SLACK_MS


def test_a_step_of_redis_clock_is_learned_from_the_next_answer(clock: ManualClock):
    time = FlightTime(clock, 1_500)
    time.learn(1_000_000, time.departs())
    time.learn(5_000_000, time.departs())
    assert time.not_after_ms() == 5_000_000 + 1_500 + SLACK_MS


def test_a_slow_answer_does_not_let_later_calls_be_executed_later(clock: ManualClock):
    time = FlightTime(clock, 1_500)
    time.learn(1_000_000, time.departs())
    departed_ms = time.departs()
    clock.advance(1_400)
    time.learn(1_001_400, departed_ms)
    assert time.not_after_ms() == 1_001_400 + 1_500 + SLACK_MS


def test_a_step_back_of_redis_clock_is_learned_too(clock: ManualClock):
    time = FlightTime(clock, 1_500)
    time.learn(5_000_000, time.departs())
    departed_ms = time.departs()
    clock.advance(40)
    time.learn(1_000_000, departed_ms)
    assert time.not_after_ms() == 1_000_040 + 1_500 + SLACK_MS
