import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.ids import AccountName, Market, WebhookName
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.limits import Limit
from libs.common.policy.symbols import SymbolEntry
from libs.common.policy.webhook import Demand, Webhook
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]

TOKEN = "tOkEn0123456789abcdefghijklmnopqr"
BODY_SECRET = "bOdySecret0123456789"
SIGNING_KEY = "a-signing-key-of-the-relay"
LESSON5 = (
    b'{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,'
    b'"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}'
)
NOVA = {
    "passphrase": BODY_SECRET,
    "action": "buy",
    "ticker": "SOLUSDT",
    "exchange": "BYBIT",
    "price": 151.4,
    "volume": 12.5,
    "strategy_id": "trend_v3",
    "timeframe": "15",
    "bar_time": "2026-11-03T09:15:01Z",
}


def factorqx(**changes: Any) -> bytes:
    whole = {"secret": BODY_SECRET, "id": "a", "symbol": "BTCUSDT", "action": "buy", **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def webhook(**changes: Any) -> Webhook:
    whole: dict[str, Any] = {
        "name": WebhookName("scalper"),
        "accounts": (AccountName("desk"),),
        "tokens": (HashedToken(token_digest(TOKEN)),),
        "secrets": (hash_secret(BODY_SECRET, "salt"),),
        "created_at_ms": 1,
    }
    return Webhook(**{**whole, **changes})


class Door:
    """An ingress with a place to make webhooks in."""

    def __init__(self, bridge: Bridge, tables: TableStore) -> None:
        self.bridge = bridge
        self.tables = tables
        self.url = bridge.ingresses[0].url

    async def make(self, made: Webhook, before: Webhook | None = None) -> None:
        """Store a webhook and wait until the ingress knows it."""
        await self.tables.put_webhook(made, before, "changed")
        await self.known()

    async def known(self) -> None:
        """Wait until the ingress has read the tables as they are."""
        revision = await self.tables.revision()
        [ingress] = self.bridge.ingresses

        def is_read() -> bool:
            read = [event["revision"] for event in ingress.log() if event.get("event") == "webhooks_read"]
            return bool(read) and read[-1] == revision

        await eventually(is_read, 5)

    async def post(
        self, body: bytes, *, token: str = TOKEN, path: str = "hooks", headers: dict[str, str] | None = None
    ) -> Answer:
        return await http_client.post(f"{self.url}/{path}/{token}", body, headers=headers)

    def refused(self) -> list[dict[str, str]]:
        """Return the posts that were not admitted, as they are kept."""
        return [fields for _, fields in self.bridge.client.xrange(Keys().refused)]


@pytest.fixture
async def door(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Door]:
    config = {
        "signing_keys": {"relay": "RELAY_KEY"},
        "webhooks": {"fixed": {"secret": "FIXED_SECRET", "token": "FIXED_TOKEN", "accounts": ["desk"]}},
        "accounts": {"strict": {"broker": "log", "symbols": "strict"}},
        "symbols": [{"symbol": "ETHUSDT", "market": "ETH/USDT", "account": "strict"}],
        "ingress": {"trusted_proxies": ["127.0.0.1"], "certificate_proxies": ["127.0.0.1"]},
    }
    environment = {
        "RELAY_KEY": SIGNING_KEY,
        "FIXED_SECRET": "fixed-secret-of-the-file",
        "FIXED_TOKEN": "fixedTokenOfTheFile0123456789",
    }
    bridge = Bridge(tmp_path, redis_server, workers=0, reapers=0, config=config, environment=environment)
    client = connect(redis_server.url, timeout_s=5)
    try:
        bridge.start()
        yield Door(bridge, TableStore(client, Keys()))
    finally:
        bridge.close()
        await client.aclose()


def refusal(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["error"]["code"]


async def test_a_webhook_made_at_run_time_admits_posts_to_its_url_with_its_secret(door: Door) -> None:
    assert refusal(await door.post(factorqx())) == (404, "unknown_webhook")
    await door.make(webhook())
    answer = await door.post(factorqx())
    assert (answer.status, answer.body["duplicate"]) == (200, False)
    for wrong in ("", "wrong-secret", SECRET):
        assert refusal(await door.post(factorqx(secret=wrong))) == (401, "unauthorized")
    assert refusal(await door.post(factorqx(), token=TOKEN + "x")) == (404, "unknown_webhook")


async def test_a_disabled_or_deleted_webhook_answers_like_an_unknown_one(door: Door) -> None:
    unknown = (await door.post(factorqx())).body
    made, disabled = webhook(), webhook(is_disabled=True)
    await door.make(made)
    await door.make(disabled, made)
    assert (await door.post(factorqx())).body["error"] == unknown["error"]
    await door.make(made, disabled)
    assert (await door.post(factorqx())).status == 200
    await door.tables.delete_webhook(made)
    await door.known()
    assert (await door.post(factorqx())).body["error"] == unknown["error"]


async def test_a_webhook_of_the_configuration_has_a_url_of_its_own(door: Door) -> None:
    body = factorqx(secret="fixed-secret-of-the-file")
    assert (await door.post(body, token="fixedTokenOfTheFile0123456789")).status == 200
    assert refusal(await door.post(factorqx(), token="fixedTokenOfTheFile0123456789")) == (
        401,
        "unauthorized",
    )


async def test_rotated_secrets_and_tokens_end_with_their_overlap(door: Door) -> None:
    other = "anotherToken0123456789abcdefghijk"
    rotated = webhook(
        tokens=(
            HashedToken(token_digest(other)),
            HashedToken(token_digest(TOKEN), expires_at_ms=4_000_000_000_000),
        ),
        secrets=(hash_secret("the-new-secret", "s"), hash_secret(BODY_SECRET, "t", expires_at_ms=1)),
    )
    await door.make(rotated)
    for number, token in enumerate((TOKEN, other)):
        body = factorqx(secret="the-new-secret", id=f"a{number}")
        assert (await door.post(body, token=token)).status == 200
    assert refusal(await door.post(factorqx(id="old"))) == (401, "unauthorized")
    ended = webhook(tokens=(HashedToken(token_digest(TOKEN), expires_at_ms=1),))
    await door.make(ended, rotated)
    assert refusal(await door.post(factorqx())) == (404, "unknown_webhook")


async def test_where_the_url_is_enough_the_body_needs_no_secret(door: Door) -> None:
    await door.make(webhook(demands=(), secrets=()))
    assert (await door.post(factorqx(secret=None))).status == 200


async def test_a_dialect_without_a_place_for_a_secret_relies_on_the_url_but_a_wrong_one_is_refused(
    door: Door,
) -> None:
    await door.make(webhook())
    bare = {"ticker": "BTCUSDT", "action": "buy", "quantity": 1}
    assert (await door.post(json.dumps(bare).encode())).status == 200
    for field in ("secret", "password"):
        wrong = json.dumps({**bare, field: "wrong", "price": 1}).encode()
        assert refusal(await door.post(wrong)) == (401, "unauthorized")
        right = json.dumps({**bare, field: BODY_SECRET, "price": field == "secret" or 2}).encode()
        assert (await door.post(right.replace(b"true", b"3"))).status == 200
    # At the path that everybody knows there is nothing to rely on.
    assert refusal(await http_client.post(f"{door.url}/webhook", json.dumps(bare).encode())) == (
        401,
        "unauthorized",
    )


def signed(
    body: bytes, key: str = SIGNING_KEY, header: str = "X-Signature", scheme: str = ""
) -> dict[str, str]:
    return {header: scheme + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}


async def test_a_signature_may_be_demanded_by_either_header_with_or_without_its_scheme(door: Door) -> None:
    await door.make(webhook(demands=(Demand.SIGNATURE,), signing_keys=("relay",)))
    for number, (header, scheme) in enumerate(
        [
            ("X-Signature", ""),
            ("X-Signature", "sha256="),
            ("X-Signature-256", ""),
            ("X-Signature-256", "sha256="),
        ]
    ):
        body = factorqx(secret=None, id=f"a{number}")
        assert (await door.post(body, headers=signed(body, header=header, scheme=scheme))).status == 200
    body = factorqx(id="bad")
    for headers in ({}, signed(body, "another key"), signed(body + b" "), {"X-Signature": "ffff"}):
        assert refusal(await door.post(body, headers=headers)) == (401, "bad_signature")


async def test_lesson_5_is_admitted_by_its_signature_where_there_is_a_key_also_at_the_default_webhook(
    door: Door,
) -> None:
    await door.make(webhook(signing_keys=("relay",)))
    assert refusal(await door.post(LESSON5)) == (401, "unauthorized")
    assert (await door.post(LESSON5, headers=signed(LESSON5))).status == 200
    default = f"{door.url}/webhook"
    assert (await http_client.post(default, LESSON5)).status == 401
    assert (await http_client.post(default, LESSON5, headers=signed(LESSON5, SECRET))).status == 200


async def test_several_proofs_may_be_demanded_at_once(door: Door) -> None:
    await door.make(
        webhook(demands=(Demand.SECRET, Demand.SIGNATURE, Demand.CERTIFICATE), signing_keys=("relay",))
    )
    body = factorqx()
    certificate = {
        "X-Client-Certificate-Subject": r"CN=x,O=TradingView\, Inc.,C=US",
        "X-Client-Certificate-San-Emails": "webhook-server@tradingview.com",
    }
    assert refusal(await door.post(body)) == (401, "bad_signature")
    assert refusal(await door.post(body, headers=signed(body))) == (401, "no_certificate")
    assert refusal(await door.post(body, headers=certificate)) == (401, "bad_signature")
    assert (await door.post(body, headers={**signed(body), **certificate})).status == 200


async def test_posts_from_elsewhere_are_refused_by_the_address_that_the_proxy_saw(door: Door) -> None:
    await door.make(webhook(allow=("tradingview", "10.1.0.0/16")))
    for number, address in enumerate(("52.89.214.238", "10.1.2.3", "6.6.6.6, 10.1.2.3")):
        answer = await door.post(factorqx(id=f"a{number}"), headers={"X-Forwarded-For": address})
        assert answer.status == 200, address
    for address in ("6.6.6.6", "10.1.2.3, 6.6.6.6", "10.1.2.3, junk", "10.2.0.1"):
        answer = await door.post(factorqx(id="b"), headers={"X-Forwarded-For": address})
        assert refusal(answer) == (403, "address_refused"), address
    assert refusal(await door.post(factorqx(id="b"))) == (403, "address_refused")


async def test_above_its_rate_a_webhook_answers_429_with_when_to_come_back(door: Door) -> None:
    await door.make(webhook(limit=Limit(interval_us=2_000_000, burst=3)))
    answers = [await door.post(factorqx(id=f"a{number}")) for number in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].headers["retry-after"] in {"1", "2"}
    # What was admitted stays a duplicate, whatever the rate.
    assert (await door.post(factorqx(id="a0"))).body["duplicate"] is True


async def test_one_bar_is_one_alert_and_the_second_post_a_duplicate_not_a_conflict(door: Door) -> None:
    await door.make(webhook())
    first = await door.post(json.dumps(NOVA).encode())
    flicker = {**NOVA, "bar_time": "2026-11-03T09:15:03Z", "price": 151.9}
    again = await door.post(json.dumps(flicker).encode())
    assert (again.status, again.body) == (200, {**first.body, "duplicate": True})
    following = {**NOVA, "bar_time": "2026-11-03T09:30:01Z"}
    assert (await door.post(json.dumps(following).encode())).body["duplicate"] is False


async def test_every_refused_post_of_a_known_webhook_is_kept_without_its_secret(door: Door) -> None:
    await door.make(webhook())
    bodies = {
        "not_json": b'{"secret": "' + BODY_SECRET.encode() + b'", "id": ',
        "invalid_action": factorqx(action="hold"),
        "unauthorized": factorqx(secret="not-the-right-one"),
        "unknown_dialect": f"what is {BODY_SECRET}?".encode(),
        "unfilled_placeholder": factorqx(symbol="{{ticker}}"),
    }
    for code, body in bodies.items():
        answer = await door.post(body)
        assert answer.body["error"]["code"] == code
        [kept] = [one for one in door.refused() if one["event"] == answer.body["event_id"]]
        assert (kept["webhook"], kept["code"]) == ("scalper", code)
        assert kept["raw"]
        assert BODY_SECRET not in json.dumps(kept)
        assert "not-the-right-one" not in json.dumps(kept)
    assert TOKEN not in json.dumps(door.refused())
    assert TOKEN not in json.dumps(door.bridge.ingresses[0].log())


async def test_a_wrong_secret_at_the_path_that_everybody_knows_is_kept_where_tradingview_sent_it(
    door: Door,
) -> None:
    url = f"{door.url}/webhook"
    answers = [
        await http_client.post(url, factorqx(secret="mistyped-secret"), headers={"X-Forwarded-For": source})
        for source in ("203.0.113.9", "52.89.214.238")
    ]
    assert [refusal(answer) for answer in answers] == [(401, "unauthorized")] * 2
    # Anybody can mistype; what came from elsewhere is nobody's alert.
    [kept] = door.refused()
    assert (kept["event"], kept["webhook"]) == (answers[1].body["event_id"], "default")
    assert "BTCUSDT" in kept["raw"]
    assert "mistyped-secret" not in json.dumps(kept)


async def test_an_admitted_alert_shows_no_secret_that_only_a_digest_was_known_of(door: Door) -> None:
    await door.make(webhook())
    answer = await door.post(factorqx(comment=f"the secret is {BODY_SECRET}"))
    record = door.bridge.client.hget(f"bascule:{{s0}}:alert:{answer.body['alert_id']}", "alert")
    assert BODY_SECRET not in record
    assert "***" in record


async def test_each_account_of_a_webhook_has_its_own_outcome(door: Door) -> None:
    await door.make(webhook(accounts=(AccountName("desk"), AccountName("strict"))))
    taken = (await door.post(factorqx(symbol="ETHUSDT"))).body["alert_id"]
    half = (await door.post(factorqx(id="b"))).body["alert_id"]
    states = door.bridge.instruction_states()
    assert {states[f"{taken}:desk"], states[f"{taken}:strict"]} == {"QUEUED"}
    assert (states[f"{half}:desk"], states[f"{half}:strict"]) == ("QUEUED", "REJECTED")
    assert door.bridge.instructions()[f"{taken}:strict"]["market"] == "ETH/USDT"


async def test_an_unknown_symbol_is_refused_with_the_nearest_until_an_entry_is_confirmed(door: Door) -> None:
    await door.make(webhook(accounts=(AccountName("strict"),)))
    answer = await door.post(factorqx(symbol="BINANCE:ETHUSDC"))
    assert refusal(answer) == (422, "unknown_symbol")
    assert "ETHUSDT" in answer.body["error"]["detail"]
    await door.tables.put_symbol(
        SymbolEntry("ETHUSDC", Market("ETH/USDC"), account=AccountName("strict")), None
    )
    await door.known()
    assert (await door.post(factorqx(symbol="BINANCE:ETHUSDC"))).status == 200


async def test_a_preview_shows_what_an_alert_would_do_and_stores_nothing(door: Door) -> None:
    await door.make(webhook(accounts=(AccountName("desk"), AccountName("strict"))))
    before = {key: door.bridge.client.dump(key) for key in door.bridge.client.keys("*")}
    shown = (await door.post(factorqx(symbol="ETHUSDT", quantity="0.10"), path="preview")).body
    assert shown["ok"] is True
    assert (shown["webhook"], shown["dialect"]) == ("scalper", "factorqx")
    assert shown["alert"]["quantity"] == "0.10"
    assert [account["market"] for account in shown["accounts"]] == ["ETHUSDT", "ETH/USDT"]
    assert (shown["dedup"]["by"], shown["dedup"]["is_new"]) == ("id", True)
    assert all(check["passes"] for check in shown["checks"])
    wrong = (await door.post(factorqx(secret="wrong-secret", action="hold"), path="preview")).body
    assert (wrong["ok"], wrong["error"]["code"]) == (False, "invalid_action")
    assert {"check": "credential", "passes": False}.items() <= wrong["checks"][0].items()
    after = {key: door.bridge.client.dump(key) for key in door.bridge.client.keys("*")}
    assert {key for key in after if before.get(key) != after[key]} <= {Keys().probe}


async def test_a_preview_tells_a_repeat_and_needs_a_credential_like_any_post(door: Door) -> None:
    await door.make(webhook())
    first = (await door.post(factorqx())).body["alert_id"]
    shown = (await door.post(factorqx(), path="preview")).body
    assert (shown["dedup"]["is_new"], shown["dedup"]["alert_id"]) == (False, first)
    conflict = (await door.post(factorqx(action="sell"), path="preview")).body
    assert (conflict["ok"], conflict["error"]["code"]) == (False, "id_conflict")
    assert refusal(await door.post(factorqx(), path="preview", token="unknown")) == (404, "unknown_webhook")
    answer = await http_client.post(f"{door.url}/preview", factorqx())
    assert refusal(answer) == (401, "unauthorized")
    assert (await http_client.post(f"{door.url}/preview", factorqx(secret=SECRET))).body["ok"] is True


async def test_a_webhook_of_a_later_version_is_told_to_come_again_not_that_it_is_none(door: Door) -> None:
    await door.make(webhook(dialect="of-a-later-version"))
    assert refusal(await door.post(factorqx())) == (503, "not_durable")
    assert refusal(await door.post(factorqx(), token="another")) == (404, "unknown_webhook")


async def test_while_a_webhook_cannot_be_read_no_token_is_said_to_be_unknown(door: Door) -> None:
    keys = Keys()
    door.bridge.client.hset(keys.webhooks, "damaged", "{")
    door.bridge.client.hincrby(keys.meta, "revision", 1)
    await door.known()
    assert refusal(await door.post(factorqx())) == (503, "not_durable")
    door.bridge.client.hdel(keys.webhooks, "damaged")
    door.bridge.client.hincrby(keys.meta, "revision", 1)
    await door.known()
    assert refusal(await door.post(factorqx())) == (404, "unknown_webhook")


async def test_a_post_that_was_under_way_when_its_webhook_was_disabled_is_not_admitted(door: Door) -> None:
    made = webhook()
    await door.make(made)
    body = factorqx()
    host, _, port = door.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /hooks/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:10])
    await writer.drain()
    await door.make(webhook(is_disabled=True), made)
    writer.write(body[10:])
    assert b" 503 " in await reader.readline()
    writer.close()
    assert not door.bridge.instructions()


