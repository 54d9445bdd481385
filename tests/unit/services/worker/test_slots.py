from libs.common.domain.ids import AccountName
from services.worker.slots import LONGEST_WAIT_MS, SHORTEST_WAIT_MS, Slots
from tests.support.clock import ManualClock

DESK, OTHER = AccountName("desk"), AccountName("other")


def test_one_account_leaves_room_for_others(clock: ManualClock):
    slots = Slots(clock, count=4, per_account=2)
    assert [slots.take(DESK) for _ in range(3)] == [True, True, False]
    assert [slots.take(OTHER) for _ in range(3)] == [True, True, False]
    assert slots.free == 0


def test_a_slot_given_back_is_free_again(clock: ManualClock):
    slots = Slots(clock, count=1, per_account=1)
    assert slots.take(DESK)
    assert not slots.take(OTHER)
    slots.give_back(DESK, ran_ms=10)
    assert slots.take(OTHER)


def test_the_more_lanes_wait_the_longer_each_waits(clock: ManualClock):
    slots = Slots(clock, count=2, per_account=2)
    assert slots.take(DESK)
    slots.give_back(DESK, ran_ms=300)
    waits = [slots.wait_ms(DESK) for _ in range(40)]
    assert waits[:4] == [300, 300, 600, 600]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_MS


def test_waits_are_short_again_after_the_crowd_is_gone(clock: ManualClock):
    slots = Slots(clock, count=2, per_account=2)
    for _ in range(100):
        slots.wait_ms(DESK)
    clock.advance(LONGEST_WAIT_MS + 1)
    assert slots.wait_ms(DESK) == SHORTEST_WAIT_MS
