"""Floods of posts that are refused: what is kept of them is bounded, however many there are, and good alerts pass."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import Demand, Webhook
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET
from tests.support.eventually import eventually
from tests.support.http_client import post
from tests.support.pipelined import request_bytes, send_pipelined
from tests.support.service import Service

SEED = 20_261_103
MB = 1_000_000
WARM_UP = 5_000
TOKEN = "tokenOfWebhook0123456789"
STATUSES = frozenset({400, 401, 403, 404, 409, 413, 422, 429})


def webhook(name: str, **changes: Any) -> Webhook:
    whole: dict[str, Any] = {
        "name": WebhookName(name),
        "accounts": (AccountName(ACCOUNT),),
        "tokens": (HashedToken(token_digest(TOKEN + name)),),
        "secrets": (hash_secret(SECRET, name),),
        "created_at_ms": 1,
    }
    return Webhook(**{**whole, **changes})


HOOKS = (
    webhook("plain"),
    webhook("slow", limit=Limit(interval_us=3_600_000_000, burst=1)),
    webhook("addressed", allow=("tradingview",)),
    webhook("signed", demands=(Demand.SIGNATURE,), signing_keys=("relay",)),
)
GOOD = {"secret": SECRET, "id": "first", "symbol": "BTCUSDT", "action": "buy"}


def alert(**changes: Any) -> bytes:
    return orjson.dumps({**GOOD, **changes})


class Flood:
    """Refused posts of every kind, each from an address of its own."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0
        self.statuses: Counter[int] = Counter()

    async def send(self, ingress: Service, posts: int) -> None:
        port = ingress.config["ingress"]["port"]
        await send_pipelined(port, self._requests(posts), self._judge, connections=32, depth=4)

    def _requests(self, posts: int) -> Iterator[bytes]:
        for _ in range(posts):
            yield self._request()

    def _request(self) -> bytes:
        chance = self._chance
        self._count += 1
        number, word = self._count, chance.randbytes(chance.choice((8, 8, 40, 400))).hex()
        path = chance.choice(("/webhook", "/tv-webhook", f"/hooks/{TOKEN}plain"))
        kinds = (
            (path, word.encode()),
            (path, b'{"secret":"' + word.encode()),
            (path, alert(secret=word, id=word[:60])),
            (path, alert(secret="", id=f"n{number}")),
            (path, alert(action=word[:80], id=f"n{number}")),
            (path, alert(symbol="{{ticker}}", note=word)),
            (path, alert(quantity=word)),
            (path, b"x" * 30_000),
            (f"/hooks/{word[:60]}", alert()),
            (f"/{word[:60]}", alert()),
            (f"/preview/{word[:60]}", alert()),
            (f"/hooks/{TOKEN}slow", alert(id=f"n{number}")),
            (f"/hooks/{TOKEN}addressed", alert(id=f"n{number}")),
            (f"/hooks/{TOKEN}signed", alert(id=f"n{number}")),
            ("/webhook", alert(note=word)),
        )
        address = ".".join(map(str, chance.randbytes(4))) if number % 2 else f"2001:db8::{number:x}"
        headers = {"Content-Type": "application/json", "X-Forwarded-For": address, "X-Signature": word}
        where, body = chance.choice(kinds)
        return request_bytes(where, body, headers)

    def _judge(self, _: int, status: int, head: bytes, body: bytes) -> None:
        self.statuses[status] += 1
        assert status in STATUSES, (status, body)


async def prepared(bridge: Bridge) -> Service:
    """Start it with the webhooks made, and let in what later posts conflict with."""
    client = connect(bridge.redis_url, timeout_s=5)
    tables = TableStore(client, Keys())
    try:
        for made in HOOKS:
            await tables.put_webhook(made, None, "created")
        revision = await tables.revision()
    finally:
        await client.aclose()
    bridge.start()
    [ingress] = bridge.ingresses
    await eventually(lambda: any(one.get("revision") == revision for one in ingress.log()), 10)
    for path in ("webhook", f"hooks/{TOKEN}slow", f"hooks/{TOKEN}plain"):
        answer = await post(f"{ingress.url}/{path}", alert())
        assert answer.status == 200, answer
    return ingress


CONFIG: dict[str, Any] = {
    "signing_keys": {"relay": "RELAY_KEY"},
    "ingress": {"trusted_proxies": ["127.0.0.1"], "deadline": "3s"},
    "webhooks": {"default": {"dedup": "7d"}},
}
ENVIRONMENT = {"RELAY_KEY": "a-key-of-the-relay"}

