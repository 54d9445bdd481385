from libs.common.store.orders import GoesBack
from services.worker.leases import Lease
from services.worker.turn import ASK_AFTER_MS, HAND_BACK_AFTER, HAND_BACK_AFTER_MS, Turn
from tests.support.clock import ManualClock
from tests.unit.services.worker.test_leases import BTC


def test_a_lane_goes_back_after_32_instructions(clock: ManualClock):
    turn = Turn(clock)
    assert [turn.goes_back() for _ in range(HAND_BACK_AFTER - 1)] == [GoesBack.NO] * 31
    assert turn.goes_back() is GoesBack.ALWAYS


def test_a_slow_one_goes_back_where_it_is_wanted_once_a_second_and_always_after_ten(clock: ManualClock):
    turn = Turn(clock)
    clock.advance(ASK_AFTER_MS - 1)
    assert turn.goes_back() is GoesBack.NO
    clock.advance(1)
    assert turn.goes_back() is GoesBack.IF_WANTED
    assert turn.goes_back() is GoesBack.NO  # it was asked
    clock.advance(HAND_BACK_AFTER_MS - ASK_AFTER_MS - 1)
    assert turn.goes_back() is GoesBack.IF_WANTED
    clock.advance(1)
    assert turn.goes_back() is GoesBack.ALWAYS


def test_a_turn_begins_when_the_lane_is_opened(clock: ManualClock):
    lease = Lease(BTC, 0, 60_000, clock)
    clock.advance(HAND_BACK_AFTER_MS)
    lease.opened()
    assert lease.turn.goes_back() is GoesBack.NO
