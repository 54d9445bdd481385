"""Real Caddy with this repository's Caddyfile in front of the ingress."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.bridge import Bridge
from tests.support.caddy import CADDYFILE, Caddy, caddy_binary
from tests.support.certificates import TRADINGVIEW_EMAIL, TRADINGVIEW_SUBJECT, Authority
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.upstream import Received, Upstream

MAX_BODY = 40_960
PATIENCE_S = 3.0
"""TradingView's: an answer after that is none."""

SUBJECT, EMAILS = "x-client-certificate-subject", "x-client-certificate-san-emails"
SPOOFED = {
    "X-Client-Certificate-Subject": "CN=x,O=TradingView\\, Inc.",
    "x-client-certificate-san-emails": TRADINGVIEW_EMAIL,
}


@pytest.fixture
def bridge(redis_server: RedisServer, bridge_factory: Callable[..., Bridge]) -> Bridge:
    return bridge_factory(redis_server, workers=0, reapers=0)


@pytest.fixture
def caddy(bridge: Bridge, tmp_path: Path) -> Iterator[Caddy]:
    with Caddy(tmp_path, bridge.ingresses[0].url.removeprefix("http://")) as running:
        yield running


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def in_front_of(upstream: Upstream, directory: Path, **variables: str) -> Caddy:
    return Caddy(directory, f"127.0.0.1:{upstream.port}", variables)


async def received_from(caddy: Caddy, upstream: Upstream, certificate: tuple[Path, Path] | None) -> Received:
    async with caddy.client(certificate) as client:
        answer = await client.post("/hooks/token", content=b"{}", headers=SPOOFED)
    assert answer.status_code == 200
    return upstream.received[-1]


async def test_an_alert_over_https_is_admitted_and_plain_http_leads_there(
    bridge: Bridge, caddy: Caddy
) -> None:
    async with caddy.client() as client:
        admitted = await client.post("/webhook", json=bridge.alert())
        plain = await client.post(f"http://localhost:{caddy.plain_port}/webhook", json=bridge.alert())

    assert (admitted.status_code, admitted.json()["ok"]) == (200, True)
    assert plain.status_code == 308
    assert len(bridge.instructions()) == 1


async def test_84_alerts_at_one_instant_are_all_admitted(bridge: Bridge, caddy: Caddy) -> None:
    async with caddy.client() as client:
        alerts = [bridge.alert(f"S{number}") for number in range(84)]
        answers = await asyncio.gather(*(client.post("/webhook", json=alert) for alert in alerts))

    assert {answer.status_code for answer in answers} == {200}
    assert len(bridge.instructions()) == 84


