"""What a run leaves behind in Redis."""

from tests.e2e.ledger import PREFIX, accepted_ids, assert_clean, assert_no_failures
from tests.support.bridge_config import ACCOUNT, SECRET
from tests.support.eventually import eventually
from tests.support.stray_keys import find_stray_keys

LIMITED = {
    "limits": {"symbols": {"SLOW": {"rate": "1/s", "burst": 1}}, "account": {"rate": "1000/s", "burst": 100}}
}


async def test_every_key_left_after_a_run_expires_or_is_declared_permanent(
    private_redis, venue, bridge_factory
):
    config = {
        "worker": {"lease": "2s"},
        "accounts": {ACCOUNT: {"request_expiry": "1s", "timeout": "500ms", **LIMITED}},
        "webhooks": {"default": {"max_age": "3s", "rate": "1000/s"}},
        "breaker": {"failures": 3, "reset": "1s"},
    }
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=config)
    venue.control(
        symbols={
            "REJECTED": {"reject": "no_funds"},
            "DROPPED": {"drop_after": 1},
            "THROTTLED": {"status": 429},
            "BROKEN": {"status": 500},
            "GARBAGE": {"garbage": "no_order_id"},
            "RESTING": {"order_status": "accepted"},
        }
    )
    symbols = ["REJECTED", "DROPPED", "THROTTLED", "BROKEN", "GARBAGE", "RESTING", "SLOW", "GOOD", "näher/1!"]
    alerts = [bridge.alert(symbol=symbol) for symbol in symbols for _ in range(6)]
    nameless = {"secret": SECRET, "symbol": "GOOD", "action": "sell"}

    answers = await bridge.send_many(
        [*alerts, *alerts, nameless, nameless, {**nameless, "action": "hold"}], 8
    )
    bridge.client.xadd(f"{PREFIX}lane:{ACCOUNT}:GOOD", {"by": "hand"})
    # Few may be: the venue's 429 pauses the whole account, and an alert is too old after 3 s.
    await eventually(lambda: bridge.state_counts()["EXECUTED"] >= 1)
    bridge.workers[0].kill()
    count = len(set(accepted_ids(answers)))
    states = await bridge.wait_ended(count, 30)

    assert {"EXECUTED", "REJECTED", "EXPIRED"} <= set(states)
    await eventually(bridge.dead_letters)
    await assert_clean(bridge, 10)
    assert_no_failures(bridge)
    kinds = {key.removeprefix(PREFIX).partition(":")[0] for key in bridge.client.scan_iter(count=1_000)}
    assert {"alert", "instruction", "order", "seen", "bucket", "journal", "dead", "refused"} <= kinds


async def test_trading_on_paper_leaves_only_its_books(private_redis, bridge_factory):
    bridge = bridge_factory(private_redis, broker="paper", workers=2)

    answers = await bridge.send_many([bridge.alert(symbol=f"S{n % 10}") for n in range(200)])
    await bridge.wait_ended(len(accepted_ids(answers)))

    await assert_clean(bridge)
    assert list(bridge.client.scan_iter(match=f"{PREFIX}paper:*"))
    assert not find_stray_keys(bridge.client)
    assert_no_failures(bridge)
