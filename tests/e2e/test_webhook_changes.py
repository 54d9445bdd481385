"""Webhooks made, changed and deleted while posts come: every ingress knows within a second, and Redis forgets none."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.webhook import Webhook
from libs.common.store.tables import TableStore
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.http_client import Answer, post
from tests.support.service import Service
from tests.support.webhooks import made_webhook, make_webhooks, secret_of, table_store, token_of

PROMISED_S = 1.0
SLACK_S = 1.0
"""Of a busy machine: this test may wait for its turn too."""
PER_S = 200
NAME = "watched"
NEW_TOKEN, NEW_SECRET = "newToken0123456789", "newSecret0123456789"

Status = Callable[[Service], Awaitable[int]]


def alert(secret: str, alert_id: str = "a") -> dict[str, str]:
    return {"secret": secret, "id": alert_id, "symbol": "BTCUSDT", "action": "buy"}


async def status_of(ingress: Service, token: str = token_of(NAME), secret: str = secret_of(NAME)) -> int:
    answer: Answer = await post(f"{ingress.url}/hooks/{token}", alert(secret))
    return answer.status


async def seconds_until(
    bridge: Bridge, change: Awaitable[None], *, holds: Callable[[Service], Awaitable[bool]]
) -> float:
    """Make a change; return how long it took until all ingresses showed it."""
    await change
    started_s = time.monotonic()

    async def shown(ingress: Service) -> None:
        await eventually(lambda: holds(ingress), 10, 0.01, f"{ingress.label} knows of it")

    await asyncio.gather(*(shown(ingress) for ingress in bridge.ingresses))
    return time.monotonic() - started_s


async def changes_take_s(bridge: Bridge, tables: TableStore) -> dict[str, float]:
    """Create, rotate, disable and delete a webhook; return how long each change took to be known everywhere."""

    async def answers(ingress: Service, status: int, **presented: str) -> bool:
        return await status_of(ingress, **presented) == status

    async def is_rotated(ingress: Service) -> bool:
        return await answers(ingress, 200, token=NEW_TOKEN, secret=NEW_SECRET) and await answers(ingress, 404)

    first = made_webhook(NAME)
    rotated = made_webhook(
        NAME,
        tokens=(HashedToken(token_digest(NEW_TOKEN)),),
        secrets=(hash_secret(NEW_SECRET, "new"),),
    )
    disabled = made_webhook(NAME, tokens=rotated.tokens, secrets=rotated.secrets, is_disabled=True)

    def put(webhook: Webhook, before: Webhook | None, reason: str) -> Awaitable[None]:
        return tables.put_webhook(webhook, before, reason)

    async def is_closed(ingress: Service) -> bool:
        return await answers(ingress, 404, token=NEW_TOKEN, secret=NEW_SECRET)

    async def is_open(ingress: Service) -> bool:
        return await answers(ingress, 200, token=NEW_TOKEN, secret=NEW_SECRET)

    took_s: dict[str, float] = {}
    for what, change, holds in (
        ("created", put(first, None, "created"), lambda one: answers(one, 200)),
        ("rotated", put(rotated, first, "rotated"), is_rotated),
        ("disabled", put(disabled, rotated, "disabled"), is_closed),
        ("enabled", put(rotated, disabled, "enabled"), is_open),
        ("deleted", tables.delete_webhook(rotated), is_closed),
    ):
        took_s[what] = await seconds_until(bridge, change, holds=holds)
    return took_s


@pytest.mark.parametrize("is_busy", [False, True], ids=["quiet", "under load"])
@pytest.mark.alone
async def test_every_ingress_knows_a_change_within_a_second(private_redis, bridge_factory, is_busy):
    bridge = bridge_factory(private_redis, ingresses=3, workers=0, reapers=0)
    answers: list[Answer] = []
    async with table_store(bridge.redis_url) as tables:
        assert {await status_of(ingress) for ingress in bridge.ingresses} == {404}
        changing = asyncio.create_task(changes_take_s(bridge, tables))
        while is_busy and not changing.done():
            alerts = [bridge.alert(symbol=f"S{number % 20}") for number in range(PER_S // 2)]
            answers += await bridge.send_many(alerts, 12, rate_per_s=PER_S, in_order=False)
        took_s = await changing

    assert max(took_s.values()) < PROMISED_S + SLACK_S, took_s
    assert {answer.status for answer in answers} <= {200}
    assert (len(answers) > 0) is is_busy


async def test_after_a_crash_of_redis_webhooks_are_still_there_and_were_never_unknown(
    private_redis, bridge_factory
):
    bridge = bridge_factory(private_redis, ingresses=2, workers=0, reapers=0)
    await make_webhooks(bridge, made_webhook(NAME))
    running, restarted = bridge.ingresses
    restarted.kill()
    private_redis.kill()
    # This one comes to a world without Redis: it cannot know which webhooks there are.
    restarted.start()
    seen: dict[str, Counter[int]] = {ingress.label: Counter() for ingress in bridge.ingresses}

    async def look(wanted: int) -> bool:
        now = [await status_of(ingress) for ingress in bridge.ingresses]
        for ingress, status in zip(bridge.ingresses, now, strict=True):
            seen[ingress.label][status] += 1
        return set(now) == {wanted}

    await eventually(lambda: _listens(restarted), 20, message="it listens")
    await eventually(lambda: look(503), 10, message="both answer 503")
    # What a running one does not know may have been made since its last look.
    await eventually(lambda: _answers(running, "unknown-token", 503), 10, message="it cannot tell any more")
    assert await _answers(restarted, "unknown-token", 503)
    private_redis.start()
    await eventually(lambda: look(200), 20, message="both take alerts again")

    assert {status for counts in seen.values() for status in counts} == {200, 503}, seen
    await eventually(lambda: _answers(running, "unknown-token", 404))
    await eventually(lambda: _answers(restarted, "unknown-token", 404))


async def _answers(ingress: Service, token: str, status: int) -> bool:
    return await status_of(ingress, token) == status


async def _listens(ingress: Service) -> bool:
    return await status_of(ingress, "unknown-token") != 0
