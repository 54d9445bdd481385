import pytest

from libs.common.domain.ids import LaneName, Token
from libs.common.store.head import Held
from services.worker.leases import YOUNG_MS, Lease, Leases
from tests.support.clock import ManualClock

LEASE_MS = 6_000
BTC = Held(LaneName("desk:BTC"), Token("1-1"))
ETH = Held(LaneName("desk:ETH"), Token("2-1"))


@pytest.fixture
def leases(clock: ManualClock) -> Leases:
    return Leases(clock, LEASE_MS)


def test_a_lease_counts_from_before_the_call_that_gave_it(leases: Leases, clock: ManualClock):
    clock.advance(1_000)  # the call took a second
    lease = leases.take(BTC, 0)
    clock.advance(LEASE_MS - 1_001)
    assert lease.is_ours()
    clock.advance(1)
    assert not lease.is_ours()


def test_a_step_of_the_wall_clock_changes_no_lease(leases: Leases, clock: ManualClock):
    lease = leases.take(BTC, 0)
    clock.step_wall(3_600_000)
    assert lease.is_ours()
    clock.step_wall(-7_200_000)
    clock.advance(LEASE_MS)
    assert not lease.is_ours()


def test_a_renewal_extends_it_from_before_the_renewing_call(leases: Leases, clock: ManualClock):
    lease = leases.take(BTC, 0)
    clock.advance(5_000)
    assert leases.renewed([lease], [True], asked_at_ms=4_000) == 0
    clock.advance(4_999)
    assert lease.is_ours()
    clock.advance(1)
    assert not lease.is_ours()


def test_an_answer_that_comes_late_shortens_nothing(clock: ManualClock):
    lease = Lease(BTC, 4_000, LEASE_MS, clock)
    lease.renewed(2_000)
    clock.advance(LEASE_MS + 3_999)
    assert lease.is_ours()


def test_a_lease_that_is_lost_is_not_ours_however_young_and_no_renewal_brings_it_back(
    leases: Leases, clock: ManualClock
):
    lease = leases.take(BTC, 0)
    assert leases.renewed([lease], [False], 0) == 1
    assert not lease.is_ours()
    leases.renewed([lease], [True], 0)
    assert not lease.is_ours()


def test_a_lease_is_young_for_a_moment_after_each_renewal(leases: Leases, clock: ManualClock):
    lease = leases.take(BTC, 0)
    clock.advance(YOUNG_MS)
    assert lease.is_young()
    clock.advance(1)
    assert not lease.is_young()
    lease.renewed(YOUNG_MS)
    assert lease.is_young()
    lease.is_lost = True
    assert not lease.is_young()


def test_only_lanes_that_were_opened_and_not_lost_are_renewed(leases: Leases):
    read, opened = leases.take(BTC, 0), leases.take(ETH, 0)
    assert leases.live() == []
    opened.opened()
    assert leases.live() == [opened]
    opened.is_lost = True
    read.opened()
    assert leases.live() == [read]


def test_a_lane_that_was_dropped_meanwhile_is_no_loss(leases: Leases):
    lease = leases.take(BTC, 0)
    leases.drop(BTC)
    leases.drop(BTC)
    assert leases.renewed([lease], [False], 0) == 0
    assert not lease.is_lost
    assert BTC not in leases


def test_the_same_lane_under_a_new_token_is_another_lease(leases: Leases):
    old = leases.take(BTC, 0)
    new = leases.take(Held(BTC.lane, Token("9-1")), 0)
    leases.renewed([old, new], [False, True], 0)
    assert (old.is_ours(), new.is_ours()) == (False, True)


def test_giving_up_loses_all(leases: Leases):
    held = [leases.take(BTC, 0), leases.take(ETH, 0)]
    leases.give_up()
    assert not any(lease.is_ours() for lease in held)
