"""A bridge with every kind of credential, and all that is seen of it from outside."""

import contextlib
import importlib.util
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.credentials import COLLECTOR_KEY, CREDENTIALS, KNOWN, REDIS_PASSWORD, RELAY_QUERY
from tests.support.echoing_exchange import EchoingExchange
from tests.support.exchange_server import Exchange
from tests.support.http_client import Answer
from tests.support.otlp_sink import OtlpSink
from tests.support.ports import free_port
from tests.support.redis_server import Binary, RedisServer
from tests.support.service import Service
from tests.support.tools import missing_tool
from tests.support.tree import ROOT
from tests.support.upstream import Upstream

PREFIX: Final = "bascule:{s0}:"
DEBUG: Final = """
import libs.common.telemetry.logs as logs

logs._QUIET = ()
logs.configure_logs.__kwdefaults__["level"] = "debug"
"""
"""Makes every process log all that it and its libraries have to say."""
OFF: Final = {"symbol": {"rate": "off"}, "account": {"rate": "off"}}


class GuardedRedis(RedisServer):
    """A server that asks for a password."""

    def __init__(self, binary: Binary) -> None:
        super().__init__(binary, tcp=True, options={"requirepass": REDIS_PASSWORD})

    def client(self, **options: Any) -> Any:
        return super().client(**{"password": REDIS_PASSWORD, **options})

    def url_with(self, password: str) -> str:
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/0"


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

    def look_at_processes(self) -> None:
        """Keep what every process tells whoever asks, and how it was started."""
        for process in self.processes:
            for path in ("/metrics", "/health", "/ready", "/live"):
                self.note(f"{process.label}{path}", process.ops(path))
            self.note(f"command line of {process.label}", Path(f"/proc/{process.pid}/cmdline").read_bytes())


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


@contextlib.asynccontextmanager
async def watched(
    redis_binary: Binary, bridge_factory: Callable[..., Bridge], tmp_path: Path
) -> AsyncIterator[Run]:
    """Start a bridge with every kind of credential, and stop it at the end."""
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
