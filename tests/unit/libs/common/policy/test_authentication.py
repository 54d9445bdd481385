import pytest

from libs.common.policy.authentication import Credentials


@pytest.mark.parametrize("presented", ["alpha-secret", "beta-secret"])
def test_each_of_the_secrets_is_accepted(presented: str) -> None:
    assert Credentials(["alpha-secret", "beta-secret"]).accept(presented)


@pytest.mark.parametrize(
    "presented", ["", "alpha", "alpha-secret ", "ALPHA-SECRET", "alpha-secretbeta", "\ud800"]
)
def test_nothing_else_is_accepted(presented: str) -> None:
    assert not Credentials(["alpha-secret"]).accept(presented)


def test_an_empty_secret_lets_nobody_in() -> None:
    assert not Credentials([""]).accept("")
    assert not Credentials([]).accept("")
