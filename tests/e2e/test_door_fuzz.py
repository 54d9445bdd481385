"""Whatever is posted: an answer of the one shape, never a 5xx, and no secret in sight. See tests/door_fuzz."""

import pytest

from tests.door_fuzz.runner import Fuzz, Outcome

SEED = 20_261_103
SHORT, LONG = 10_000, 200_000
TRIED = (
    "200", "400", "401", "403", "404", "405", "409", "413", "422", "429", "duplicate", "preview", "taken at default",
    "taken at url", "taken at signed", "taken at addresses", "taken at two", "unauthorized", "bad_signature",
    "no_certificate", "address_refused", "unknown_symbol", "unknown_account", "not_allowed", "wrong_dialect",
    "unknown_dialect", "unfilled_placeholder", "credential_in_field", "id_conflict", "not_utf8",
)  # fmt: skip
"""What a run meets: what was not tried was not shown."""


def assert_kept(outcome: Outcome) -> None:
    told = "\n".join(outcome.examples)
    assert not outcome.violations, f"seed {outcome.seed}: {dict(outcome.violations)}\n{told}"
    assert outcome.alerts > 0
    assert [what for what in TRIED if not outcome.counts[what]] == []


@pytest.mark.timeout(120)
async def test_whatever_is_posted_the_door_keeps_its_promises(private_redis, tmp_path):
    assert_kept(await Fuzz(tmp_path, private_redis, SEED).run(SHORT))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_of_two_hundred_thousand_posts_none_breaks_a_promise(private_redis, tmp_path):
    assert_kept(await Fuzz(tmp_path, private_redis, SEED + 1).run(LONG))
