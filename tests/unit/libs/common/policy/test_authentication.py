import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy import authentication
from libs.common.policy.authentication import (
    Credentials,
    HashedSecret,
    HashedToken,
    hash_secret,
    is_token,
    token_digest,
)

NOW_MS = 1_780_000_000_000

texts = st.text(max_size=60)


def credentials(*secrets: str) -> Credentials:
    return Credentials(hash_secret(secret, f"salt-{number}") for number, secret in enumerate(secrets))


@pytest.mark.parametrize("presented", ["alpha-secret", "beta-secret"])
def test_each_of_the_secrets_is_accepted(presented: str) -> None:
    assert credentials("alpha-secret", "beta-secret").accept(presented, NOW_MS)


@pytest.mark.parametrize(
    "presented",
    ["", "alpha", "alpha-secret ", "ALPHA-SECRET", "alpha-secretbeta", "salt-0alpha-secret", "\ud800"],
)
def test_nothing_else_is_accepted(presented: str) -> None:
    assert not credentials("alpha-secret").accept(presented, NOW_MS)


def test_without_secrets_nobody_is_let_in() -> None:
    assert not Credentials([]).accept("", NOW_MS)


def test_a_stored_digest_cannot_be_presented() -> None:
    kept = hash_secret("alpha-secret", "salt")

    assert not Credentials([kept]).accept(kept.digest, NOW_MS)
    assert "alpha-secret" not in repr(kept)


@given(texts, texts)
def test_one_secret_alone_opens(own: str, presented: str) -> None:
    assert credentials(own).accept(presented, NOW_MS) is (own == presented)


@given(texts, st.text(min_size=1, max_size=16), st.text(min_size=1, max_size=16))
def test_one_secret_under_two_salts_looks_like_two(secret: str, salt: str, other: str) -> None:
    assert (hash_secret(secret, salt).digest == hash_secret(secret, other).digest) is (salt == other)


@pytest.mark.parametrize(
    ("expires_at_ms", "is_accepted"), [(None, True), (NOW_MS + 1, True), (NOW_MS, False), (NOW_MS - 1, False)]
)
def test_an_old_credential_is_accepted_until_it_expires(expires_at_ms: int | None, is_accepted: bool) -> None:
    old = hash_secret("old-secret", "salt", expires_at_ms)
    new = hash_secret("new-secret", "pepper")

    both = Credentials([old, new])

    assert both.accept("old-secret", NOW_MS) is is_accepted
    assert both.accept("new-secret", NOW_MS)
    assert is_token("tok", HashedToken(token_digest("tok"), expires_at_ms), NOW_MS) is is_accepted


@given(texts, texts)
def test_one_token_alone_finds_its_webhook(own: str, presented: str) -> None:
    assert is_token(presented, HashedToken(token_digest(own)), NOW_MS) is (own == presented)


@given(
    presented=texts | st.text(min_size=1_000, max_size=2_000), number=st.integers(min_value=1, max_value=4)
)
def test_every_comparison_takes_digests_of_one_length_and_all_are_made(presented: str, number: int) -> None:
    compared: list[tuple[int, int]] = []

    def spy(own: bytes, other: bytes) -> bool:
        compared.append((len(own), len(other)))
        return hmac.compare_digest(own, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication, "hmac", type("Spied", (), {"compare_digest": staticmethod(spy)}))
        # The first of them matches: those behind it are compared all the same.
        secrets = [presented, *(f"secret {n}" for n in range(number - 1))]
        assert credentials(*secrets).accept(presented, NOW_MS)
        assert len(compared) == number
        is_token(presented, HashedToken(token_digest("tok")), NOW_MS)

    assert compared == [(32, 32)] * (number + 1)


def test_a_secret_that_was_accepted_is_not_hashed_again_but_compared_with_all_that_were() -> None:
    secrets = [f"secret {number}" for number in range(3)]
    many = credentials(*secrets)
    for secret in secrets:
        assert many.accept(secret, NOW_MS)
    compared: list[tuple[bytes, bytes]] = []

    def spy(own: bytes, other: bytes) -> bool:
        compared.append((own, other))
        return hmac.compare_digest(own, other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authentication, "hmac", type("Spied", (), {"compare_digest": staticmethod(spy)}))
        for secret in secrets:
            assert many.accept(secret, NOW_MS)

    # What was presented comes second: the time of a comparison is the second text's.
    known = [secret.encode() for secret in secrets]
    assert compared == [(one, shown) for shown in known for one in known]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 3)), max_size=4),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=12),
)
def test_what_was_presented_before_changes_no_answer(
    secrets: list[tuple[str, int | None]], presented: list[tuple[str, int]]
) -> None:
    def fresh() -> Credentials:
        return Credentials(
            hash_secret(secret, str(salt), expires_at_ms)
            for salt, (secret, expires_at_ms) in enumerate(secrets)
        )

    known = fresh()
    for text, now_ms in presented:
        assert known.accept(text, now_ms) is fresh().accept(text, now_ms)
        assert len(known._proved) <= len(secrets)


def test_a_digest_that_is_none_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        Credentials([HashedSecret("salt", "no digest")])