CODES = ("unauthorized", "bad_signature", "unknown_webhook", "unknown_path", "address_refused", "too_many")
"""Ways to be refused that must be among a flood."""
OF_STRANGERS = frozenset(CODES) - {"too_many"}
LOGGED_AT_MOST = 1_000
"""Lines about strangers; most of them in a flood's first moment. Who has proved itself is logged each time."""
GOOD_ALERTS = 200
FLOOD = 10_000


def strangers_lines(service: Service) -> int:
    """Return how many lines its log has about posts that proved nothing."""
    return sum(event.get("code") in OF_STRANGERS for event in service.log())


def names(service: Service) -> set[str]:
    """Return the names of all its metrics, with their labels."""
    lines = service.ops("/metrics")[1].splitlines()
    return {line.rpartition(" ")[0] for line in lines if not line.startswith("#")}


def in_use(bridge: Bridge, ingress: Service) -> tuple[float, float]:
    """Return the bytes in use: by Redis, and of the ingress in memory."""
    used: int = bridge.client.info("memory")["used_memory"]
    return used, ingress.metric("process_resident_memory_bytes")


@pytest.mark.parametrize(
    ("posts", "warm_up", "redis_bytes", "resident_bytes"),
    [
        # What is kept of refusals is full after the warm-up.
        pytest.param(20_000, WARM_UP, 0.1 * MB, 4 * MB, marks=pytest.mark.timeout(120), id="20000"),
        pytest.param(
            1_000_000,
            0,
            1 * MB,
            20 * MB,
            marks=(pytest.mark.slow, pytest.mark.timeout(3_600)),
            id="1000000",
        ),
    ],
)
async def test_posts_that_are_refused_leave_next_to_nothing_behind(
    private_redis, bridge_factory, tmp_path: Path, posts, warm_up, redis_bytes, resident_bytes
):
    bridge = bridge_factory(
        private_redis, is_started=False, workers=0, reapers=0, config=CONFIG, environment=ENVIRONMENT
    )
    ingress = await prepared(bridge)
    flood = Flood(SEED)
    if warm_up:
        await flood.send(ingress, warm_up)
    before, keys, series, lines = (
        in_use(bridge, ingress),
        set(bridge.client.keys()),
        names(ingress),
        strangers_lines(ingress),
    )
    await flood.send(ingress, posts)
    after = in_use(bridge, ingress)
    grown = (after[0] - before[0], after[1] - before[1])
    print(
        f"{posts} posts: Redis grew by {grown[0] / MB:.3f} MB, the ingress by {grown[1] / MB:.3f} MB; {dict(flood.statuses)}"
    )

    assert grown[0] < redis_bytes, grown
    assert grown[1] < resident_bytes, grown
    # A key, a series or a line for each word or address would be the same leak, only slower.
    made = set(bridge.client.keys()) - keys
    assert {key.removeprefix("bascule:{s0}:") for key in made} <= {"refused", "bucket:webhook:slow"}
    assert len(names(ingress) - series) <= len(CODES), names(ingress) - series
    assert strangers_lines(ingress) - lines < LOGGED_AT_MOST
    # What was not tried was not shown.
    assert set(flood.statuses) == STATUSES
    assert all(ingress.metric("bascule_posts_total", reason=code) for code in CODES)
    assert ingress.metric("bascule_posts_total", status="200") == 3


@pytest.mark.timeout(180)
async def test_good_alerts_in_the_midst_of_a_flood_are_all_taken_and_executed(private_redis, bridge_factory):
    bridge = bridge_factory(private_redis, is_started=False, config=CONFIG, environment=ENVIRONMENT)
    ingress = await prepared(bridge)
    await bridge.wait_ended(3)
    flood, alerts = (
        Flood(SEED + 1),
        [bridge.alert(f"S{number % 20}", id=f"good{number}") for number in range(GOOD_ALERTS)],
    )
    flooding = asyncio.create_task(flood.send(ingress, FLOOD))
    await eventually(lambda: flood.statuses.total() > FLOOD // 100, message="the flood comes")
    answers = await bridge.send_many(alerts, 4)
    # They were in the midst of it, and not behind it.
    assert not flooding.done()
    await flooding

    assert Counter(answer.status for answer in answers) == {200: GOOD_ALERTS}
    assert not any(answer.body["duplicate"] for answer in answers)
    states = await bridge.wait_ended(GOOD_ALERTS + 3)
    assert states == {"EXECUTED": GOOD_ALERTS + 3}
    assert set(flood.statuses) == STATUSES
    assert not bridge.dead_letters()
