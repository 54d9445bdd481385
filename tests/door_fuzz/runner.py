"""Posts seeded nonsense to a real ingress, and holds every answer, log line and key against what the door promises."""

import asyncio
import hashlib
import hmac
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from libs.common.policy.addresses import TRADINGVIEW
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from tests.door_fuzz.bodies import Bodies
from tests.door_fuzz.leaks import Leaks
from tests.door_fuzz.webhooks import Credentials, Target, made_webhooks
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.pipelined import request_bytes, send_pipelined
from tests.support.redis_server import RedisServer

CHUNK: Final = 2_000
"""Posts between two looks at what Redis keeps: what was refused is pushed out by what is refused later."""

SHOWN: Final = 5
"""Violations of one kind that are told."""

_STATUSES: Final = frozenset({200, 400, 401, 403, 404, 405, 409, 413, 422, 429})
_CODE: Final = re.compile(r"[a-z][a-z0-9_]*")
_ID: Final = re.compile(r"[0-9a-v]{26}")
_PREVIEW: Final = frozenset(
    {"ok", "webhook", "dialect", "alert", "accounts", "ignored", "dedup", "checks", "error"}
)
_CONTENT_TYPES: Final = (
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "text/plain; charset=utf-8",
    "application/x-www-form-urlencoded",
    "APPLICATION/X-WWW-FORM-URLENCODED ; charset=x",
    "multipart/form-data; boundary=a",
    "text/csv",
    "",
    ";",
    "\xe9\xff",
    "a" * 500,
)
_ADDRESSES: Final = (
    *TRADINGVIEW,
    "10.1.2.3",
    "6.6.6.6",
    "6.6.6.6, 10.1.2.3",
    "[2001:db8::1]:99, ::ffff:10.1.2.3",
    "fe80::1%eth0",
    "127.0.0.1",
    "junk",
    "",
    ",,,",
    "1.2.3.4:99999999999",
    "999.1.1.1",
    "\xff",
    ", ".join(["10.1.0.1"] * 100),
)
_SUBJECTS: Final = (
    r"CN=x,O=TradingView\, Inc.,C=US",
    "CN=x,O=Somebody,C=US",
    "",
    ",,,=",
    "\\",
    "O=" * 300,
    "\xff",
)
_EMAILS: Final = ("webhook-server@tradingview.com", "a@b", "", ",")
_KEPT: Final = frozenset({"webhooks", "meta", "symbols"})


@dataclass
class Outcome:
    """What many posts came to."""

    seed: int
    posts: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """How many answers with which status, and with which code."""
    violations: Counter[str] = field(default_factory=Counter)
    """What was promised and not kept, and how often."""
    examples: list[str] = field(default_factory=list)
    alerts: int = 0
    """Whose record was found."""


@dataclass(frozen=True)
class _Sent:
    target: Target | None
    is_preview: bool
    request: bytes


