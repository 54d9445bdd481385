import asyncio

import pytest

from services.worker.solo import Solo


async def test_a_suspect_that_is_the_only_lane_need_not_wait():
    solo = Solo()
    solo.lane_started()
    async with asyncio.timeout(1), solo.alone():
        assert solo.is_wanted
    assert not solo.is_wanted


async def test_a_suspect_waits_until_every_other_lane_has_ended():
    solo = Solo()
    for _ in range(3):
        solo.lane_started()
    began = asyncio.Event()

    async def suspect() -> None:
        async with solo.alone():
            began.set()

    task = asyncio.create_task(suspect())
    for _ in range(2):
        await asyncio.sleep(0)
        assert solo.is_wanted
        assert not began.is_set()
        solo.lane_ended()
    await asyncio.wait_for(task, 1)
    assert began.is_set()


async def test_after_a_suspect_that_failed_others_may_run_again():
    solo = Solo()
    with pytest.raises(ZeroDivisionError):
        async with solo.alone():
            raise ZeroDivisionError
    assert not solo.is_wanted
