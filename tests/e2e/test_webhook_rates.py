"""Rates of webhooks over several ingresses, and bursts that must pass."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import yaml

from libs.common.policy.limits import Limit
from libs.common.policy.webhook import RUN_TIME_LIMIT
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, SECRET
from tests.support.http_client import Answer, post
from tests.support.pipelined import request_bytes, send_pipelined
from tests.support.tree import ROOT
from tests.support.webhooks import made_webhook, make_webhooks, secret_of, token_of

SECONDS = 3.0
FAST = Limit(interval_us=20_000, burst=30)
SYMBOLS = [f"SYM{number}USDT" for number in range(12)]
STRATEGIES = [f"trend_v{number}" for number in range(7)]


def alert(secret: str, alert_id: str) -> dict[str, str]:
    return {"secret": secret, "id": alert_id, "symbol": "BTCUSDT", "action": "buy"}


class Offers:
    """Posts to one webhook, at all ingresses at once, for as long as told."""

    def __init__(self, bridge: Bridge, path: str, secret: str, name: str) -> None:
        self._bridge = bridge
        self._path = path
        self._secret = secret
        self._name = name
        self._count = 0
        self.admitted: list[str] = []
        self.waits_s: list[int] = []

    async def make(self, ends_s: float, most: int = 1_000_000) -> None:
        """Post until a time, at most so often at each ingress."""
        await asyncio.gather(
            *(
                send_pipelined(
                    ingress.config["ingress"]["port"],
                    self._requests(ends_s, most),
                    self._judge,
                    connections=4,
                    depth=1,
                )
                for ingress in self._bridge.ingresses
            )
        )

    def _requests(self, ends_s: float, most: int) -> Iterator[bytes]:
        for _ in range(most):
            if time.monotonic() > ends_s:
                return
            self._count += 1
            yield request_bytes(self._path, orjson.dumps(alert(self._secret, f"{self._name}-{self._count}")))

    def _judge(self, _: int, status: int, head: bytes, body: bytes) -> None:
        if status == 200:
            answer = orjson.loads(body)
            assert answer["duplicate"] is False
            self.admitted.append(answer["alert_id"])
        else:
            assert (status, orjson.loads(body)["error"]["code"]) == (429, "too_many")
            self.waits_s.append(int(head.partition(b"retry-after: ")[2].partition(b"\r")[0]))


def admitted_at_ms(bridge: Bridge, alert_ids: list[str]) -> list[int]:
    """Return when alerts became durable, by Redis' clock, in order."""
    with bridge.client.pipeline(transaction=False) as pipeline:
        for alert_id in alert_ids:
            pipeline.hget(f"bascule:{{s0}}:alert:{alert_id}", "admitted_at")
        return sorted(map(int, pipeline.execute()))


def now_ms(bridge: Bridge) -> float:
    seconds, micros = bridge.client.time()
    return float(seconds * 1_000 + micros / 1_000)


def assert_never_above(limit: Limit, at_ms: list[int]) -> None:
    """In no window more than burst + rate x T; the stamps are cut to the millisecond."""
    for first, start_ms in enumerate(at_ms):
        for last in range(first, len(at_ms)):
            most = limit.burst + (at_ms[last] - start_ms + 1) * 1_000 / limit.interval_us
            assert last - first + 1 <= most, (start_ms, at_ms[last])


@pytest.mark.timeout(120)
async def test_three_ingresses_let_in_together_what_one_would_and_hold_up_nobody_else(
    private_redis, bridge_factory
):
    bridge = bridge_factory(private_redis, ingresses=3, workers=0, reapers=0)
    limits = {"slow": RUN_TIME_LIMIT, "fast": FAST}
    await make_webhooks(
        bridge, *(made_webhook(name, limit=limit) for name, limit in limits.items()), made_webhook("free")
    )
    offers = {name: Offers(bridge, f"/hooks/{token_of(name)}", secret_of(name), name) for name in limits}
    free = Offers(bridge, f"/hooks/{token_of('free')}", secret_of("free"), "free")
    default = Offers(bridge, "/webhook", SECRET, "default")
    ends_s = time.monotonic() + SECONDS
    await asyncio.gather(
        *(one.make(ends_s) for one in offers.values()), free.make(ends_s, 50), default.make(ends_s, 50)
    )
    ended_ms = now_ms(bridge)
    # Whatever the rate allows until then is asked for.
    last_s = time.monotonic() + 60
    await asyncio.gather(*(one.make(last_s, 100) for one in offers.values()))

    for name, limit in limits.items():
        at_ms = admitted_at_ms(bridge, offers[name].admitted)
        assert len(set(offers[name].admitted)) == len(at_ms)
        assert_never_above(limit, at_ms)
        allowed = limit.burst + (ended_ms - at_ms[0]) * 1_000 / limit.interval_us
        assert len(at_ms) >= allowed - 1, (name, len(at_ms), allowed)
        longest_s = -(-limit.interval_us // 1_000_000)
        assert offers[name].waits_s
        assert {1} <= set(offers[name].waits_s) <= set(range(1, longest_s + 1))
    assert (len(free.admitted), len(default.admitted)) == (150, 150)
    assert free.waits_s == default.waits_s == []


def nova(secret: str, symbol: str, strategy: str) -> dict[str, object]:
    """An alert as every strategy of a watch list sends it at the close of one candle."""
    return {
        "passphrase": secret,
        "action": "buy",
        "ticker": symbol,
        "exchange": "BYBIT",
        "price": 151.4,
        "volume": 12.5,
        "strategy_id": strategy,
        "timeframe": "15",
        "bar_time": "2026-11-03T09:15:00Z",
    }


async def post_at_once(url: str, secret: str) -> list[Answer]:
    alerts = [nova(secret, symbol, strategy) for symbol in SYMBOLS for strategy in STRATEGIES]
    return list(await asyncio.gather(*(post(url, one) for one in alerts)))


async def assert_each_trades_once(bridge: Bridge, answers: list[Answer]) -> None:
    assert [answer.status for answer in answers] == [200] * 84
    assert {answer.body["duplicate"] for answer in answers} == {False}
    assert len({answer.body["alert_id"] for answer in answers}) == 84
    assert await bridge.wait_ended(84) == {"EXECUTED": 84}
    assert len(bridge.orders()) == 84


async def test_eighty_four_alerts_at_one_candles_close_pass_the_limit_of_a_run_time_webhook(
    private_redis, bridge_factory
):
    bridge = bridge_factory(private_redis)
    await make_webhooks(bridge, made_webhook("list", limit=RUN_TIME_LIMIT))
    answers = await post_at_once(f"{bridge.ingresses[0].url}/hooks/{token_of('list')}", secret_of("list"))
    await assert_each_trades_once(bridge, answers)


async def test_they_pass_the_default_webhook_of_the_configuration_that_make_up_runs(
    private_redis, bridge_factory
):
    shipped = yaml.safe_load(Path(ROOT, "config", "bascule.yaml").read_text())
    default = {**shipped["webhooks"]["default"], "accounts": [ACCOUNT]}
    bridge = bridge_factory(private_redis, config={"webhooks": {"default": default}})
    await assert_each_trades_once(bridge, await post_at_once(bridge.webhook_urls[0], SECRET))
