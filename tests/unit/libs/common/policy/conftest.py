from collections.abc import Iterator
from decimal import localcontext

import pytest


@pytest.fixture(scope="module")
def exact_sums() -> Iterator[None]:
    """Lets the tests' own sums keep every digit; Python's default keeps 28."""
    with localcontext(prec=200):
        yield