class Fuzz:
    """One run over one ingress."""

    def __init__(self, directory: Path, redis: RedisServer, seed: int) -> None:
        """Args:
        directory: For configuration and logs.
        redis: A server with nothing in it.
        seed: Decides all that is posted.
        """
        self.outcome = Outcome(seed)
        self._redis = redis
        self._chance = random.Random(seed)
        self._bodies = Bodies(self._chance)
        self._credentials = Credentials(self._chance)
        make = self._credentials.make
        self._default = Target("default", make())
        self._fixed = Target("fixed", make(), make())
        self._key, self._other_key = make(), make()
        plain = [
            self._default.secret,
            self._fixed.secret,
            self._fixed.token or "",
            self._key,
            self._other_key,
        ]
        self._made = made_webhooks(self._credentials)
        self._leaks = Leaks(plain, [secret for secret in self._credentials.made if secret not in plain])
        self._targets = [target for _, target in self._made]
        self._bridge = Bridge(
            directory,
            redis,
            workers=0,
            reapers=0,
            config={
                "signing_keys": {"relay": "RELAY_KEY", "other": "OTHER_KEY"},
                "webhooks": {
                    "fixed": {"secret": "FIXED_SECRET", "token": "FIXED_TOKEN", "accounts": [ACCOUNT]}
                },
                "accounts": {"strict": {"broker": "log", "symbols": "strict"}},
                "symbols": [{"symbol": "ETHUSDT", "market": "ETH/USDT", "account": "strict"}],
                # A busy machine is no violation.
                "ingress": {
                    "trusted_proxies": ["127.0.0.1"],
                    "certificate_proxies": ["127.0.0.1"],
                    "deadline": "3s",
                },
            },
            environment={
                "WEBHOOK_SECRET": self._default.secret,
                "FIXED_SECRET": self._fixed.secret,
                "FIXED_TOKEN": self._fixed.token or "",
                "RELAY_KEY": self._key,
                "OTHER_KEY": self._other_key,
            },
        )
        self._admitted: set[str] = set()
        self._sent: dict[int, _Sent] = {}

    async def run(self, posts: int) -> Outcome:
        """Post so many times, and return what came of it."""
        outcome = self.outcome
        try:
            await self._make_webhooks()
            [ingress] = self._bridge.ingresses
            pid = ingress.pid
            while outcome.posts < posts:
                count = min(CHUNK, posts - outcome.posts)
                await send_pipelined(ingress.config["ingress"]["port"], self._requests(count), self._judge)
                outcome.posts += count
                self._look_into_redis()
            self._look_at_process(pid)
        finally:
            self._bridge.close()
        return outcome

    async def _make_webhooks(self) -> None:
        client = connect(self._redis.url, timeout_s=5)
        tables = TableStore(client, Keys())
        try:
            for webhook, _ in self._made:
                await tables.put_webhook(webhook, None, "created")
            revision = await tables.revision()
        finally:
            await client.aclose()
        self._bridge.start()
        [ingress] = self._bridge.ingresses
        await eventually(lambda: any(one.get("revision") == revision for one in ingress.log()), 10)

    def _requests(self, count: int) -> Iterator[bytes]:
        self._sent.clear()
        for index in range(count):
            sent = self._sent[index] = self._request()
            yield sent.request

    def _request(self) -> _Sent:
        chance = self._chance
        target = chance.choice([self._default, self._default, self._default, self._fixed, *self._targets])
        is_mixed_up = chance.random() < 0.5 and target.name == "open"
        credential = self._credential(target, is_mixed_up=is_mixed_up)
        if is_mixed_up:
            # A secret of another webhook can be told only where a credential stands.
            body = self._bodies.whole(credential)
        else:
            loose = [target.secret, target.token or self._default.secret, self._default.secret, self._key]
            body = self._bodies.next(credential, loose, target.dialect)
        path, is_preview, found = self._path(target)
        headers = self._headers(body, target)
        is_plain = chance.random() < 0.98
        method = "POST" if is_plain else chance.choice(("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"))
        request = request_bytes(
            path, body, headers, method=method, is_chunked=chance.random() < 0.05 and method == "POST"
        )
        return _Sent(found if method == "POST" else None, is_preview, request)

    def _credential(self, target: Target, *, is_mixed_up: bool) -> str:
        chance = self._chance
        if is_mixed_up:
            return chance.choice(self._targets).secret
        kind = chance.random()
        if kind < 0.8:
            return target.secret
        return chance.choice(
            (
                "",
                "wrong-secret",
                "x",
                "é" * 20,
                self._default.secret,
                self._fixed.secret,
                self._key,
                "{{ticker}}",
            )
        )

    def _path(self, target: Target) -> tuple[str, bool, Target | None]:
        """Return a path, whether it is for a preview, and the webhook there."""
        chance = self._chance
        kind = chance.random()
        is_preview = kind < 0.1
        if kind > 0.97:
            known = target.token or "nothing"
            paths = (
                "/", "/hooks", "/hooks/", f"/hooks/{known}x", f"/hooks/{known}/", f"/hooks/{known}/a", f"/hook/{known}",
                f"/HOOKS/{known}", f"//hooks/{known}", f"/{known}", f"/hooks/{known[:-1]}", f"/hooks/%00{known}", "/hooks/%ff%fe",
                "/hooks/" + "a" * 4_000, f"/preview/{known}x", "/preview/", "/webhook/", "/webhooks", "/openapi.json", "/health",
                "/hooks/%2e%2e/webhook", f"/hooks/{known}%20", "/hooks/..", f"/webhook/{known}", f"/hooks/{self._default.secret}",
            )  # fmt: skip
            return chance.choice(paths), False, None
        query = chance.choice(("", "", "", "", "?", "?a=b", f"?secret={target.secret}", "?%ff&=&"))
        if target.token is None:
            path = "/preview" if is_preview else chance.choice(("/webhook", "/webhook", "/tv-webhook"))
        else:
            path = f"/preview/{target.token}" if is_preview else f"/hooks/{target.token}"
        return path + query, is_preview, target

    def _headers(self, body: bytes, target: Target) -> list[tuple[str, str]]:
        chance = self._chance
        headers = []
        if chance.random() < 0.95:
            headers.append(("Content-Type", self._one_of(_CONTENT_TYPES)))
        if chance.random() < 0.3:
            headers.append((chance.choice(("X-Signature", "x-signature-256")), self._signature(body, target)))
        if chance.random() < 0.4:
            headers += [("X-Forwarded-For", self._one_of(_ADDRESSES))] * chance.choice((1, 1, 2))
        if chance.random() < 0.3:
            times = chance.choice((1, 1, 1, 2))
            headers += [("X-Client-Certificate-Subject", self._one_of(_SUBJECTS))] * times
            headers += [("X-Client-Certificate-San-Emails", self._one_of(_EMAILS))] * times
        if chance.random() < 0.05:
            headers.append((chance.choice(("Authorization", "Cookie", "X-Real-IP", "Accept")), target.secret))
        return headers

    def _one_of(self, values: tuple[str, ...]) -> str:
        """Return the first one half of the time."""
        return values[0] if self._chance.random() < 0.5 else self._chance.choice(values)

    def _signature(self, body: bytes, target: Target) -> str:
        chance = self._chance
        key = chance.choice((self._key, self._key, self._other_key, target.secret, "another"))
        digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        return chance.choice(
            (
                digest,
                f"sha256={digest}",
                f"SHA256={digest.upper()}",
                digest,
                digest[:-1],
                f"sha1={digest}",
                "",
                "ffff",
                "\xff\xe9",
                key,
            )
        )

    def _judge(self, index: int, status: int, head: bytes, raw: bytes) -> None:
        sent = self._sent[index]
        outcome = self.outcome
        outcome.counts[str(status)] += 1
        if status not in _STATUSES:
            self._broken(f"status {status}", sent, raw)
            return
        if found := self._leaks.find(raw.decode("utf-8", "replace") + head.decode("latin-1")):
            self._broken("an answer shows a secret", sent, raw + found.encode())
        if b"content-type: application/json" not in head:
            self._broken("an answer is not declared as JSON", sent, head)
        try:
            answer = orjson.loads(raw)
        except ValueError:
            self._broken("an answer is not JSON", sent, raw)
            return
        if status == 200:
            self._judge_taken(sent, answer, raw)
        else:
            self._judge_refusal(sent, status, head, answer, raw)

    def _judge_taken(self, sent: _Sent, answer: Any, raw: bytes) -> None:
        if sent.target is None:
            if "openapi" not in answer and answer.get("service") != "ingress":
                self._broken("something was taken where no webhook is", sent, raw)
            return
        if sent.is_preview:
            self.outcome.counts["preview"] += 1
            if answer.keys() != _PREVIEW:
                self._broken("a preview of another shape", sent, raw)
            return
        if answer.keys() != {"ok", "alert_id", "duplicate"} or answer["ok"] is not True:
            self._broken("an admission of another shape", sent, raw)
            return
        self.outcome.counts["duplicate" if answer["duplicate"] else "admitted"] += 1
        self.outcome.counts[f"taken at {sent.target.name}"] += 1
        self._admitted.add(answer["alert_id"])

    def _judge_refusal(self, sent: _Sent, status: int, head: bytes, answer: Any, raw: bytes) -> None:
        try:
            error, event_id = answer["error"], answer["event_id"]
            is_right = (
                answer.keys() == {"ok", "error", "event_id"}
                and answer["ok"] is False
                and error.keys() == {"code", "detail", "field"}
                and _CODE.fullmatch(error["code"]) is not None
                and isinstance(error["detail"], str)
                and error["detail"].strip() != ""
                and (error["field"] is None or isinstance(error["field"], str))
                and _ID.fullmatch(event_id) is not None
                and (status != 429 or b"retry-after: " in head)
            )
        except (AttributeError, KeyError, TypeError):
            is_right = False
        if is_right:
            self.outcome.counts[answer["error"]["code"]] += 1
        else:
            self._broken("a refusal of another shape", sent, raw)

    def _look_into_redis(self) -> None:
        """Look for records of all that was taken, and for secrets; then make room for what follows."""
        with self._redis.client(decode_responses=False, socket_timeout=60) as client:
            keys = Keys()
            ids = sorted(self._admitted)
            with client.pipeline(transaction=False) as pipeline:
                for alert_id in ids:
                    pipeline.exists(f"{keys.prefix}alert:{alert_id}")
                for alert_id, exists in zip(ids, pipeline.execute(), strict=True):
                    self.outcome.alerts += exists
                    if not exists:
                        self._broken(f"no record of alert {alert_id}", None, b"")
            self._admitted.clear()
            names: list[bytes] = list(client.scan_iter(count=5_000))
            for name, value in zip(names, _values(client, names), strict=True):
                if found := self._leaks.find(f"{name!r} {value}"):
                    self._broken(
                        "a key shows a secret",
                        None,
                        name + b" " + found.encode() + b" " + _around(value, found),
                    )
            passing = [name for name in names if name.decode().rpartition(":")[2] not in _KEPT]
            if passing:
                client.delete(*passing)

    def _look_at_process(self, pid: int) -> None:
        [ingress] = self._bridge.ingresses
        if not ingress.is_running or ingress.pid != pid:
            self._broken("the ingress has ended", None, ingress.log_tail().encode())
        if written := ingress.errors():
            self._broken("the ingress wrote on stderr", None, written.encode()[:2_000])
        for event in ingress.log():
            line = json.dumps(event)
            if event.get("event") == "post_failed" or event.get("level") in {"error", "critical"}:
                self._broken("an error in the log", None, line.encode())
            if found := self._leaks.find(line):
                self._broken("a log line shows a secret", None, line.encode() + found.encode())

    def _broken(self, what: str, sent: _Sent | None, came: bytes) -> None:
        self.outcome.violations[what] += 1
        if self.outcome.violations[what] <= SHOWN:
            request = b"" if sent is None else sent.request[:3_000]
            self.outcome.examples.append(f"{what}\n  sent {request!r}\n  came {came[:3_000]!r}")


def _values(client: Any, names: list[bytes]) -> list[str]:
    """Return all that keys hold, as text."""
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.type(name)
        kinds = pipeline.execute()
        for name, kind in zip(names, kinds, strict=True):
            match kind:
                case b"hash":
                    pipeline.hgetall(name)
                case b"stream":
                    pipeline.xrange(name)
                case b"zset":
                    pipeline.zrange(name, 0, -1)
                case b"set":
                    pipeline.smembers(name)
                case _:
                    pipeline.get(name)
        return [_text(value) for value in pipeline.execute()]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return " ".join(f"{_text(name)} {_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple | set):
        return " ".join(map(_text, value))
    return str(value)


def _around(text: str, found: str) -> bytes:
    place = max(0, text.find(found))
    return text[max(0, place - 400) : place + 400].encode("utf-8", "replace")


def fuzz_door(directory: Path, redis: RedisServer, posts: int, seed: int) -> Outcome:
    """Post so many bodies made from a seed, and return what came of it."""
    return asyncio.run(Fuzz(directory, redis, seed).run(posts))
