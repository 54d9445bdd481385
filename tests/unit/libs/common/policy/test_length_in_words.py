import pytest

from libs.common.domain.clock import DAY_MS
from libs.common.policy.length_in_words import in_words

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [
        (40, "40 ms"),
        (1_000, "1 s"),
        (90_000, "1 min 30 s"),
        (6 * HOUR_MS, "6 h"),
        (2 * DAY_MS + 5 * HOUR_MS + 1_000, "2 d 5 h"),
    ],
)
def test_times_are_said_in_their_two_largest_units(span_ms: int, words: str) -> None:
    assert in_words(span_ms) == words
