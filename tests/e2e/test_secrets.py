"""Every credential that the product knows, and wrong ones that come close, hunted through all that a full run leaves.

What is written on purpose is left out: the secret and the URL that `webhook create` and `rotate` show once.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

import httpx
import pytest

from libs.common.policy.authentication import hash_secret
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.e2e.commands import Outcome, bascule
from tests.e2e.secret_hunt import PART, Hunt, peeled
from tests.support import http_client
from tests.support.children import spawn
from tests.support.dialect_bodies import rendered
from tests.support.eventually import eventually
from tests.support.exchange_server import Exchange
from tests.support.http_client import Answer
from tests.support.otlp_sink import OtlpSink
from tests.support.ports import free_port, free_ports
from tests.support.processes import ACCOUNT, ROOT, Bridge, Service
from tests.support.redis_server import Binary, RedisServer
from tests.support.tools import missing_tool
from tests.support.upstream import Received, Upstream
from tests.support.webhooks import made_webhook, make_webhooks, token_of

RELAY_QUERY: Final = "query of the upstream of the relay"
COLLECTOR_KEY: Final = "key of the collector"
KNOWN: Final = {
    "secret of the default webhook": "Wq7/hook+Secret'é4-default",
    "secret of a webhook of the configuration": "Zr5BtcOnlySecret0987",
    "token of a webhook of the configuration": "Tk3BtcOnlyToken4567890",
    "token of a webhook without a secret": "Tk8UrlAloneToken456789",
    "secret of a webhook made with its own": "Ho6/Own+Secret&Stdin8",
    "key of signatures": 'Sg2/sign"Key\\with+all%9',
    "secret of the http account": "Hb4/broker+Secret\\%ü-1",
    "key of the ccxt account": "Ak9ExchangeKey/+22xyzw",
    "secret of the ccxt account": "As1ExchangeSecret+/=77q",
    "passphrase of the ccxt account": 'Pp5 "pass" phrasé & more',
    "password of Redis": "Rd8/redis:Pass@word%w0",
    "key of the relay": "Rk6/relay+SigningKey#3",
    "token of the relay": "Rt7RelayToken0123456789",
    RELAY_QUERY: "Ru2QuerySecret01234567",
    COLLECTOR_KEY: "Oc5CollectorKey012345",
}
WRONG: Final = {
    "mistyped secret": KNOWN["secret of the default webhook"][:-1] + "X",
    "mistyped secret of the configuration": KNOWN["secret of a webhook of the configuration"][1:] + "Q",
    "mistyped token": "Tk3BtcOnlyToken4567891",
    "wrong secret": "Xw1-wrong/Secret+word",
    "wrong secret to a named webhook": "Xw2-wrong/Secret+named",
    "wrong secret in a broken body": "Xw3wrongSecretBroken12",
    "wrong secret in the query": "Xw4wrongSecretQuery123",
    "wrong secret in a header": "Xw5wrongSecretHeader12",
    "wrong token": "Xw6wrongTokenOfWebhook",
    "wrong password of Redis": "Xw7wrongRedisPassword1",
    "wrong token of the relay": "Xw8wrongTokenOfRelay12",
    "wrong signature": "Xw9wrongSignature12345",
}
REDIS_PASSWORD: Final = KNOWN["password of Redis"]
PREFIX: Final = "bascule:{s0}:"


# ----------------------------------------------------------------------------------------------------------------------
# The search
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_the_search_finds_a_secret_however_it_is_written(name):
    secret, hunt = KNOWN[name], Hunt(KNOWN)
    written = [
        secret,
        secret[:PART],
        secret[-PART:],
        json.dumps({"a": json.dumps({"b": secret})}),
        json.dumps(json.dumps(json.dumps([secret], ensure_ascii=False))),
        "".join(f"\\u{ord(letter):04x}" for letter in secret),
        quote(quote(secret, safe=""), safe=""),
        quote_plus(secret).lower(),
        base64.b64encode(b"user:" + secret.encode()).decode(),
        base64.urlsafe_b64encode(f"ab{secret}yz".encode()).decode(),
        repr(secret.encode()),
        secret.encode().hex(),
    ]
    assert [text for text in written if name not in hunt.find(f"<{text}>")] in (
        [],
        [quote_plus(secret).lower()],
    )
    assert hunt.find(b"\xff" + secret.encode()) == {name}
    assert hunt.find("nothing of the kind, and ***") == set()


# ----------------------------------------------------------------------------------------------------------------------
# The parts of a run
# ----------------------------------------------------------------------------------------------------------------------


class GuardedRedis(RedisServer):
    """A server that asks for a password."""

    def __init__(self, binary: Binary) -> None:
        super().__init__(binary, tcp=True, options={"requirepass": REDIS_PASSWORD})

    def client(self, **options: Any) -> Any:
        return super().client(**{"password": REDIS_PASSWORD, **options})

    def url_with(self, password: str) -> str:
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/0"


def echo(account: str) -> str:
    """Return what a venue says that repeats all credentials of an account, also where a text is cut."""
    words = [secret for name, secret in KNOWN.items() if name.endswith(f"of the {account} account")]
    return "; ".join(f"{'.' * length}{word}" for length in range(0, 400, 37) for word in words)


class EchoingExchange:
    """Stands before a simulated exchange: hands on what is public, and answers what is signed with all that it knows."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.echoed = 0

    async def __aenter__(self) -> "EchoingExchange":
        self._client = httpx.AsyncClient(base_url=self._exchange.url, trust_env=False)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._client.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await _read_request(reader)
            status, body = await self._answer(request)
            head = (
                f"HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            )
            writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    async def _answer(self, request: Received) -> tuple[int, bytes]:
        if request.values("x-mbx-apikey"):
            self.echoed += 1
            sent = f"{request.target} {request.headers} {request.body!r}"
            return 400, json.dumps({"code": -2_015, "msg": f"no such key: {echo('ccxt')} in {sent}"}).encode()
        answer = await self._client.request(request.method, request.target)
        return answer.status_code, answer.content


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length), 0)


