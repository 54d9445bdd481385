import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]


async def test_sigterm_answers_what_is_under_way_and_exits_with_0(ingress: Bridge) -> None:
    service = ingress.ingresses[0]
    port = service.config["ingress"]["port"]
    raw = json.dumps(ingress.alert(id="last")).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw[:10])
    await writer.drain()
    # Answered behind the start of that post, so it has been seen.
    assert (await http_client.get(f"{service.url}/health")).status == 200
    service.signal_terminate()
    await eventually(lambda: "service_stopping" in str(service.log()))
    writer.write(raw[10:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await eventually(lambda: service.exit_code == 0)
    assert service.errors() == ""
    assert ingress.client.xlen("bascule:{s0}:lane:desk:BTCUSDT") == 1


async def test_every_answer_before_the_end_is_kept(ingress: Bridge) -> None:
    service = ingress.ingresses[0]

    def stop_in_the_middle(index: int, _: Any) -> None:
        if index == 300:
            service.signal_terminate()

    alerts = [ingress.alert(f"S{number % 20}") for number in range(1_000)]
    answers = await ingress.send_many(alerts, 16, in_order=False, on_answer=stop_in_the_middle)
    await eventually(lambda: service.exit_code == 0)
    taken = {answer.body["alert_id"] for answer in answers if answer.status == 200}
    assert len(taken) >= 300
    assert {answer.status for answer in answers} <= {200, 0}
    assert taken <= {name.partition(":")[0] for name in ingress.instructions()}


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"WEBHOOK_SECRET": ""}, ["WEBHOOK_SECRET"]),
        ({"WEBHOOK_SECRET_FILE": "/nowhere/secret"}, ["WEBHOOK_SECRET", "WEBHOOK_SECRET_FILE"]),
        ({"BASCULE_CONFIG": "/nowhere/bascule.yaml"}, ["/nowhere/bascule.yaml"]),
        ({"BASCULE_OPS_PORT": "many"}, ["BASCULE_OPS_PORT"]),
    ],
)
async def test_what_is_wrong_at_the_start_is_one_line_that_names_it(
    redis_server: RedisServer,
    bridge_factory: Callable[..., Bridge],
    environment: dict[str, str],
    names: list[str],
) -> None:
    bridge = bridge_factory(redis_server, workers=0, reapers=0, is_started=False, environment=environment)
    service = bridge.ingresses[0].start()
    await eventually(lambda: service.exit_code is not None)
    assert service.exit_code == 1
    (line,) = service.errors().splitlines()
    assert line.startswith("ingress: ")
    assert all(name in line for name in names)


async def test_a_port_in_use_is_one_line_that_names_it(
    ingress: Bridge, bridge_factory: Callable[..., Bridge]
) -> None:
    port = ingress.ingresses[0].config["ingress"]["port"]
    other = bridge_factory(ingress.redis_url, workers=0, reapers=0, is_started=False)
    service = other.ingresses[0]
    service.config = {**service.config, "ingress": {"port": port}}
    service.start()
    await eventually(lambda: service.exit_code == 1)
    (line,) = service.errors().splitlines()
    assert str(port) in line


async def test_the_ops_port_of_the_environment_wins(ingress: Bridge) -> None:
    service = ingress.ingresses[0]
    assert service.ops("/live") == (200, '{"status":"ok","service":"ingress"}')
    assert service.ops("/ready")[0] == 200
    assert "bascule_posts_total" in service.ops("/metrics")[1]
