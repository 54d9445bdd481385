from services.ingress.sampling import Sampler
from tests.support.clock import ManualClock


def test_the_first_is_let_through_and_the_next_stands_for_all_between(clock: ManualClock) -> None:
    sampler = Sampler(clock, every_ms=1_000)
    assert sampler.take() == 1
    assert [sampler.take() for _ in range(5)] == [0] * 5
    clock.advance(1_000)
    assert sampler.take() == 6
    assert sampler.take() == 0
