import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from libs.common.domain.ids import AlertId
from libs.common.wire import codec
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.integration


def key(name: str) -> str:
    return f"bascule:{{s0}}:{name}"


async def test_a_200_means_that_everything_is_on_disk(ingress: Bridge) -> None:
    status, body = await ingress.post(ingress.alert("ETHUSDT", id="a-1", quantity="1.50", price=2411.35))
    assert status == 200
    assert body == {"ok": True, "alert_id": body["alert_id"], "duplicate": False}
    alert_id = AlertId(body["alert_id"])
    record = ingress.client.hgetall(key(f"alert:{alert_id}"))
    alert = codec.ALERT.decode(record["alert"].encode())
    assert (alert.alert_id, alert.webhook, alert.accounts) == (alert_id, "default", (ACCOUNT,))
    assert (alert.content.dialect, alert.content.sender_id, alert.content.symbol) == (
        "factorqx",
        "a-1",
        "ETHUSDT",
    )
    assert json.loads(alert.raw)["secret"] == "***"
    ((_, entry),) = ingress.client.xrange(key(f"lane:{ACCOUNT}:ETHUSDT"))
    instruction = codec.INSTRUCTION.decode(entry["body"].encode())
    assert (instruction.market, instruction.action) == ("ETHUSDT", "buy")
    assert (str(instruction.quantity), str(instruction.price)) == ("1.50", "2411.35")
    ((_, token),) = ingress.client.xrange(key("ready"))
    assert token == {"lane": f"{ACCOUNT}:ETHUSDT", **entry}
    assert ingress.client.get(key("seen:default:id:a-1")).startswith(alert_id)
    assert 86_000_000 < ingress.client.pttl(key("seen:default:id:a-1")) <= 86_400_000


async def test_a_repeat_is_answered_with_the_first_id_and_queues_nothing(ingress: Bridge) -> None:
    alert = ingress.alert()
    _, first = await ingress.post(alert)
    status, second = await ingress.post(alert)
    assert (status, second) == (200, {"ok": True, "alert_id": first["alert_id"], "duplicate": True})
    assert ingress.client.xlen(key(f"lane:{ACCOUNT}:BTCUSDT")) == 1


async def test_the_same_id_with_another_body_is_a_conflict_and_the_first_one_wins(ingress: Bridge) -> None:
    _, first = await ingress.post(ingress.alert(action="buy", id="same"))
    status, body = await ingress.post(ingress.alert(action="sell", id="same"))
    assert (status, body["error"]["code"], body["error"]["field"]) == (409, "id_conflict", "id")
    assert first["alert_id"] in body["error"]["detail"]
    assert ingress.client.xlen(key(f"lane:{ACCOUNT}:BTCUSDT")) == 1


async def test_copies_at_the_same_moment_become_one_alert(ingress: Bridge) -> None:
    answers = await http_client.send_many(ingress.webhook_urls, [ingress.alert(id="one")] * 200, 32)
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["alert_id"] for answer in answers}) == 1
    assert sum(not answer.body["duplicate"] for answer in answers) == 1


async def test_alerts_of_one_symbol_queue_in_the_order_of_their_acceptance(ingress: Bridge) -> None:
    alerts = [ingress.alert(f"S{number % 5}", id=f"n-{number}") for number in range(200)]
    answers = await ingress.send_many(alerts, 8)
    for symbol in range(5):
        accepted = [answers[number].body["alert_id"] for number in range(symbol, 200, 5)]
        lane = ingress.client.xrange(key(f"lane:{ACCOUNT}:S{symbol}"))
        assert [entry["alert"] for _, entry in lane] == accepted


async def test_both_paths_lead_to_the_same_webhook(ingress: Bridge) -> None:
    alert = ingress.alert()
    url = ingress.ingresses[0].url
    first = await http_client.post(f"{url}/webhook", alert)
    second = await http_client.post(f"{url}/tv-webhook", alert)
    assert second.body == {**first.body, "duplicate": True}


@pytest.mark.parametrize("kind", ["text/plain; charset=utf-8", "application/x-www-form-urlencoded", ""])
async def test_the_content_type_does_not_matter(ingress: Bridge, kind: str) -> None:
    assert (await ingress.post(ingress.alert(), headers={"Content-Type": kind})).status == 200


async def test_a_body_in_many_pieces_is_taken(ingress: Bridge) -> None:
    raw = json.dumps(ingress.alert()).encode()
    service = ingress.ingresses[0]
    port = service.config["ingress"]["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for place in range(0, len(raw), 7):
        piece = raw[place : place + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        # Answered behind the piece, so that came alone.
        assert (await http_client.get(f"{service.url}/health")).status == 200
    writer.write(b"0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_every_account_of_the_webhook_gets_its_instruction(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    config: dict[str, Any] = {
        "accounts": {"spare": {"broker": "log", "default_quantity": 1}},
        "webhooks": {"default": {"accounts": [ACCOUNT, "spare"]}},
    }
    bridge = bridge_factory(redis_server, workers=0, reapers=0, config=config)
    _, body = await bridge.post(bridge.alert())
    for account in (ACCOUNT, "spare"):
        assert bridge.client.xlen(key(f"lane:{account}:BTCUSDT")) == 1
        assert f"{body['alert_id']}:{account}" in bridge.instructions()


async def test_a_rate_lets_in_so_many_and_answers_429_to_the_others(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    config = {"webhooks": {"default": {"rate": "3/min"}}}
    bridge = bridge_factory(redis_server, workers=0, reapers=0, config=config)
    answers = [await bridge.post(bridge.alert()) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


async def test_every_metric_moves(ingress: Bridge) -> None:
    alert = ingress.alert()
    for document in (alert, alert, b"nonsense", {**alert, "secret": SECRET + "x"}):
        await ingress.post(document)
    service = ingress.ingresses[0]
    for status, reason in (
        ("200", "admitted"),
        ("200", "duplicate"),
        ("400", "not_json"),
        ("401", "unauthorized"),
    ):
        assert service.metric("bascule_posts_total", status=status, reason=reason) == 1
    assert service.metric("bascule_post_seconds_count") == 4


async def test_at_the_memory_limit_posts_are_503_and_health_says_so(ingress: Bridge) -> None:
    bridge = ingress
    assert (await bridge.post(bridge.alert())).status == 200
    bridge.client.config_set("maxmemory", "1")
    assert (await bridge.post(bridge.alert())).status == 503
    url = f"{bridge.ingresses[0].url}/health"

    async def is_degraded() -> bool:
        return (await http_client.get(url)).status == 503

    await eventually(is_degraded)
    assert (await bridge.post(b"nonsense")).status == 400
    bridge.client.config_set("maxmemory", "0")
    assert (await bridge.post(bridge.alert())).status == 200
