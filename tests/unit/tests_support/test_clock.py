import pytest

from tests.support.clock import ManualClock


def test_a_step_of_the_wall_clock_leaves_the_monotonic_one():
    clock = ManualClock(now_ms=10_000, monotonic_ms=500)
    clock.advance(1_000)
    clock.step_wall(-5_000)
    assert (clock.now_ms(), clock.monotonic_ms()) == (6_000, 1_500)


def test_time_does_not_pass_backwards():
    with pytest.raises(ValueError, match="backwards"):
        ManualClock().advance(-1)
