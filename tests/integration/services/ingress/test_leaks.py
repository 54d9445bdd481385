"""Credentials where they do not belong: in other fields, in the path, in bodies that are no alert."""

import itertools
import json
from collections.abc import Callable

import pytest

from libs.common.store.keys import Keys
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.redis_server import RedisServer
from tests.support.webhooks import made_webhook, make_webhooks, secret_of, token_of

# Nothing here depends on the version of the server.
pytestmark = pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)

HIDDEN = {token_of("scalper"), secret_of("scalper"), SECRET}
MISPLACED = (
    {"note": "sent to {}"},
    {"action": "{}"},
    {"quantity": "{}"},
    {"symbol": "{}"},
    {"id": "{}"},
    {"secret": "wrong", "note": "{}"},
    {"secret": "", "symbol": "{}"},
)
NO_ALERTS = ('{"secret":"%s"', "%s,buy", "{'a': '%s'}", '{"a":"\\u0020%s"}', "%%22%s%%22")
GOOD = {"secret": secret_of("scalper"), "id": "a", "symbol": "BTCUSDT", "action": "buy"}


@pytest.fixture
async def door(redis_server: RedisServer, bridge_factory: Callable[..., Bridge]) -> Bridge:
    bridge = bridge_factory(redis_server, workers=0, reapers=0)
    pinned = made_webhook("pinned", secrets=made_webhook("scalper").secrets, dialect="traderspost")
    await make_webhooks(bridge, made_webhook("scalper"), pinned)
    return bridge


async def post(door: Bridge, body: bytes, *, name: str = "scalper", path: str = "hooks") -> Answer:
    return await http_client.post(f"{door.ingresses[0].url}/{path}/{token_of(name)}", body)


def shown(door: Bridge) -> str:
    """Return all that is to be seen of posts: what is kept of them, and the log."""
    refused = [fields for _, fields in door.client.xrange(Keys().refused)]
    alerts = [door.client.hgetall(key) for key in door.client.keys("bascule:{s0}:alert:*")]
    return json.dumps([refused, alerts, door.ingresses[0].log()])


async def test_a_credential_in_any_other_field_is_shown_nowhere(door):
    for word, path, changes in itertools.product(sorted(HIDDEN), ("hooks", "preview"), MISPLACED):
        filled = {name: value.replace("{}", word) for name, value in changes.items()}
        answer = await post(door, json.dumps({**GOOD, **filled}).encode(), path=path)
        assert answer.status in {200, 401, 422}
        assert [one for one in HIDDEN if one in json.dumps(answer.body)] == [], (changes, word, path)
    assert [one for one in HIDDEN if one in shown(door)] == []


async def test_nor_in_a_body_that_is_no_alert(door):
    for body, name in itertools.product(NO_ALERTS, ("scalper", "pinned")):
        for word in HIDDEN - {token_of("scalper")} if name == "pinned" else HIDDEN:
            answer = await post(door, (body % word).encode(), name=name)
            assert answer.status in {400, 401, 422}
            assert word not in json.dumps(answer.body) + shown(door), (body, name)


async def test_nor_where_the_alerts_dialect_has_no_place_for_one(door):
    body = {"passphrase": secret_of("scalper"), "ticker": "BTCUSDT", "action": "buy", "quantity": 1}
    answer = await post(door, json.dumps(body).encode(), name="pinned")
    assert answer.status == 200
    assert secret_of("scalper") not in shown(door)
    answer = await post(door, json.dumps({**body, "ticker": secret_of("scalper")}).encode(), name="pinned")
    assert (answer.status, answer.body["error"]["code"]) == (422, "credential_in_field")


async def test_a_mistyped_url_is_not_repeated(door):
    for path in ("hook/{}", "{}", "HOOKS/{}", "webhook/{}", "hooks/{}/", "preview/{}x"):
        url = f"{door.ingresses[0].url}/{path.replace('{}', token_of('scalper'))}"
        answer = await http_client.post(url, GOOD)
        assert answer.status == 404
        assert token_of("scalper") not in json.dumps(answer.body) + shown(door)


async def test_what_only_takes_posts_says_so(door):
    paths = ("/webhook", "/tv-webhook", "/hooks/some-token", "/preview", "/preview/some-token")
    for method, path in itertools.product(("GET", "PUT", "OPTIONS", "DELETE"), paths):
        answer, _ = await http_client.send_on(None, door.ingresses[0].url + path, b"", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_of_a_flood_of_one_stranger_only_the_beginning_is_logged_one_by_one(door):
    [ingress] = door.ingresses
    answers = await http_client.send_many(f"{ingress.url}/webhook", [b"junk"] * 400, 40)
    assert [answer.status for answer in answers] == [400] * 400

    def counted() -> bool:
        events = [
            event for event in ingress.log() if event.get("event") in {"post_refused", "stranger_refused"}
        ]
        one_by_one = [event for event in events if event["event"] == "post_refused"]
        return 100 <= len(one_by_one) < 150 and len(events) < 160

    await eventually(counted)
    assert ingress.metric("bascule_posts_total", status="400") == 400
