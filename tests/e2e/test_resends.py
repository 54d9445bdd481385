"""The same alert again: from a sender that repeats itself, and after an answer that was lost."""

import asyncio
from collections import Counter

from tests.e2e.ledger import assert_whole_run
from tests.support.eventually import eventually
from tests.support.http_client import NO_ANSWER
from tests.support.proxy import Proxy


async def test_a_thousand_copies_of_one_alert_trade_once(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue, ingresses=2, workers=2)
    alert = bridge.alert()

    answers = await bridge.send_many([alert] * 1_000, 32, in_order=False)

    assert {answer.status for answer in answers} == {200}
    assert Counter(answer.body["duplicate"] for answer in answers) == {False: 1, True: 999}
    assert len({answer.body["alert_id"] for answer in answers}) == 1
    for ingress in bridge.ingresses:
        assert ingress.metric("bascule_posts_total", reason="duplicate") > 0
    await bridge.wait_ended(1)
    await assert_whole_run(bridge, venue, [answers[0].body["alert_id"]])


async def test_an_ingress_killed_between_the_script_and_its_answer_has_the_resend_answered_as_a_duplicate(
    private_redis, venue, bridge_factory
):
    with Proxy(private_redis.url) as line:
        bridge = bridge_factory(line, server=private_redis, venue=venue, workers=1)
        ingress = bridge.ingresses[0]
        first = await bridge.post(bridge.alert())
        taken = [first.body["alert_id"]]
        for number in range(3):
            alert = bridge.alert(id=f"lost-{number}")
            # The admission is executed, its reply stays in the line, and then its only reader is gone.
            line.lose_next_reply(b":seen:default:id:" + alert["id"].encode(), is_silent=True)
            posting = asyncio.create_task(bridge.post(alert))
            await eventually(lambda: line.lost_replies == number + 1, message="the reply is lost")  # noqa: B023
            ingress.kill()
            assert (await posting).status == NO_ANSWER
            [admitted] = [key for key in bridge.client.scan_iter("bascule:*:seen:*") if alert["id"] in key]

            ingress.start().wait_ready()
            status, body = await bridge.post(alert)

            assert (status, body["duplicate"]) == (200, True)
            assert bridge.client.get(admitted).startswith(body["alert_id"])
            taken.append(body["alert_id"])
            # Its scripts are known again before the next round.
            taken.append((await bridge.post(bridge.alert())).body["alert_id"])
        await bridge.wait_ended(len(taken))
        await assert_whole_run(bridge, venue, taken)