DEBUG: Final = """
import libs.common.telemetry.logs as logs

logs._QUIET = ()
logs.configure_logs.__kwdefaults__["level"] = "debug"
"""
"""Makes every process log all that it and its libraries have to say."""


@dataclass
class Run:
    """A bridge with every kind of credential, and all that was seen of it from outside."""

    bridge: Bridge
    redis: GuardedRedis
    relay: Service
    relay_url: str
    layer: Upstream
    exchange: EchoingExchange
    collector: OtlpSink
    seen: dict[str, str] = field(default_factory=dict)
    """What came out, by where."""
    statuses: set[int] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    """Credentials that were made during the run."""

    @property
    def ingress(self) -> Service:
        return self.bridge.ingresses[0]

    @property
    def processes(self) -> list[Service]:
        return [*self.bridge.services, self.relay]

    def note(self, where: str, what: object) -> None:
        self.seen[f"{where} ({len(self.seen)})"] = what if isinstance(what, str) else repr(what)

    async def post(
        self,
        body: Any,
        path: str = "webhook",
        *,
        url: str | None = None,
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        """Post, and keep the answer."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        target = url or f"{self.ingress.url}/{path}"
        answer, connection = await http_client.send_on(None, target, content, method=method, headers=named)
        if connection is not None:
            connection.close()
        self.statuses.add(answer.status)
        self.note("answer", (answer.status, answer.body, dict(answer.headers)))
        return answer

    async def command(self, *arguments: str, is_shown: bool = True) -> Outcome:
        """Run a command, and keep what it wrote."""
        outcome = await bascule(self.bridge, *arguments)
        if is_shown:
            self.note(f"bascule {' '.join(arguments)}", f"{outcome.stdout}\n{outcome.stderr}")
        return outcome

    def look_at_processes(self) -> None:
        """Keep what every process tells whoever asks, and how it was started."""
        for process in self.processes:
            for path in ("/metrics", "/health", "/ready", "/live"):
                self.note(f"{process.label}{path}", process.ops(path))
            self.note(f"command line of {process.label}", Path(f"/proc/{process.pid}/cmdline").read_bytes())


CREDENTIALS: Final = {
    "WEBHOOK_SECRET": KNOWN["secret of the default webhook"],
    "BTC_SECRET": KNOWN["secret of a webhook of the configuration"],
    "BTC_TOKEN": KNOWN["token of a webhook of the configuration"],
    "OPEN_TOKEN": KNOWN["token of a webhook without a secret"],
    "SIGNING_KEY": KNOWN["key of signatures"],
    "LAYER_SECRET": KNOWN["secret of the http account"],
    "EXCHANGE_KEY": KNOWN["key of the ccxt account"],
    "EXCHANGE_SECRET": KNOWN["secret of the ccxt account"],
    "EXCHANGE_PASSWORD": KNOWN["passphrase of the ccxt account"],
}
TO_THE_INGRESS: Final = tuple(CREDENTIALS.values())
"""What it was given. It keeps digests of the others, or never hears of them."""
OFF: Final = {"symbol": {"rate": "off"}, "account": {"rate": "off"}}


def settings(layer: str, exchange: str) -> dict[str, Any]:
    common = {
        "default_quantity": 1,
        "limits": OFF,
        "request_expiry": "1s",
        "timeout": "1s",
        "look_up_lag": "0s",
    }
    return {
        # Its address comes from the environment.
        "redis": {"url": "redis://127.0.0.1:1/0"},
        "ingress": {"trusted_proxies": ["127.0.0.1"], "deadline": "3s"},
        "signing_keys": {"relay": "SIGNING_KEY"},
        "webhooks": {
            "default": {"accounts": [ACCOUNT], "max_age": "600s", "signing_keys": ["relay"]},
            "btc-only": {
                "token": "BTC_TOKEN",
                "secret": "BTC_SECRET",
                "accounts": [ACCOUNT],
                "max_age": "600s",
            },
            "open": {"token": "OPEN_TOKEN", "auth": ["url"], "accounts": [ACCOUNT, "layer", "exchange"]},
        },
        "accounts": {
            "layer": {"broker": "http", "url": layer, "secret": "LAYER_SECRET", **common},
            "exchange": {
                "broker": "ccxt",
                "exchange": "binance",
                "url": exchange,
                "api_key": "EXCHANGE_KEY",
                "secret": "EXCHANGE_SECRET",
                "password": "EXCHANGE_PASSWORD",
                "symbols": "as-sent",
                **common,
            },
        },
        "breaker": {"failures": 10_000, "rate": 1, "reset": "500ms"},
    }


@pytest.fixture
async def run(
    redis_binary: Binary, bridge_factory: Callable[..., Bridge], tmp_path: Path
) -> AsyncIterator[Run]:
    if importlib.util.find_spec("ccxt") is None:
        missing_tool("ccxt", "the hunt for an exchange's credentials")
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug" / "sitecustomize.py").write_text(DEBUG)
    with GuardedRedis(redis_binary) as redis, Exchange("binance") as simulated, OtlpSink() as collector:
        with redis.client() as client:
            client.config_set("slowlog-log-slower-than", 0)
            client.config_set("slowlog-max-len", 1_000_000)
        async with Upstream() as layer, EchoingExchange(simulated) as exchange:
            bridge = bridge_factory(
                redis.url_with(REDIS_PASSWORD),
                is_started=False,
                server=None,
                config=settings(layer.url, exchange.url),
                environment={
                    **CREDENTIALS,
                    **collector.environment,
                    "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={KNOWN[COLLECTOR_KEY]}",
                    "PYTHONPATH": f"{tmp_path / 'debug'}:{ROOT}",
                },
            )
            bridge.config["redis"]["url"] = "redis://127.0.0.1:1/0"
            bridge.start(60)
            relay_port = free_port()
            upstream = f"{bridge.webhook_urls[0]}?key={KNOWN[RELAY_QUERY]}"
            relay = Service(
                "relay",
                {},
                bridge.directory,
                environment={
                    "RELAY_UPSTREAM": upstream,
                    "RELAY_SIGNING_KEY": KNOWN["key of the relay"],
                    "RELAY_TOKEN": KNOWN["token of the relay"],
                    "RELAY_PORT": str(relay_port),
                    "RELAY_ALLOW": "127.0.0.1",
                    "PYTHONPATH": f"{tmp_path / 'debug'}:{ROOT}",
                },
            )
            try:
                relay.start().wait_ready()
                url = f"http://127.0.0.1:{relay_port}/relay/{KNOWN['token of the relay']}"
                yield Run(bridge, redis, relay, url, layer, exchange, collector)
            finally:
                relay.kill()


# ----------------------------------------------------------------------------------------------------------------------
# What is done in a run
# ----------------------------------------------------------------------------------------------------------------------


def alert(secret: str | None, number: object, **fields: Any) -> dict[str, Any]:
    credential = {} if secret is None else {"secret": secret}
    return {**credential, "id": f"n{number}", "symbol": "S0/USDT", "action": "buy", "price": "100", **fields}


def sign(key: str, body: bytes) -> str:
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


TOKEN: Final = KNOWN["token of a webhook of the configuration"]
BTC_SECRET: Final = KNOWN["secret of a webhook of the configuration"]
SECRET: Final = KNOWN["secret of the default webhook"]


async def make_webhook(run: Run) -> str:
    """Make a webhook, rotate its secret and its URL; return its token."""
    created = await run.command("webhook", "create", "made", "--account", ACCOUNT, "--json", is_shown=False)
    rotated = await run.command("webhook", "rotate", "made", "--json", is_shown=False)
    for which, outcome in (("made", created), ("rotated", rotated)):
        assert outcome.code == 0, outcome
        run.made[f"secret of a webhook {which}"] = outcome.data["secret"]
    own = made_webhook("own", secrets=(hash_secret(KNOWN["secret of a webhook made with its own"], "salt"),))
    await make_webhooks(run.bridge, own)
    run.made["token of a webhook made"] = created.data["token"]
    return str(created.data["token"])


async def post_in_every_dialect(run: Run, made: str) -> None:
    """Post a good alert of every dialect, its credential where the dialect has it, and the URL's where it has none."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    answered: dict[str, int] = {}
    for name, dialect in BY_NAME.items():
        for path, secret in (
            (f"hooks/{TOKEN}", BTC_SECRET),
            (f"hooks/{made}", run.made["secret of a webhook rotated"]),
        ):
            values = {"ticker": f"D{len(answered)}", "timenow": now, "strategy__order__alert_message": "BUY"}
            template = dialect.template.replace("<SECRET>", secret)
            body = rendered(template, **values).encode()
            kind = "application/json" if body.startswith(b"{") else "text/plain"
            answer = await run.post(body, path, Content_Type=kind)
            answered[f"{name} {path[:8]}"] = answer.status
    wild = await run.post(alert(SECRET, "wild", note=f"again: {SECRET}"))
    assert wild.status == 200, wild
    assert sum(status == 200 for status in answered.values()) >= 2 * len(BY_NAME) - 8, answered


async def post_in_every_other_way(run: Run, made: str) -> None:
    """Post credentials in paths, headers and queries, right and wrong, in sound and in broken bodies."""
    signed = json.dumps(alert(None, "signed")).encode()
    key = KNOWN["key of signatures"]
    assert (await run.post(signed, X_Signature=sign(key, signed))).status == 200
    assert (await run.post(alert(None, "relayed"), url=run.relay_url)).status == 401
    assert (await run.post(alert(SECRET, "relayed"), url=run.relay_url)).status == 200
    wrong = WRONG["wrong secret"]
    everywhere = {
        "Authorization": f"Bearer {WRONG['wrong secret in a header']}",
        "Cookie": f"session={WRONG['wrong secret in a header']}",
        "X_Api_Key": SECRET,
        "X_Signature": WRONG["wrong signature"],
        "X_Forwarded_For": "203.0.113.9",
    }
    everything_to = ("webhook", f"hooks/{TOKEN}", f"hooks/{token_of('own')}", f"preview/{TOKEN}")
    some_to = (
        f"webhook?secret={quote(SECRET)}&key={WRONG['wrong secret in the query']}",
        f"hooks/{WRONG['wrong token']}",
        f"hooks/{WRONG['mistyped token']}",
        f"preview/{WRONG['wrong token']}",
        "preview",
        f"hook/{TOKEN}",
        f"{TOKEN}/{quote(SECRET, safe='')}",
        f"hooks/{made}",
        f"hooks/{made}x",
    )
    broken = (
        '{"secret":"%s"',
        '{"secret":"%s","action":"buy',
        "{'secret': '%s'}",
        "secret=%s&symbol=BTCUSDT",
        '{"secret":"%s","id":"z","symbol":"S0/USDT","action":"buy",}',
        "passphrase: %s",
    )
    bodies = [
        *(alert(secret, 1) for secret in (*WRONG.values(), "", None)),
        *(alert(secret, 2, comment=f"with {secret}") for secret in WRONG.values()),
        alert(WRONG["wrong secret to a named webhook"], 3, symbol="{{ticker}}"),
        *({"passphrase": one, "ticker": "BTCUSDT", "action": "buy"} for one in (wrong, SECRET)),
        *(
            alert(SECRET, 4, **{name: SECRET})
            for name in ("symbol", "action", "quantity", "id", "note", "price")
        ),
        *(
            alert(BTC_SECRET, 5, **{name: BTC_SECRET})
            for name in ("symbol", "action", "quantity", "id", "note")
        ),
        *(alert(SECRET, 6, **{name: word}) for name in ("note", "symbol", "id") for word in TO_THE_INGRESS),
        *((shape % word).encode() for shape in broken for word in (SECRET, BTC_SECRET)),
        *((shape % WRONG["wrong secret in a broken body"]).encode() for shape in broken),
        f"{WRONG['mistyped secret of the configuration']},buy,BTCUSDT".encode(),
        b"\xff\xfe" + SECRET.encode(),
        b'{"secret":"' + SECRET.encode() + b'","note":"' + b"x" * 40_000 + b'"}',
        alert(KNOWN["secret of a webhook made with its own"], "own"),
        [SECRET],
    ]
    posts = [(body, path) for path in everything_to for body in bodies]
    posts += [(body, path) for number, path in enumerate(some_to) for body in bodies[number % 5 :: 5]]
    for body, path in posts:
        await run.post(body, path)
    for body in bodies[::3]:
        await run.post(body, f"hooks/{TOKEN}", **everywhere)
        await run.post(body, **everywhere)
    for body in bodies:
        await run.post(body, url=run.relay_url)
    await run.post(alert(SECRET, 7), url=f"{run.relay_url[:-5]}{WRONG['wrong token of the relay']}")
    await run.post(alert(SECRET, 8), f"hooks/{TOKEN}", method="PUT")
    await run.post(alert(SECRET, "same"))
    await run.post(alert(SECRET, "same", note="another body"))
    for secret in (SECRET, BTC_SECRET):
        await run.post(json.dumps(alert(secret, "escaped")).replace("e", "\\u0065").encode())


def has_been_asked(run: Run, asked: int) -> bool:
    return len(run.layer.received) > asked


async def trade_where_everything_is_repeated(run: Run) -> None:
    """Trade at venues whose every answer repeats the account's credentials."""
    document = json.dumps({"code": "refused", "detail": echo("http")}).encode()
    place = f"hooks/{KNOWN['token of a webhook without a secret']}"
    answers = [
        (422, document),
        (400, echo("http").encode()),
        (401, document),
        (429, document),
        (500, echo("http").encode()),
    ]
    answers += [(200, document), (200, echo("http").encode()), (302, document), (409, document)]
    for number, (status, body) in enumerate(answers):
        run.layer.answers(
            status, body, retry_after="1", location=f"http://127.0.0.1/{quote(echo('http')[:200])}"
        )
        asked = len(run.layer.received)
        answer = await run.post(alert(None, f"echo{number}", symbol=f"S{number}/USDT"), place)
        assert answer.status == 200, answer
        await eventually(partial(has_been_asked, run, asked), 20, message="it is asked")
    await eventually(lambda: run.exchange.echoed > 0, 20, message="the exchange repeats it")
    run.layer.answers(404, json.dumps({"code": "unknown", "detail": echo("http")}).encode())

    def are_dead() -> bool:
        accounts = {letter.get("account") for letter in run.bridge.dead_letters()}
        return {"layer"} <= accounts

    await eventually(are_dead, 30, message="refused orders leave dead letters")


COMMANDS: Final = (
    ("status",),
    ("alerts", "--limit", "1000"),
    ("orders", "--limit", "1000"),
    ("positions",),
    ("events", "--limit", "5000"),
    ("halts",),
    ("check",),
    ("check", "--connect"),
    ("doctor",),
    ("webhook", "list"),
    ("webhook", "show", "made"),
    ("webhook", "show", "btc-only"),
    ("symbols", "list"),
    ("dead-letters", "list"),
    ("tail", "--since", "1h", "--count", "200"),
    ("symbols", "suggest", "S0/USDT", "--account", "exchange"),
    ("send", "--symbol", "S0/USDT"),
    ("send", "--symbol", "S0/USDT", "--sign", "relay"),
    ("send", "--action", "hold"),
)


EVERY: Final = """
import json, sys
from cli.main import main

for arguments in json.loads(sys.argv[1]):
    for options in ([], ["--json"]):
        print("$", *arguments, *options, flush=True)
        print("exit code", main([*arguments, *options]), flush=True)
"""
"""Runs many commands in one process, which starts no faster for each."""


async def run_commands(run: Run, commands: Iterable[Sequence[str]]) -> None:
    """Run commands for people and for programs, and keep what they write."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        EVERY,
        json.dumps([list(each) for each in commands]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=run.bridge.directory,
        env={
            **os.environ,
            **run.bridge.environment,
            "PYTHONPATH": str(ROOT),
            "BASCULE_CONFIG": str(run.ingress.config_path),
        },
    )
    written, _ = await process.communicate()
    assert process.returncode == 0, written.decode()
    for part in written.decode().split("\n$ "):
        run.note(f"bascule {part.partition(chr(10))[0]}", part)


async def run_every_command(run: Run) -> None:
    """Ask everything that can be asked."""
    body = run.bridge.directory / "body.json"
    body.write_text(json.dumps(alert(SECRET, "preview", note=f"with {BTC_SECRET}")))
    await run_commands(run, [*COMMANDS, ("preview", str(body)), ("send", "--body", str(body))])
    body.unlink()
    single: list[tuple[str, ...]] = []
    for kind, listing, show, key in (
        ("alerts", (), (), "alert_id"),
        ("events", (), (), "event_id"),
        ("dead-letters", ("list",), ("show",), "dead_letter_id"),
    ):
        rows = (await run.command(kind, *listing, "--limit", "200", "--json")).data
        assert rows, kind
        single += [(kind, *show, row[key]) for row in rows[:: max(1, len(rows) // 12)]]
    await run_commands(run, single)


USELESS: Final = ("halts", "breakers")
"""Keys that workers need, and posts do not."""


async def break_redis(run: Run) -> None:
    """Let Redis change its password, be of no use, and be away, while posts and commands come."""
    run.bridge.client.close()
    with run.redis.client() as client:
        client.config_set("requirepass", WRONG["wrong password of Redis"])
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    asked = (
        ("status",),
        ("alerts", "--json"),
        ("check",),
        ("doctor", "--json"),
        ("webhook", "list"),
        ("tail",),
    )
    await use_without_redis(run, asked)
    with run.redis.client(password=WRONG["wrong password of Redis"]) as client:
        client.config_set("requirepass", REDIS_PASSWORD)

    async def is_taken() -> bool:
        return (await run.post(alert(SECRET, f"back{len(run.seen)}"))).status == 200

    await eventually(is_taken, 30, message="alerts are taken again")
    with run.redis.client() as client:
        for key in USELESS:
            if client.exists(f"{PREFIX}{key}"):
                client.rename(f"{PREFIX}{key}", f"kept:{key}")
            client.set(f"{PREFIX}{key}", f"of no use: {key}")
    await run.command("status")
    assert (await run.post(alert(SECRET, "useless"))).status == 200
    await eventually(lambda: any("exception" in event for event in logged(run)), 20, message="a traceback")
    with run.redis.client() as client:
        for key in USELESS:
            client.delete(f"{PREFIX}{key}")
            if client.exists(f"kept:{key}"):
                client.rename(f"kept:{key}", f"{PREFIX}{key}")
    run.redis.kill()
    await use_without_redis(run, asked)
    run.redis.start()
    for service in run.bridge.services:
        await eventually(service.is_ready, 30, message=f"{service} is ready again")


async def refuse_spans(run: Run) -> None:
    """Have a collector refuse its key, and services say so."""
    run.collector.status = 401
    await run.post(alert(SECRET, "unseen"))
    await eventually(
        lambda: any(event.get("event") == "spans_not_exported" for event in logged(run)),
        20,
        message="it is said",
    )
    run.collector.status = 200


async def use_without_redis(run: Run, asked: tuple[tuple[str, ...], ...]) -> None:
    number = len(run.seen)
    assert (await run.post(alert(SECRET, f"away{number}"))).status == 503
    assert (await run.post(alert(WRONG["wrong secret"], f"away{number}"))).status in {401, 503}
    await run.post(alert(SECRET, f"away{number}"), "preview")
    for arguments in asked:
        assert (await run.command(*arguments)).code != 0
    run.look_at_processes()


def logged(run: Run) -> list[dict[str, Any]]:
    return [event for process in run.processes for event in process.log()]


def stored(run: Run) -> Iterator[tuple[str, str]]:
    """Yield every key and value, the commands that came, and the files of Redis."""
    with run.redis.client(decode_responses=False, socket_timeout=30.0) as client:
        for key in client.scan_iter(count=1_000):
            match client.type(key):
                case b"hash":
                    value: Any = client.hgetall(key)
                case b"stream":
                    value = [client.xrange(key), client.xinfo_groups(key)]
                case b"zset":
                    value = client.zrange(key, 0, -1, withscores=True)
                case b"string":
                    value = client.get(key)
                case b"none":
                    continue  # it has just expired; the file of Redis still shows it
                case kind:
                    raise AssertionError(f"{key} is a {kind}")
            yield f"key {key.decode()}", f"{key!r} {value!r}"
        commands = client.slowlog_get(1_000_000)
        yield (
            "commands that came",
            "\n".join(repr(one) for one in commands if b"requirepass" not in one["command"]),
        )


def files_of(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(directory)), path.read_bytes()


# ----------------------------------------------------------------------------------------------------------------------
# What must hold
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_no_credential_right_or_wrong_shows_anywhere_in_a_full_run(run: Run):
    created = await run.command("webhook", "list")
    assert created.code == 0, created
    made = await make_webhook(run)
    await post_in_every_dialect(run, made)
    await post_in_every_other_way(run, made)
    await trade_where_everything_is_repeated(run)
    await run_every_command(run)
    run.look_at_processes()
    await break_redis(run)
    await run.post(alert(SECRET, "again"))
    await refuse_spans(run)
    run.look_at_processes()

    for service in run.processes:
        service.terminate()
    seen: dict[str, str | bytes] = {**run.seen, **dict(stored(run))}
    seen |= dict(files_of(run.bridge.directory)) | dict(files_of(run.redis.directory))
    seen |= {f"spans {number}": body for number, body in enumerate(run.collector.bodies)}

    # What was not tried was not shown.
    assert run.statuses >= {200, 400, 401, 404, 405, 409, 413, 422, 503}
    events = logged(run)
    assert {event.get("level") for event in events} >= {"debug", "info", "warning", "error"}
    assert any("exception" in event for event in events)
    assert sum("***" in str(text) for where, text in seen.items() if where.startswith("key ")) >= 10
    assert run.exchange.echoed
    assert {span.kind for span in run.collector.spans()} >= {"SERVER", "CONSUMER", "CLIENT"}
    assert any(span.attributes.get("bascule.outcome") == "refused" for span in run.collector.spans())
    assert any(span.has_failed for span in run.collector.spans())

    hunt = Hunt({**KNOWN, **WRONG, **run.made})
    shown = {where: sorted(names) for where, text in seen.items() if (names := hunt.find(text))}
    examples = {where: excerpt(hunt, seen[where]) for where in list(shown)[:12]}
    assert not shown, json.dumps({"shown": shown, "examples": examples}, indent=1)[:20_000]


def excerpt(hunt: Hunt, text: str | bytes) -> str:
    """Return where a text shows a secret, for whoever mends it."""
    plain = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    for one in peeled(plain):
        if found := hunt._pattern.search(one):
            return one[max(0, found.start() - 300) : found.end() + 80]
    return ""


@pytest.mark.timeout(120)
async def test_the_launcher_writes_no_credential_down(redis_binary: Binary, tmp_path: Path):
    port, ops, reaper, worker, _ = free_ports(5)  # the last one is worker 1's
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.yaml").write_text(
        f"ingress: {{port: {port}, ops_port: {ops}}}\nworker: {{ops_port: {worker}}}\nreaper: {{ops_port: {reaper}}}\n"
        "signing_keys: {relay: SIGNING_KEY}\n"
        "webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper], signing_keys: [relay]}}\n"
        "accounts: {paper: {broker: paper, default_quantity: 1, default_price: 100}}\n"
    )
    output = tmp_path / "output"
    with GuardedRedis(redis_binary) as redis:
        environment = {
            **os.environ,
            **CREDENTIALS,
            "REDIS_URL": redis.url_with(REDIS_PASSWORD),
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("BASCULE_CONFIG", None)

        def command(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
            told = [sys.executable, "-m", "cli", *arguments]
            return subprocess.run(told, capture_output=True, env=environment, cwd=tmp_path, timeout=60)

        def launch() -> "subprocess.Popen[bytes]":
            with output.open("ab") as out:
                return spawn(
                    [sys.executable, "-m", "cli", "up", "--workers", "1"],
                    stdout=out,
                    stderr=out,
                    environment=environment,
                    directory=tmp_path,
                )

        launcher = launch()
        hunt, seen = Hunt({**KNOWN, **WRONG}), dict[str, str | bytes]()
        try:
            await eventually(
                lambda: "Ctrl-C stops everything" in output.read_text(), 60, message=output.read_text()
            )
            assert (
                await http_client.post(f"http://127.0.0.1:{port}/webhook", alert(SECRET, 1))
            ).status == 200
            for arguments in (("status",), ("alerts", "--json"), ("doctor",), ("send",)):
                done = command(*arguments)
                seen[" ".join(arguments)] = done.stdout + done.stderr
            seen["another launcher"] = command("up").stderr
            for child in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    words = child.read_bytes()
                    if str(tmp_path).encode() in words or b"services." in words:
                        seen[str(child)] = words
            seen |= {f"while it runs: {name}": text for name, text in files_of(tmp_path)}
        finally:
            launcher.terminate()
            launcher.wait(30)
        environment["REDIS_URL"] = redis.url_with(WRONG["wrong password of Redis"])
        refused = command("up")
        assert refused.returncode == 1
        seen["with a wrong password"] = refused.stdout + refused.stderr
        seen |= dict(files_of(tmp_path)) | dict(files_of(redis.directory))
    assert urlsplit(environment["REDIS_URL"]).password
    shown = {
        where: (sorted(names), excerpt(hunt, seen[where]))
        for where, text in seen.items()
        if (names := hunt.find(text))
    }
    assert not shown, json.dumps(shown, indent=1)
