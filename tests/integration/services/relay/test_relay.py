"""The relay as a process: what it lets through, how, and what the sender hears."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.common.wire.signing import is_signed
from tests.integration.services.relay.conftest import KEY, Relay
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.http_client import Connection
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.tree import ROOT
from tests.support.upstream import Upstream

RAW = b'{ "symbol":"BTCUSDT",  "note":"\xc3\xa9\\u00e9"}\r\n'


async def test_a_post_arrives_byte_for_byte_signed_and_with_the_senders_address(
    relay: Relay, upstream: Upstream
) -> None:
    kind = "text/plain; charset=utf-8"
    answer = await http_client.post(
        relay.url, RAW, headers={"Content-Type": kind, "X-Signature": "sha256=00"}
    )

    (received,) = upstream.received
    (signature,) = received.values("x-signature")
    assert answer.status == 200
    assert (received.method, received.target, received.body) == ("POST", "/webhook", RAW)
    assert is_signed(KEY, RAW, signature)
    assert received.values("content-type") == [kind]
    assert received.values("x-forwarded-for") == ["127.0.0.1"]


async def test_a_real_ingress_behind_it_takes_the_alert_and_knows_a_resend(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], relay_factory: Callable[..., Relay]
) -> None:
    bridge = bridge_factory(redis_server, workers=0, reapers=0)
    relay = relay_factory(bridge.webhook_urls[0])
    alert = bridge.alert()

    first = await http_client.post(relay.url, alert)
    second = await http_client.post(relay.url, alert)
    third = await http_client.post(relay.url, b"not an alert")

    assert (first.status, first.body["duplicate"]) == (200, False)
    assert second.body == {**first.body, "duplicate": True}
    assert (third.status, third.body["ok"]) == (400, False)
    assert len(bridge.instructions()) == 1


async def test_an_ingress_that_demands_signatures_and_addresses_takes_alerts_from_the_relay_alone(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], relay_factory: Callable[..., Relay]
) -> None:
    config = {
        "ingress": {"trusted_proxies": ["127.0.0.1"]},
        "signing_keys": {"relay": "RELAY_KEY"},
        "webhooks": {
            "default": {"auth": ["secret", "signature"], "signing_keys": ["relay"], "allow": ["tradingview"]}
        },
    }
    bridge = bridge_factory(redis_server, workers=0, reapers=0, config=config, environment={"RELAY_KEY": KEY})
    relay = relay_factory(
        bridge.webhook_urls[0], RELAY_ALLOW="tradingview", RELAY_TRUSTED_PROXIES="127.0.0.1"
    )
    seen = {"X-Forwarded-For": "52.89.214.238"}

    direct = await bridge.post(bridge.alert(), headers=seen)
    relayed = await http_client.post(relay.url, bridge.alert(), headers=seen)

    assert (direct.status, direct.body["error"]["code"]) == (401, "bad_signature")
    assert relayed.status == 200
    assert len(bridge.instructions()) == 1


@pytest.mark.parametrize("status", [200, 202, 400, 401, 409, 422, 429, 500, 502, 503])
async def test_the_answer_comes_back_as_it_is(relay: Relay, upstream: Upstream, status: int) -> None:
    upstream.answers(status, b'{"ok": 1 }', content_type="application/x-json", retry_after="7", x_other="y")

    answer = await http_client.post(relay.url, RAW)

    assert (answer.status, answer.body) == (status, {"ok": 1})
    assert answer.headers["content-type"] == "application/x-json"
    assert answer.headers["retry-after"] == "7"
    assert "x-other" not in answer.headers
    assert len(upstream.received) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "upstream_broken"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "upstream_broken"),
        (b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", "upstream_late"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /webhook\r\nContent-Length: 0\r\n\r\n", "upstream_redirect"),
        (b"HTTP/1.1 308 Moved\r\nLocation: /webhook\r\nContent-Length: 0\r\n\r\n", "upstream_redirect"),
    ],
    ids=["dropped", "not HTTP", "504", "301", "308"],
)
async def test_what_is_no_answer_becomes_a_503_after_one_try(
    relay: Relay, upstream: Upstream, answer: bytes | None, code: str
) -> None:
    upstream.answer = answer

    said = await http_client.post(relay.url, RAW)

    assert (said.status, said.body["error"]["code"]) == (503, code)
    assert said.headers["retry-after"] == "1"
    assert len(said.body["event_id"]) == 26
    assert len(upstream.received) == 1
    assert relay.service.metric("bascule_relay_posts_total", status="503", reason=code) == 1


async def test_an_upstream_that_is_away_is_a_503(relay_factory: Callable[..., Relay]) -> None:
    relay = relay_factory(f"http://127.0.0.1:{free_port()}/webhook")

    answer = await http_client.post(relay.url, RAW)

    assert (answer.status, answer.body["error"]["code"]) == (503, "upstream_unreachable")
    assert answer.headers["retry-after"] == "1"


async def test_an_upstream_that_is_slow_is_a_503_and_is_not_asked_again(
    upstream: Upstream, relay_factory: Callable[..., Relay]
) -> None:
    relay = relay_factory(upstream.url, RELAY_TIMEOUT="1s")
    upstream.gate.clear()

    answer = await http_client.post(relay.url, RAW)

    assert (answer.status, answer.body["error"]["code"]) == (503, "upstream_late")
    assert len(upstream.received) == 1
    upstream.gate.set()
    assert (await http_client.post(relay.url, RAW)).status == 200


async def test_a_body_that_does_not_come_is_a_408_and_goes_nowhere(
    upstream: Upstream, relay_factory: Callable[..., Relay]
) -> None:
    relay = relay_factory(upstream.url, RELAY_TIMEOUT="1s")
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(f"POST {relay.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab".encode())

    head = (await reader.readuntil(b"\r\n\r\n")).decode()

    assert head.startswith("HTTP/1.1 408")
    assert "connection: close" in head
    assert not upstream.received
    writer.close()


async def test_a_sender_that_leaves_in_the_middle_is_counted_and_nothing_goes_on(
    relay: Relay, upstream: Upstream
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    writer.write(f"POST {relay.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab".encode())
    await writer.drain()
    writer.close()

    await eventually(lambda: relay.service.metric("bascule_relay_posts_abandoned_total") == 1)
    assert not upstream.received


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_beyond_the_limit_is_a_413(
    upstream: Upstream, relay_factory: Callable[..., Relay], is_chunked: bool
) -> None:
    relay = relay_factory(upstream.url, RELAY_MAX_BODY="100")
    connection = await Connection.open(relay.url)
    if is_chunked:
        body, headers = b"65\r\n" + b"." * 101 + b"\r\n0\r\n\r\n", {"Transfer-Encoding": "chunked"}
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST {relay.path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        writer.close()
    else:
        assert (await connection.request("POST", relay.path, b"." * 101))[0] == 413
        assert (await http_client.post(relay.url, b"." * 100)).status == 200
    connection.close()
    assert len(upstream.received) == (0 if is_chunked else 1)


async def test_wrong_tokens_and_wrong_paths_get_one_answer(relay: Relay, upstream: Upstream) -> None:
    token = relay.path.removeprefix("/relay/")
    paths = [
        "/relay/wrong",
        f"/relay/{token[:-1]}",
        f"/relay/{token}x",
        f"/relay/{token.upper()}",
        f"/relay/{token}/",
        f"/relay/{token}/x",
        "/relay/",
        "/relay/%F0%9F%98%80",
        "/relay/%ff",
        "/webhook",
        "/",
    ]
    answers = [await http_client.post(f"{relay.origin}{path}", RAW) for path in paths]

    shapes = {
        (answer.status, str({**answer.body, "event_id": ""}), frozenset(set(answer.headers) - {"date"}))
        for answer in answers
    }
    assert [status for status, _, _ in shapes] == [404]
    assert len({answer.body["event_id"] for answer in answers}) == len(paths)
    assert not upstream.received


async def test_another_method_is_a_405_whatever_the_token(relay: Relay) -> None:
    for url in (relay.url, f"{relay.origin}/relay/wrong"):
        answer = await http_client.get(url)
        assert (answer.status, answer.body["error"]["code"]) == (405, "wrong_method")
        assert answer.headers["allow"] == "POST"


async def test_health_is_open_to_all(relay: Relay) -> None:
    answer = await http_client.get(f"{relay.origin}/health")

    assert (answer.status, answer.body) == (200, {"status": "ok", "service": "relay"})


async def test_without_a_list_only_tradingview_may_post(
    upstream: Upstream, relay_factory: Callable[..., Relay]
) -> None:
    relay = relay_factory(upstream.url, RELAY_ALLOW="tradingview")

    refused = await http_client.post(relay.url, RAW)
    spoofed = await http_client.post(relay.url, RAW, headers={"X-Forwarded-For": "52.89.214.238"})

    assert {refused.status, spoofed.status} == {403}
    assert refused.body["error"]["code"] == "address_refused"
    assert "127.0.0.1" in refused.body["error"]["detail"]
    assert not upstream.received


@pytest.mark.parametrize(
    ("forwarded_for", "status"),
    [
        ("52.89.214.238", 200),
        ("203.0.113.9, 52.89.214.238", 200),
        ("52.89.214.238, 203.0.113.9", 403),
        ("52.89.214.238, unknown", 403),
        ("203.0.113.9", 403),
    ],
)
async def test_behind_a_trusted_proxy_the_address_that_it_saw_counts(
    upstream: Upstream, relay_factory: Callable[..., Relay], forwarded_for: str, status: int
) -> None:
    relay = relay_factory(upstream.url, RELAY_ALLOW="tradingview", RELAY_TRUSTED_PROXIES="127.0.0.1")

    answer = await http_client.post(relay.url, RAW, headers={"X-Forwarded-For": forwarded_for})

    assert answer.status == status
    assert [one.values("x-forwarded-for") for one in upstream.received] == (
        [["52.89.214.238"]] if status == 200 else []
    )


async def test_sigterm_lets_posts_under_way_be_answered(relay: Relay, upstream: Upstream) -> None:
    upstream.gate.clear()
    posting = asyncio.create_task(http_client.post(relay.url, RAW))
    await eventually(lambda: upstream.received)
    relay.service.signal_terminate()
    await eventually(lambda: "service_stopping" in {event.get("event") for event in relay.service.log()})
    upstream.gate.set()

    assert (await posting).status == 200
    await eventually(lambda: relay.service.exit_code == 0)
    assert relay.service.log()[-1]["event"] == "service_stopped"
    assert len(upstream.received) == 1


async def test_a_burst_at_one_instant_goes_through(relay: Relay, upstream: Upstream) -> None:
    bodies = [b'{"n":%d}' % number for number in range(84)]

    answers = await http_client.send_many(relay.url, bodies, 84)

    assert {answer.status for answer in answers} == {200}
    assert sorted(one.body for one in upstream.received) == sorted(bodies)
    assert all(is_signed(KEY, one.body, one.values("x-signature")[0]) for one in upstream.received)


async def test_no_line_of_the_log_holds_a_secret(
    upstream: Upstream, relay_factory: Callable[..., Relay]
) -> None:
    inner = "token-of-the-upstream-0123"
    relay = relay_factory(f"{upstream.url}/hooks/{inner}")
    upstream.answer = None
    await http_client.post(relay.url, RAW)
    relay.service.terminate()

    written = relay.service.log_tail(1_000)
    assert {event["event"] for event in relay.service.log()} >= {"service_started", "post_refused"}
    for secret in (KEY, inner, relay.path.removeprefix("/relay/")):
        assert secret not in written


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.relay", *arguments]
    return subprocess.run(
        command, env={"PATH": "", **environment}, cwd=ROOT, capture_output=True, text=True, timeout=30
    )


def test_the_path_can_be_asked_for(tmp_path: Path) -> None:
    told = run("--path", RELAY_UPSTREAM="https://h/webhook", RELAY_SIGNING_KEY=KEY)

    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("/relay/")
    assert len(told.stdout.strip()) == len("/relay/") + 32


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "RELAY_SIGNING_KEY"),
        ({"RELAY_SIGNING_KEY": KEY}, "RELAY_UPSTREAM"),
        ({"RELAY_UPSTREAM": "https://h/webhook"}, "RELAY_SIGNING_KEY"),
        ({"RELAY_UPSTREAM": "https://h/w", "RELAY_SIGNING_KEY": KEY, "RELAY_PORT": "x"}, "RELAY_PORT"),
    ],
)
def test_it_does_not_start_with_a_wrong_setting_and_names_it(environment: dict[str, str], name: str) -> None:
    ended = run(**environment)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("relay: ")
    assert name in ended.stderr
