"""What hands and accidents do to the keys in Redis, and how the bridge gets over it."""

import asyncio
from collections import Counter

import pytest

from tests.e2e.faults import SHORT_LEASE, next_orders_ms, now_ms, symbols_of, wait_orders
from tests.e2e.ledger import (
    LANES,
    PREFIX,
    READY,
    all_accepted,
    assert_clean,
    assert_executed_once,
    assert_in_order,
    assert_no_failures,
    assert_whole_run,
    lane_of,
)
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually

HEALED_MS = 2_000
GROUP = "workers"
FAR_DEADLINE = "9999999999999"

MALFORMED = [
    {"nonsense": "1"},
    {"version": "1", "alert": "by-hand-1", "account": ACCOUNT, "deadline": "soon", "body": "{}"},
    {"version": "1", "alert": "by-hand-2", "account": ACCOUNT, "deadline": FAR_DEADLINE, "body": "{not JSON"},
    {"version": "one", "alert": "by-hand-3", "account": ACCOUNT, "deadline": FAR_DEADLINE, "body": "{}"},
    {
        "version": "1",
        "alert": "by-hand-4",
        "account": ACCOUNT,
        "deadline": FAR_DEADLINE,
        "body": '{"side":7}',
    },
]


async def test_a_malformed_entry_put_into_a_lane_by_hand_ends_as_a_dead_letter_between_its_neighbours(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=2)
    venue.control(delay_ms=20)
    accepted: list[str] = []
    for entry in MALFORMED:
        accepted += all_accepted(await bridge.send_many([bridge.alert(symbol="LANE") for _ in range(10)], 1))
        bridge.client.xadd(f"{PREFIX}lane:{lane_of('LANE')}", entry)
    accepted += all_accepted(await bridge.send_many([bridge.alert(symbol="LANE") for _ in range(10)], 1))

    await bridge.wait_ended(len(accepted))

    assert_executed_once(bridge, venue, accepted)
    assert_in_order(bridge, venue, accepted)
    await assert_clean(bridge)
    letters = bridge.dead_letters()
    assert Counter(letter["reason"] for letter in letters) == {"malformed": len(MALFORMED)}
    for entry, letter in zip(MALFORMED, letters, strict=True):
        kept = [value for value in entry.values() if len(value) > 3]
        assert all(value in str(letter) for value in kept), (entry, letter)
    assert_no_failures(bridge)


async def test_a_malformed_entry_in_a_lane_without_a_token_is_found_too(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue)

    bridge.client.xadd(f"{PREFIX}lane:{lane_of('IDLE')}", MALFORMED[0])

    await eventually(bridge.dead_letters, HEALED_MS / 1_000)
    await assert_clean(bridge)


def destroy_group(client, lanes):
    client.xgroup_destroy(READY, GROUP)


def delete_every_token(client, lanes):
    client.delete(READY)


def delete_held_tokens(client, lanes):
    client.xdel(READY, *tokens_of(client, lanes))


def acknowledge_held_tokens(client, lanes):
    client.xack(READY, GROUP, *tokens_of(client, lanes))


def acknowledge_and_delete_tokens(client, lanes):
    tokens = tokens_of(client, lanes)
    client.xack(READY, GROUP, *tokens)
    client.xdel(READY, *tokens)


def spoil_fences(client, lanes):
    client.hset(LANES, mapping=dict.fromkeys(lanes, "who|knows"))


def delete_consumers(client, lanes):
    for consumer in client.xinfo_consumers(READY, GROUP):
        client.xgroup_delconsumer(READY, GROUP, consumer["name"])


def tokens_of(client, lanes):
    return [fence.partition("|")[0] for fence in client.hmget(LANES, lanes) if fence]


@pytest.mark.parametrize(
    "damages",
    [
        pytest.param([destroy_group, destroy_group, destroy_group], id="group-destroyed"),
        pytest.param(
            [delete_held_tokens, acknowledge_held_tokens, acknowledge_and_delete_tokens, delete_every_token],
            id="tokens-deleted",
        ),
        pytest.param([delete_consumers, spoil_fences], id="consumers-deleted-and-fences-spoiled"),
    ],
)
@pytest.mark.alone
async def test_damage_by_hand_under_load_heals_within_two_seconds_and_costs_nothing(
    private_redis, venue, bridge_factory, damages
):
    # What a lost fence named is cleared away once its lease has lapsed.
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=SHORT_LEASE)
    venue.control(delay_ms=60)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(1_600)]
    sending = asyncio.create_task(bridge.send_many(alerts, 40))
    hurt = []
    for damage in damages:
        await wait_orders(venue, venue.stats()["executed"] + 150)
        lanes = await eventually(lambda: _at_least(20, list(bridge.held_lanes())))
        damage(bridge.client, lanes)
        at_ms = now_ms()
        await eventually(lambda: _have_traded(bridge, venue, lanes, at_ms), 2 * HEALED_MS / 1_000)  # noqa: B023
        hurt.append((damage.__name__, lanes, at_ms))
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(len(alerts), 30)

    for name, lanes, at_ms in hurt:
        stood_ms = next_orders_ms(venue, symbols_of(lanes), at_ms)
        assert max(stood_ms.values()) <= HEALED_MS, (name, stood_ms)
    await assert_whole_run(bridge, venue, alert_ids)


@pytest.mark.alone
async def test_lanes_whose_fences_are_gone_get_new_ones(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=SHORT_LEASE)
    venue.control(delay_ms=500)
    alert_ids = all_accepted(
        await bridge.send_many([bridge.alert(symbol=f"S{n % 40}") for n in range(120)], 40)
    )
    lanes = await eventually(lambda: _at_least(20, list(bridge.held_lanes())))

    bridge.client.delete(LANES)

    at_ms = now_ms()
    await eventually(lambda: _have_traded(bridge, venue, lanes, at_ms), 2 * HEALED_MS / 1_000)
    await bridge.wait_ended(120)
    assert max(next_orders_ms(venue, symbols_of(lanes), at_ms).values()) <= HEALED_MS
    await assert_whole_run(bridge, venue, alert_ids)


def _at_least(count, lanes):
    assert len(lanes) >= count, len(lanes)
    return lanes


def _have_traded(bridge, venue, lanes, at_ms):
    """Return whether each lane has traded since, or has nothing left to trade."""
    symbols = symbols_of(lanes)
    missing = symbols - next_orders_ms(venue, symbols, at_ms).keys()
    still = [symbol for symbol in missing if bridge.client.exists(f"{PREFIX}lane:{lane_of(symbol)}")]
    assert not still, f"these stand still: {still}"
    return True
