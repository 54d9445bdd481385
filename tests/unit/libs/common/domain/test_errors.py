import pytest

from libs.common.domain import errors
from libs.common.domain.errors import (
    AdmissionError,
    BridgeError,
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)

ALL = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]


def test_there_is_one_tree():
    assert all(issubclass(one, BridgeError) for one in ALL)


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {
        line.split()[0]: len(line) - len(line.lstrip()) for line in errors.__doc__.splitlines()[2:] if line
    }
    assert set(drawn) == {one.__name__ for one in ALL}
    for one in ALL:
        depth = len(one.__mro__) - len(BridgeError.__mro__)
        assert drawn[one.__name__] == 2 * depth, one


def test_an_unknown_outcome_is_never_taken_for_one_that_may_be_retried():
    assert not issubclass(OrderOutcomeUnknown, BrokerUnavailable)
    assert issubclass(BrokerThrottled, BrokerUnavailable)
    assert issubclass(OrderOutcomeUnknown, BrokerError)


def test_an_error_carries_its_facts():
    refused = AdmissionError(429, "too_many", "wait", field="symbol", retry_after_s=3)
    assert (refused.status, refused.code, refused.detail, refused.field, refused.retry_after_s) == (
        429,
        "too_many",
        "wait",
        "symbol",
        3,
    )
    assert str(refused) == "429 too_many: wait"
    assert str(OrderRejected("margin", "not enough")) == "margin: not enough"
    assert BrokerThrottled("slow down", retry_after_ms=None).retry_after_ms is None


@pytest.mark.parametrize("text", ["", "words"])
def test_every_error_without_facts_is_made_of_its_text(text: str):
    # `Batch` makes one of the same kind for each caller.
    for one in (errors.StoreUnavailable, errors.StoreCorrupt):
        made = one(text)
        assert str(type(made)(*made.args)) == text
