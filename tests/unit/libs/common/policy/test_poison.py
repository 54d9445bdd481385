import pytest

from libs.common.policy.poison import SOLO_AFTER, Treatment, treatment


@pytest.mark.parametrize(
    ("lost_holders", "expected"),
    [
        (0, Treatment.NORMAL),
        (SOLO_AFTER - 1, Treatment.NORMAL),
        (SOLO_AFTER, Treatment.SOLO),
        (9, Treatment.SOLO),
        (10, Treatment.GIVE_UP),
        (11, Treatment.GIVE_UP),
    ],
)
def test_what_loses_its_workers_is_run_alone_and_then_given_up(lost_holders: int, expected: Treatment):
    assert treatment(lost_holders, limit=10, is_order_ambiguous=False) is expected


@pytest.mark.parametrize("lost_holders", [10, 1_000])
def test_a_head_whose_order_may_exist_is_never_given_up(lost_holders: int):
    assert treatment(lost_holders, limit=10, is_order_ambiguous=True) is Treatment.NORMAL


def test_a_low_limit_gives_up_before_running_alone():
    assert treatment(1, limit=1, is_order_ambiguous=False) is Treatment.GIVE_UP
    assert treatment(1, limit=1, is_order_ambiguous=True) is Treatment.NORMAL


def test_a_head_is_alone_well_before_it_is_given_up_at_the_default_limit():
    assert SOLO_AFTER < 10
