"""When the certificate of the public address is told."""

import pytest

from libs.common.policy.expiry import (
    MISSED_AT_MOST,
    Look,
    NotValid,
    Seen,
    Sighting,
    Unreachable,
    problem_of,
    sighted,
)

DAY_MS = 86_400_000
VALID = Seen(0, 90 * DAY_MS)


def after(*looks: Look) -> Sighting:
    sighting = None
    for look in looks:
        sighting = sighted(sighting, look, 1)
    assert sighting is not None
    return sighting


@pytest.mark.parametrize(
    ("looks", "day", "problem"),
    [
        ([VALID], 0, None),
        ([VALID], 71, None),
        ([VALID], 73, "it expires in 17 d, 19% of its lifetime: it was not renewed in time"),
        ([VALID], 91, "it has expired"),
        ([Seen(0, DAY_MS // 2)], 0.3, None),
        ([NotValid("certificate has expired")], 0, "it is not valid: certificate has expired"),
        ([NotValid("self-signed certificate"), VALID], 0, None),
        ([VALID, *[Unreachable("refused")] * (MISSED_AT_MOST - 1)], 0, None),
        ([VALID, *[Unreachable("refused")] * MISSED_AT_MOST], 0, "it cannot be seen: refused"),
        ([*[Unreachable("refused")] * MISSED_AT_MOST], 0, "it cannot be seen: refused"),
        ([*[Unreachable("refused")] * MISSED_AT_MOST, VALID], 0, None),
        # What was wrong with it stays true while nobody answers.
        ([NotValid("expired"), Unreachable("refused")], 0, "it is not valid: expired"),
        (
            [VALID, Unreachable("refused")],
            80,
            "it expires in 10 d, 11% of its lifetime: it was not renewed in time",
        ),
    ],
)
def test_a_certificate_is_told_where_clients_refuse_it_or_soon_will(
    looks: list[Look], day: float, problem: str | None
) -> None:
    assert problem_of(after(*looks), int(day * DAY_MS), share=0.2) == problem


@pytest.mark.parametrize(
    ("looks", "day", "is_believed"),
    [
        ([Unreachable("refused")], 0, None),
        ([VALID], 89, True),
        ([VALID], 90, False),
        ([NotValid("expired")], 0, False),
        ([NotValid("expired"), VALID], 0, True),
        ([VALID, NotValid("expired"), Unreachable("refused")], 0, False),
        ([VALID, *[Unreachable("refused")] * (MISSED_AT_MOST - 1)], 0, True),
        ([VALID, *[Unreachable("refused")] * MISSED_AT_MOST], 0, False),
        ([*[Unreachable("refused")] * MISSED_AT_MOST], 0, False),
        ([*[Unreachable("refused")] * MISSED_AT_MOST, VALID], 0, True),
    ],
)
def test_what_clients_refuse_or_do_not_reach_is_not_believed_and_what_nobody_saw_not_known(
    looks: list[Look], day: int, is_believed: bool | None
) -> None:
    assert after(*looks).is_believed(day * DAY_MS) is is_believed


@pytest.mark.parametrize(
    ("looks", "day", "share"),
    [
        ([VALID], 45, 0.5),
        ([VALID], -5, 1.0),
        ([VALID], 100, 0.0),
        ([VALID, NotValid("x")], 0, 0.0),
        ([Unreachable("x")], 0, None),
    ],
)
def test_the_share_that_is_left_of_a_lifetime_is_known_once_one_was_seen(
    looks: list[Look], day: int, share: float | None
) -> None:
    assert after(*looks).share_left(day * DAY_MS) == share