async def test_a_preview_at_the_path_that_everybody_knows_asks_what_a_post_is_asked(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    config = {"webhooks": {"default": {"allow": ["10.0.0.1"]}}}
    bridge = Bridge(tmp_path, redis_server, workers=0, reapers=0, config=config)
    try:
        url = bridge.start().ingresses[0].url
        for path in ("webhook", "preview"):
            for secret in (SECRET, "wrong-secret"):
                answer = await http_client.post(f"{url}/{path}", factorqx(secret=secret))
                assert refusal(answer) == (403, "address_refused")
    finally:
        bridge.close()


async def test_what_a_stranger_tries_at_a_preview_is_counted_like_posts(door: Door) -> None:
    for _ in range(3):
        await http_client.post(f"{door.url}/preview", factorqx(secret="wrong-secret"))
    [ingress] = door.bridge.ingresses
    assert ingress.metric("bascule_posts_total", status="401", reason="unauthorized") == 3
    assert any(event.get("event") == "credential_refused" for event in ingress.log())


async def test_credentials_of_other_tools_are_not_kept_either(door: Door) -> None:
    await door.make(webhook(demands=()))
    other = b'{"api_key":"k-altrady-1","api_secret":"s-altrady-2","signalToken":"okx-3","action":"reduce"}'
    answer = await door.post(other)
    [kept] = [one for one in door.refused() if one["event"] == answer.body["event_id"]]
    assert all(secret not in json.dumps(kept) for secret in ("k-altrady-1", "s-altrady-2", "okx-3"))


async def test_a_refusal_names_the_field_as_the_sender_wrote_it(door: Door) -> None:
    await door.make(webhook(accounts=(AccountName("strict"),)))
    unknown = await door.post(json.dumps({**NOVA, "ticker": "DOGEUSDT"}).encode())
    assert (refusal(unknown), unknown.body["error"]["field"]) == ((422, "unknown_symbol"), "ticker")
    first = LESSON5.replace(b"}", f',"secret":"{BODY_SECRET}"}}'.encode())
    assert (await door.post(first)).status == 200
    other = await door.post(first.replace(b"0.25", b"0.5"))
    assert (refusal(other), other.body["error"]["field"]) == ((409, "id_conflict"), "client_ref")


async def test_a_signature_that_is_there_is_never_ignored_where_it_is_the_dialects_credential(
    door: Door,
) -> None:
    await door.make(webhook())
    assert (await door.post(LESSON5)).status == 200
    other = LESSON5.replace(b"_L1", b"_L2")
    assert refusal(await door.post(other, headers={"X-Signature": "deadbeef"})) == (401, "unauthorized")


async def test_the_ingress_describes_itself(door: Door) -> None:
    answer = await http_client.get(f"{door.url}/openapi.json")
    assert answer.status == 200
    assert set(answer.body["paths"]) == {
        "/webhook",
        "/tv-webhook",
        "/hooks/{token}",
        "/preview",
        "/preview/{token}",
        "/health",
    }
