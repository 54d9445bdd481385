"""Halts and flattening while alerts come and workers trade."""

from collections.abc import Callable

import pytest

from tests.e2e.commands import run
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.stray_keys import assert_no_stray_keys

SYMBOLS = [f"S{n}" for n in range(6)]


async def post_each(bridge: Bridge, action: str = "buy") -> None:
    answers = await bridge.send_many([bridge.alert(symbol, action, bascule=1) for symbol in SYMBOLS])
    assert [status for status, _ in answers] == [200] * len(SYMBOLS)


def waits_for(bridge: Bridge, reason: str, count: int) -> Callable[[], bool]:
    return lambda: sum(one.get("waits_for") == reason for one in bridge.instructions().values()) == count


async def quantities(bridge: Bridge) -> dict[str, str]:
    found = (await run(bridge, "positions", "--json")).data
    return {one["symbol"]: one["quantity"] for one in found}


async def test_what_is_paused_waits_at_every_worker_and_goes_on_when_it_is_resumed(
    private_redis, bridge_factory
):
    bridge = bridge_factory(private_redis, workers=2)
    await run(bridge, "halt", "--mode", "pause", "--reason", "news")
    await post_each(bridge)
    await eventually(waits_for(bridge, "halted", len(SYMBOLS)), 30)
    assert bridge.orders() == {}

    await run(bridge, "resume")
    assert await bridge.wait_ended(len(SYMBOLS)) == {"EXECUTED": len(SYMBOLS)}
    assert_no_stray_keys(bridge.client)


@pytest.mark.parametrize(("mode", "exits"), [("reject", "REJECTED"), ("close-only", "EXECUTED")])
async def test_entries_end_rejected_and_exits_as_the_mode_says(
    private_redis, bridge_factory, mode: str, exits: str
):
    bridge = bridge_factory(private_redis, workers=2)
    await post_each(bridge)
    await bridge.wait_ended(len(SYMBOLS))
    await run(bridge, "halt", "--account", ACCOUNT, "--mode", mode, "--reason", "news")

    await post_each(bridge)
    assert (await bridge.wait_ended(2 * len(SYMBOLS)))["REJECTED"] == len(SYMBOLS)
    await post_each(bridge, "close_all")
    states = await bridge.wait_ended(3 * len(SYMBOLS))

    assert states["REJECTED"] == len(SYMBOLS) * (2 if exits == "REJECTED" else 1)
    assert {letter["reason"] for letter in bridge.dead_letters()} == {"halted"}
    assert len(await quantities(bridge)) == (len(SYMBOLS) if exits == "REJECTED" else 0)


async def test_a_flattened_account_holds_nothing_though_alerts_keep_coming(private_redis, bridge_factory):
    bridge = bridge_factory(private_redis, workers=2)
    await post_each(bridge)
    await bridge.wait_ended(len(SYMBOLS))
    assert set(await quantities(bridge)) == set(SYMBOLS)

    flattened = await run(bridge, "flatten", ACCOUNT, "--yes", "--halt", "--json")
    closes = [one for one in flattened.data["instructions"] if one["action"] == "close_all"]
    assert {(one["symbol"], one["state"]) for one in closes} == {(name, "EXECUTED") for name in SYMBOLS}

    await post_each(bridge)
    await bridge.wait_ended(4 * len(SYMBOLS))
    assert await quantities(bridge) == {}
    assert_no_stray_keys(bridge.client)
