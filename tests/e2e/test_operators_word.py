"""Orders that no look-up can tell: their lane is held until an operator says what became of them."""

from collections.abc import Callable

import pytest

from libs.common.domain.ids import AccountName, AlertId, client_order_id
from tests.e2e.commands import bascule
from tests.e2e.ledger import (
    PARKED,
    all_accepted,
    assert_clean,
    assert_executed_once,
    assert_in_order,
    journal,
    lane_of,
)
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

HELD = "HELD"
WAITING = 3


@pytest.mark.parametrize(
    ("verdict", "faults", "attempts"),
    [
        pytest.param("filled", {"drop_after": 1}, 1, id="filled"),
        pytest.param("not-executed", {"drop_before": 1}, 2, id="not-executed"),
    ],
)
async def test_a_lane_whose_order_cannot_be_told_is_held_until_an_operator_decides_and_then_goes_on(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    verdict: str,
    faults: dict[str, float],
    attempts: int,
) -> None:
    config = {
        "accounts": {ACCOUNT: {"timeout": "500ms", "request_expiry": "500ms", "look_up_lag": "200ms"}},
        "webhooks": {"default": {"max_age": "10min"}},
    }
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=config)
    venue.control(symbols={HELD: {**faults, "lookup_status": 503}}, lookup_status=503)
    alerts = [bridge.alert(symbol=HELD) for _ in range(1 + WAITING)]
    held, *waiting = all_accepted(await bridge.send_many(alerts))
    others = all_accepted(await bridge.send_many([bridge.alert(symbol=f"S{n}") for n in range(5)]))
    await wait_for_look_ups(bridge, venue, others)
    order_id = client_order_id(AccountName(ACCOUNT), AlertId(held), 0)
    traded = [entry["alert_id"] for entry in venue.ledger() if entry["symbol"] == HELD]
    assert traded == ([held] if verdict == "filled" else [])

    async def is_settled() -> bool:
        # Too early while the request may still execute.
        decided = await bascule(
            bridge, "orders", "resolve", order_id, "--as", verdict, "--reason", "seen there", "--yes"
        )
        assert decided.code == 0, decided.stderr
        return True

    # Orders trade again, and look-ups go on failing.
    venue.control(symbols={HELD: {**dict.fromkeys(faults, 0), "lookup_status": 503}})
    await eventually(is_settled, 20, 0.2)
    await bridge.wait_ended(1 + WAITING + len(others))

    assert bridge.state_counts() == {"EXECUTED": 1 + WAITING + len(others)}
    assert_executed_once(bridge, venue, [held, *waiting, *others])
    assert_in_order(bridge, venue, [held, *waiting, *others])
    sent = [event for event in journal(bridge) if event.alert_id == held and event.event == "SENDING"]
    assert len(sent) == attempts
    await assert_clean(bridge)


async def wait_for_look_ups(bridge: Bridge, venue: Venue, others: list[str]) -> None:
    """Wait until all other lanes are done, and only look-ups of the held one are left to do."""

    def are_left() -> bool:
        states = bridge.instruction_states()
        assert {states[f"{one}:{ACCOUNT}"] for one in others} == {"EXECUTED"}
        return bool(bridge.client.zscore(PARKED, lane_of(HELD))) and venue.stats()["lookups"] > 3

    await eventually(are_left, 20)
    assert bridge.state_counts() == {"ACTIVE": 1, "QUEUED": WAITING, "EXECUTED": len(others)}
