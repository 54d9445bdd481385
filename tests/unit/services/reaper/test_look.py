"""Looking again at a Redis that was met: what one pass does, and what is said where it cannot be made."""

import pytest

from libs.common.domain.errors import StoreUnavailable
from services.reaper.look import INTERVAL_S, Look


async def test_a_pass_looks_once_and_comes_again_in_a_second():
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1

    assert await Look(look).run_once() == INTERVAL_S == 1.0
    assert looks == 1


async def test_a_pass_that_cannot_look_fails_as_any_other():
    async def look() -> None:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await Look(look).run_once()
