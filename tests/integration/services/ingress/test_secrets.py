"""No credential may come to rest anywhere."""

import json

import pytest

from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET

pytestmark = pytest.mark.integration

ESCAPED = SECRET.replace("t", "\\u0074")
FIELDS = '"symbol": "BTCUSDT", "action": "buy"'

POSTS = [
    f'{{"secret": "{SECRET}", "id": "plain", {FIELDS}}}',
    f'{{"secret": "{ESCAPED}", "id": "escaped", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "twice", "comment": "it is {SECRET}", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "hidden", "comment": "it is {ESCAPED}", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "in a key", "{SECRET}": 1, {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "{SECRET}", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "symbol", "symbol": "{SECRET}", "action": "buy"}}',
    f'{{"secret": "{SECRET}", "id": "action", "symbol": "BTCUSDT", "action": "{SECRET}"}}',
    f'{{"secret": "{SECRET}", "id": "quantity", "quantity": "{SECRET}", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "broken", {FIELDS}',
    f'{{"secret": "{ESCAPED}", "id": "broken, escaped", {FIELDS}',
    f"secret={SECRET}&id=form",
    f'{{"secret": "x{SECRET}", "id": "wrong", {FIELDS}}}',
    f'{{"secret": "{SECRET}", "id": "plain", "symbol": "ETHUSDT", "action": "buy"}}',
]


async def test_no_secret_is_stored_answered_or_logged(ingress: Bridge) -> None:
    answers = [await ingress.post(post.encode()) for post in POSTS]
    assert [answer.status for answer in answers] == [200] * 5 + [422] * 4 + [400] * 3 + [401, 409]
    assert not any(SECRET in json.dumps(answer.body) for answer in answers)

    client = ingress.client
    stored = []
    for name in client.scan_iter(match="*", count=1_000):
        match client.type(name):
            case "hash":
                stored.append((name, client.hgetall(name)))
            case "stream":
                stored.append((name, client.xrange(name)))
            case "zset":
                stored.append((name, client.zrange(name, 0, -1)))
            case _:
                stored.append((name, client.get(name)))
    text = json.dumps(stored)
    assert text.count("***") >= 10
    # What is stored is JSON in JSON: take every layer of escapes off.
    for _ in range(4):
        assert SECRET not in text
        assert ESCAPED not in text
        text = text.replace("\\\\", "\\").replace('\\"', '"')

    service = ingress.ingresses[0]
    assert SECRET not in json.dumps(service.log())
    assert ESCAPED not in json.dumps(service.log())
    assert SECRET not in service.errors()
    assert len([event for event in service.log() if event["event"] == "post_refused"]) == 8
