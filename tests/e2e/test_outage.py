"""An ingress without its Redis."""

import asyncio
import time

import pytest

from tests.e2e.ledger import all_accepted, assert_whole_run
from tests.support import http_client
from tests.support.eventually import eventually

DEADLINE_S = 2.0
SLACK_S = 0.3
BACK_WITHIN_S = 2.0


@pytest.mark.parametrize("fault", ["killed", "frozen"])
@pytest.mark.alone
async def test_without_redis_posts_are_answered_503_in_time_and_taken_again_soon_after(
    private_redis, venue, bridge_factory, fault
):
    bridge = bridge_factory(private_redis, venue=venue)
    [ingress] = bridge.ingresses
    pid = ingress.pid
    accepted = all_accepted([await bridge.post(bridge.alert())])

    private_redis.kill() if fault == "killed" else private_redis.freeze()
    alerts = [bridge.alert(symbol=f"S{number}") for number in range(32)]
    answers = await bridge.send_many(alerts, 32, in_order=False)
    health = await eventually(lambda: _health_unless(ingress, 200), message="health says so")

    assert {answer.status for answer in answers} == {503}
    for answer in answers:
        assert answer.elapsed_s <= DEADLINE_S + SLACK_S, answer
        assert answer.body["ok"] is False
        assert answer.body["error"]["code"] == "not_durable"
        assert int(answer.headers["retry-after"]) >= 1
    assert (health.status, health.body["status"]) == (503, "degraded")

    private_redis.start() if fault == "killed" else private_redis.thaw()
    back_at_s = time.monotonic()

    async def is_taken():
        answer = await bridge.post(bridge.alert())
        accepted.extend([answer.body["alert_id"]] if answer.status == 200 else [])
        return answer.status == 200

    await eventually(is_taken, BACK_WITHIN_S, message="posts are taken again")
    assert time.monotonic() - back_at_s <= BACK_WITHIN_S
    assert ingress.pid == pid
    await eventually(lambda: _health_unless(ingress, 503), message="health says so")
    # Whether or not the refused ones had been queued, a resend leaves each traded once.
    accepted += all_accepted(await asyncio.gather(*(bridge.post(alert) for alert in alerts)))
    await bridge.wait_ended(len(accepted))
    await assert_whole_run(bridge, venue, accepted, is_sent_in_order=False)


async def _health_unless(ingress, status):
    answer = await http_client.get(f"{ingress.url}/health")
    assert answer.status != status, answer
    return answer
