"""Every credential that the product knows, and wrong ones that come close, hunted through all that a full run leaves.

What is written on purpose is left out: the secret and the URL that `webhook create` and `rotate` show once.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

import pytest

from libs.common.policy.authentication import hash_secret
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.e2e.commands import Outcome, bascule
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.children import spawn
from tests.support.credentials import (
    BTC_SECRET,
    CREDENTIALS,
    KNOWN,
    REDIS_PASSWORD,
    SECRET,
    TO_THE_INGRESS,
    TOKEN,
    WRONG,
    echo,
)
from tests.support.dialect_bodies import rendered
from tests.support.eventually import eventually
from tests.support.ports import free_ports
from tests.support.redis_server import Binary
from tests.support.secret_hunt import PART, Hunt, files_of
from tests.support.tree import ROOT
from tests.support.watched_run import PREFIX, GuardedRedis, Run, logged, stored, watched
from tests.support.webhooks import made_webhook, make_webhooks, token_of


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


@pytest.fixture
async def run(
    redis_binary: Binary, bridge_factory: Callable[..., Bridge], tmp_path: Path
) -> AsyncIterator[Run]:
    async with watched(redis_binary, bridge_factory, tmp_path) as one:
        yield one


async def ask(run: Run, *arguments: str, is_shown: bool = True) -> Outcome:
    """Run a command, and keep what it wrote."""
    outcome = await bascule(run.bridge, *arguments)
    if is_shown:
        run.note(f"bascule {' '.join(arguments)}", f"{outcome.stdout}\n{outcome.stderr}")
    return outcome


def alert(secret: str | None, number: object, **fields: Any) -> dict[str, Any]:
    credential = {} if secret is None else {"secret": secret}
    return {**credential, "id": f"n{number}", "symbol": "S0/USDT", "action": "buy", "price": "100", **fields}


def sign(key: str, body: bytes) -> str:
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


async def make_webhook(run: Run) -> str:
    """Make a webhook, rotate its secret and its URL; return its token."""
    created = await ask(run, "webhook", "create", "made", "--account", ACCOUNT, "--json", is_shown=False)
    rotated = await ask(run, "webhook", "rotate", "made", "--json", is_shown=False)
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
    ("report",),
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
        rows = (await ask(run, kind, *listing, "--limit", "200", "--json")).data
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
    await ask(run, "status")
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
        assert (await ask(run, *arguments)).code != 0
    run.look_at_processes()


@pytest.mark.timeout(300)
async def test_no_credential_right_or_wrong_shows_anywhere_in_a_full_run(run: Run):
    created = await ask(run, "webhook", "list")
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
    examples = {where: hunt.excerpt(seen[where]) for where in list(shown)[:12]}
    assert not shown, json.dumps({"shown": shown, "examples": examples}, indent=1)[:20_000]


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
        where: (sorted(names), hunt.excerpt(seen[where]))
        for where, text in seen.items()
        if (names := hunt.find(text))
    }
    assert not shown, json.dumps(shown, indent=1)
