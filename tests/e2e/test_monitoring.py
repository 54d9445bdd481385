"""A real Prometheus scrapes a running bridge: every rule and every panel of the dashboard finds what it asks for."""

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from services.relay.settings import derived_token
from tests.e2e.test_following import trade_by_hand
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.certificates import Authority
from tests.support.dashboard import queries
from tests.support.eventually import eventually
from tests.support.fullness import fill, use_memory
from tests.support.ports import free_port
from tests.support.prometheus import Prometheus, alert_rules
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.venue import Venue

BOUND = re.compile(r"\s(==|>|<) [0-9.]+\s*$")
NONE_IS_ZERO = re.compile(r"\s+or (vector\(0\)|0 \* group by \(namespace\) \(up\{[^}]*\}\))")
"""What stands for none: it would hide a name that nobody shows."""


def value_of(rule: str) -> str:
    """Return what a rule compares with its bound."""
    assert BOUND.search(rule), f"no comparison at the end of {rule}"
    return BOUND.sub("", rule)


ASKED = [
    (name, NONE_IS_ZERO.sub("", expression))
    for name, expression in (
        *((rule["alert"], value_of(rule["expr"])) for rule in alert_rules()),
        *queries(),
    )
]


@pytest.fixture
def relay_factory(tmp_path: Path) -> Iterator[Callable[[Bridge], tuple[Service, str]]]:
    """Starts a relay in front of a bridge; returns it and its URL."""
    made: list[Service] = []

    def make(bridge: Bridge) -> tuple[Service, str]:
        port, key = free_port(), "a-signing-key-of-length"
        environment = {
            "BASCULE_CONFIG": "/nowhere",
            "RELAY_UPSTREAM": f"{bridge.ingresses[0].url}/webhook",
            "RELAY_SIGNING_KEY": key,
            "RELAY_PORT": str(port),
            "RELAY_ALLOW": "127.0.0.1",
        }
        made.append(Service("relay", {}, tmp_path, environment=environment))
        made[-1].start().wait_ready()
        return made[-1], f"http://127.0.0.1:{port}/relay/{derived_token(key).reveal()}"

    yield make
    for service in made:
        service.kill()


async def let_everything_happen(bridge: Bridge, venue: Venue, relay_url: str) -> None:
    """Bring about what some metrics tell of: orders, refusals, letters, drift, and a venue that fails."""

    async def post(symbol: str, **fields: str) -> int:
        answer = await bridge.post({**bridge.alert(symbol), **fields})
        return answer.status

    async def relayed(symbol: str) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.post(relay_url, json=bridge.alert(symbol))).status_code

    assert await post("BTCUSDT") == 200
    assert await post("BTCUSDT", secret="wrong") == 401
    await fill(bridge, 0.99)
    assert await post("BTCUSDT") == 503
    assert await relayed("BTCUSDT") == 503
    use_memory(bridge.client, 0)
    await eventually(lambda: bridge.ingresses[0].metric("bascule_door_open") == 1)
    assert await relayed("BTCUSDT") == 200
    venue.control(symbols={"REJ": {"reject": "no"}})
    assert await post("REJ") == 200
    await eventually(bridge.dead_letters, 20)
    reconciled = partial(bridge.client.hget, f"bascule:{{s0}}:reconciled:{ACCOUNT}", "BTCUSDT")
    await eventually(reconciled, 30)
    await trade_by_hand(venue)
    await eventually(lambda: bridge.workers[0].metric("bascule_drifts_total"), 30)
    venue.control(
        symbols={"LOST": {"drop_after": 1, "lookup_status": 503}, "ILL": {"status": 503}}, facts_status=503
    )
    for symbol in ("LOST", "ILL"):
        assert await post(symbol) == 200


def unanswered(prometheus: Prometheus) -> list[str]:
    """Return where a query finds nothing."""
    return [f"{name}: {expression}" for name, expression in ASKED if not prometheus.query(expression)]


async def showing(authority: Authority, port: int) -> asyncio.Server:
    """Show a certificate of an authority on a port; begun only once a bridge is up, whose start holds our loop."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("front", "/CN=here", "IP:127.0.0.1"))
    return await asyncio.start_server(lambda *_: None, "127.0.0.1", port, ssl=tls)


@pytest.mark.timeout(180)
async def test_every_rule_and_every_panel_finds_what_it_asks_for(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    tmp_path: Path,
    relay_factory: Callable[[Bridge], tuple[Service, str]],
):
    authority = Authority(tmp_path, "authority")
    public, nobody = free_port(), f"http://127.0.0.1:{free_port()}"
    bridge = bridge_factory(
        private_redis,
        venue=venue,
        config={
            "accounts": {ACCOUNT: {"reconcile": {"every": "1s"}}},
            "breaker": {"failures": 2, "reset": "60s"},
            "ingress": {"public_url": f"https://127.0.0.1:{public}"},
            "watchdog": {"certificate": {"every": "1s"}},
            "alarms": {"url": nobody},
        },
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": nobody, "SSL_CERT_FILE": str(authority.certificate)},
    )
    relay, relay_url = relay_factory(bridge)
    jobs = {
        "bascule-ingress": bridge.ingresses,
        "bascule-worker": bridge.workers,
        "bascule-reaper": bridge.reapers,
        "bascule-relay": [relay],
    }
    with Prometheus(tmp_path, jobs) as prometheus:

        def all_are_answered() -> bool:
            assert unanswered(prometheus) == []
            return True

        def told() -> dict[str, dict[str, str]]:
            return {alert["labels"]["alertname"]: alert["annotations"] for alert in prometheus.alerts()}

        async with await showing(authority, public):
            await let_everything_happen(bridge, venue, relay_url)
            await eventually(all_are_answered, 40, 0.5)
        bridge.workers[0].kill()
        await eventually(lambda: "BasculeProcessDown" in told(), 20, 0.2)
        for annotations in told().values():
            assert not any("<error" in text for text in annotations.values()), annotations