async def test_refusals_of_the_ingress_come_through_as_they_are(bridge: Bridge, caddy: Caddy) -> None:
    async with caddy.client() as client:
        answer = await client.post("/webhook", json={**bridge.alert(), "secret": "wrong"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert len(answer.json()["event_id"]) == 26


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_too_large_is_a_413(caddy: Caddy, is_chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(2 * MAX_BODY // 1_024):
            yield b"." * 1_024

    async with caddy.client() as client:
        answer = await client.post("/webhook", content=pieces() if is_chunked else b"." * (MAX_BODY + 1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_the_longest_body_gets_through_and_not_a_byte_more(upstream: Upstream, tmp_path: Path) -> None:
    with in_front_of(upstream, tmp_path) as caddy:
        async with caddy.client() as client:
            longest = await client.post("/webhook", content=b"." * MAX_BODY)
            beyond = await client.post("/webhook", content=b"." * (MAX_BODY + 1))

    assert (longest.status_code, beyond.status_code) == (200, 413)
    assert [len(one.body) for one in upstream.received] == [MAX_BODY]


async def test_an_ingress_that_stalls_is_a_503_while_tradingview_still_listens(
    bridge: Bridge, caddy: Caddy
) -> None:
    alert = bridge.alert()
    async with caddy.client() as client:
        assert (await client.get("/health")).status_code == 200
        bridge.ingresses[0].stop()
        try:
            answer = await client.post("/webhook", json=alert)
        finally:
            bridge.ingresses[0].cont()
        again = await client.post("/webhook", json=alert)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.elapsed.total_seconds() < PATIENCE_S
    assert again.status_code == 200
    assert len(bridge.instructions()) == 1


async def test_an_ingress_that_is_away_is_a_503_and_taken_up_when_it_is_back(
    bridge: Bridge, caddy: Caddy
) -> None:
    async with caddy.client() as client:
        bridge.ingresses[0].kill()
        away = await client.post("/webhook", json=bridge.alert())
        bridge.ingresses[0].start().wait_ready()
        back = await client.post("/webhook", json=bridge.alert())

    assert (away.status_code, away.json()["error"]["code"]) == (503, "not_reached")
    assert away.headers["retry-after"] == "1"
    assert back.status_code == 200


async def test_no_failure_is_a_504_and_nothing_is_posted_twice(upstream: Upstream, tmp_path: Path) -> None:
    with in_front_of(upstream, tmp_path) as caddy:
        async with caddy.client() as client:
            upstream.answers(504)
            said = await client.post("/webhook", content=b"1")
            upstream.answer = None
            dropped = await client.post("/webhook", content=b"2", headers={"Idempotency-Key": "x"})

    assert (said.status_code, dropped.status_code) == (503, 503)
    assert [one.body for one in upstream.received] == [b"1", b"2"]


async def test_only_the_public_paths_lead_anywhere(upstream: Upstream, tmp_path: Path) -> None:
    closed = ["/", "/metrics", "/ready", "/live", "/hooks", "/webhook/", "/webhook/x", "/orders", "/preview"]
    public = [
        "/hooks/token",
        "/webhook",
        "/tv-webhook",
        "/preview/token",
        "/relay/token",
        "/health",
        "/openapi.json",
    ]
    with in_front_of(upstream, tmp_path) as caddy:
        async with caddy.client() as client:
            refused = [await client.get(path) for path in closed]
            assert not upstream.received
            taken = [await client.get(path) for path in public]

    assert {answer.status_code for answer in refused} == {404}
    assert {answer.json()["error"]["code"] for answer in refused} == {"unknown_path"}
    assert {answer.status_code for answer in taken} == {200}
    assert [one.target for one in upstream.received] == public


async def test_the_senders_address_is_the_one_that_caddy_saw(upstream: Upstream, tmp_path: Path) -> None:
    spoofed = {"X-Forwarded-For": "52.89.214.238"}
    with in_front_of(upstream, tmp_path) as caddy:
        async with caddy.client() as client:
            await client.post("/webhook", content=b"{}", headers=spoofed)

    (received,) = upstream.received
    assert received.values("x-forwarded-for") == ["127.0.0.1"]


async def test_posts_share_connections_to_the_ingress(upstream: Upstream, tmp_path: Path) -> None:
    with in_front_of(upstream, tmp_path) as caddy:
        for _ in range(5):
            async with caddy.client() as client:
                await client.post("/webhook", content=b"{}")

    assert len(upstream.received) == 5
    assert upstream.connections == 1


async def test_no_token_is_in_the_log_even_where_every_request_is_logged(tmp_path: Path) -> None:
    token = "a-token-that-nobody-may-see"
    with Caddy(tmp_path, f"127.0.0.1:{free_port()}", has_access_log=True) as caddy:
        async with caddy.client() as client:
            answer = await client.post(f"/hooks/{token}", content=b"{}", headers={"X-Secret": token})
        await eventually(lambda: '"status":503' in caddy.log())

    assert answer.status_code == 503
    assert token not in caddy.log()


class TestClientCertificates:
    async def test_without_verification_nobody_has_one(
        self, upstream: Upstream, authority: Authority, tmp_path: Path
    ) -> None:
        certificate = authority.issue("tradingview", TRADINGVIEW_SUBJECT, f"email:{TRADINGVIEW_EMAIL}")
        with in_front_of(upstream, tmp_path) as caddy:
            received = await received_from(caddy, upstream, certificate)

        assert received.values(SUBJECT) == received.values(EMAILS) == []

    @pytest.mark.parametrize("mode", ["verified-if-given", "required"])
    async def test_a_verified_one_is_told_to_the_ingress(
        self, upstream: Upstream, authority: Authority, tmp_path: Path, mode: str
    ) -> None:
        certificate = authority.issue("tradingview", TRADINGVIEW_SUBJECT, f"email:{TRADINGVIEW_EMAIL}")
        with in_front_of(upstream, tmp_path, **verifying(mode, authority)) as caddy:
            received = await received_from(caddy, upstream, certificate)

        (subject,) = received.values(SUBJECT)
        assert subject == "CN=TradingView Webhooks,O=TradingView\\, Inc.,L=Westerville,ST=Ohio,C=US"
        assert received.values(EMAILS) == [TRADINGVIEW_EMAIL]

    async def test_who_gives_none_is_let_in_without_and_claims_are_removed(
        self, upstream: Upstream, authority: Authority, tmp_path: Path
    ) -> None:
        with in_front_of(upstream, tmp_path, **verifying("verified-if-given", authority)) as caddy:
            received = await received_from(caddy, upstream, None)

        assert received.values(SUBJECT) == received.values(EMAILS) == []

    async def test_who_gives_none_is_not_let_in_where_one_is_required(
        self, upstream: Upstream, authority: Authority, tmp_path: Path
    ) -> None:
        with in_front_of(upstream, tmp_path, **verifying("required", authority)) as caddy:
            assert await is_turned_away(caddy, None)

        assert not upstream.received

    @pytest.mark.parametrize("mode", ["verified-if-given", "required"])
    async def test_one_of_another_authority_is_not_let_in(
        self, upstream: Upstream, authority: Authority, tmp_path: Path, mode: str
    ) -> None:
        forger = Authority(tmp_path, "forger")
        forged = forger.issue("forged", TRADINGVIEW_SUBJECT, f"email:{TRADINGVIEW_EMAIL}")
        with in_front_of(upstream, tmp_path, **verifying(mode, authority)) as caddy:
            assert await is_turned_away(caddy, forged)

        assert not upstream.received

    async def test_an_ingress_that_demands_one_takes_tradingviews_and_no_claim_of_one(
        self,
        redis_server: RedisServer,
        bridge_factory: Callable[..., Bridge],
        authority: Authority,
        tmp_path: Path,
    ) -> None:
        config = {
            "ingress": {"trusted_proxies": ["127.0.0.1"], "certificate_proxies": ["127.0.0.1"]},
            "webhooks": {"default": {"auth": ["secret", "certificate"]}},
        }
        bridge = bridge_factory(redis_server, workers=0, reapers=0, config=config)
        tradingview = authority.issue("tradingview", TRADINGVIEW_SUBJECT, f"email:{TRADINGVIEW_EMAIL}")
        other = authority.issue("other", "/O=Somebody/CN=TradingView, Inc.", "email:somebody@example.com")
        ingress = bridge.ingresses[0].url.removeprefix("http://")
        statuses = []
        with Caddy(tmp_path, ingress, verifying("verified-if-given", authority)) as caddy:
            for certificate in (tradingview, other, None):
                async with caddy.client(certificate) as client:
                    headers = {} if certificate is tradingview else SPOOFED
                    answer = await client.post("/webhook", json=bridge.alert(), headers=headers)
                    statuses.append(answer.status_code)

        assert statuses == [200, 401, 401]


def verifying(mode: str, authority: Authority) -> dict[str, str]:
    return {"BASCULE_CLIENT_CERTIFICATES": mode, "BASCULE_CLIENT_CA": str(authority.certificate)}


async def is_turned_away(caddy: Caddy, certificate: tuple[Path, Path] | None) -> bool:
    # With TLS 1.3 the client learns of it only when it reads.
    async with caddy.client(certificate) as client:
        try:
            await client.post("/hooks/token", content=b"{}")
        except (httpx.TransportError, ssl.SSLError):  # httpx lets some of the latter through
            return True
    return False


def test_the_file_is_in_the_one_format() -> None:
    told = subprocess.run([caddy_binary(), "fmt", CADDYFILE], capture_output=True, text=True, timeout=30)

    assert told.stdout == CADDYFILE.read_text()


def test_without_a_domain_it_does_not_start(tmp_path: Path) -> None:
    told = subprocess.run(
        [caddy_binary(), "adapt", "--config", CADDYFILE, "--adapter", "caddyfile"],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert told.returncode != 0
