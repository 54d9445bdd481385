"""`bascule send` and a real ingress: every dialect, every credential, bodies of any kind."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.wire.dialects.catalogue import DIALECTS
from tests.integration.cli.conftest import CommandLine
from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET

TOKEN = "aTokenOfItsOwn4711"
SIGNED_TOKEN = "anotherTokenOfItsOwn4711"
RELAY_KEY = "the-key-of-the-relay"


@pytest.fixture
def ingress(bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    """Serve one ingress, and nobody who works on what it takes."""
    bridge = Bridge(
        tmp_path / "bridge",
        bascule.redis,
        workers=0,
        reapers=0,
        config={
            "signing_keys": {"relay": "RELAY_KEY"},
            "webhooks": {
                "open": {"token": "OPEN_TOKEN", "auth": ["url"], "accounts": ["desk"]},
                "signed": {
                    "token": "SIGNED_TOKEN",
                    "auth": ["signature"],
                    "signing_keys": ["relay"],
                    "accounts": ["desk"],
                },
            },
        },
        environment={"OPEN_TOKEN": TOKEN, "SIGNED_TOKEN": SIGNED_TOKEN, "RELAY_KEY": RELAY_KEY},
    ).start()
    monkeypatch.setenv("BASCULE_CONFIG", str(bridge.ingresses[0].config_path))
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    yield bridge
    bridge.close()


def type_in(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Let this be on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))


def test_every_dialect_comes_in_at_the_default_webhook(bascule: CommandLine, ingress: Bridge) -> None:
    for dialect in DIALECTS:
        for action in ("buy", "sell"):
            answer = bascule("send", "--dialect", dialect.name, "--action", action, "--json")
            assert answer.code == 0, (dialect.name, action, answer)
            shown = bascule("alerts", answer.json["alert_id"], "--json").json
            assert (shown["dialect"], shown["symbol"]) == (dialect.name, "BTCUSDT")
            assert SECRET not in shown["raw"]


def test_every_dialect_comes_in_at_a_webhook_with_a_token(
    bascule: CommandLine, ingress: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dialect in DIALECTS:
        answer = bascule("send", "--dialect", dialect.name, "--hook", TOKEN)
        assert answer.code == 0, (dialect.name, answer)
        assert TOKEN not in answer.out + answer.err
    url = f"{ingress.ingresses[0].url}/hooks/{TOKEN}"
    monkeypatch.delenv("REDIS_URL")
    assert bascule("send", "--dialect", "whook", "--symbol", "ETHUSDT", "--hook", url).code == 0


@pytest.mark.parametrize("dialect", ["lesson5", "bascule", "pineconnector"])
def test_a_signature_stands_in_for_the_secret(
    bascule: CommandLine, ingress: Bridge, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    arguments = ("send", "--dialect", dialect, "--hook", SIGNED_TOKEN)
    assert "bad_signature" in bascule(*arguments).out
    assert "set RELAY_KEY" in bascule(*arguments, "--sign", "relay").err

    monkeypatch.setenv("RELAY_KEY", RELAY_KEY)

    assert bascule(*arguments, "--sign", "relay").code == 0
    # The default webhook names no keys: its secret is the key.
    assert bascule("send", "--dialect", dialect, "--sign-env", "WEBHOOK_SECRET").code == 0
    assert "no signing key nope: signing_keys has relay" in bascule(*arguments, "--sign", "nope").err


def test_a_plain_sample_can_be_signed_too(bascule: CommandLine, ingress: Bridge) -> None:
    assert bascule("send", "--sign-env", "WEBHOOK_SECRET").code == 0


def test_the_secret_may_come_from_stdin(
    bascule: CommandLine, ingress: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET")

    type_in(monkeypatch, b"not the secret\n")
    assert "unauthorized" in bascule("send", "--dialect", "nova", "--secret-stdin").out
    type_in(monkeypatch, f"{SECRET}\n".encode())
    assert bascule("send", "--dialect", "nova", "--secret-stdin").code == 0
    type_in(monkeypatch, b"\n")
    assert bascule("send", "--secret-stdin").code == 1


@pytest.mark.parametrize("options", [(), ("--text-plain",), ("--form",)])
def test_a_file_is_posted_as_it_is(
    bascule: CommandLine, ingress: Bridge, tmp_path: Path, options: tuple[str, ...]
) -> None:
    raw = f'{{"secret":"{SECRET}",  "id":"mine", "symbol":"A B","action":"buy","price":1.10}}'
    (tmp_path / "alert.json").write_text(raw)

    answer = bascule("send", "--body", str(tmp_path / "alert.json"), "--json", *options)

    assert answer.code == 0
    shown = bascule("alerts", answer.json["alert_id"], "--json").json
    assert (shown["sender_id"], shown["symbol"], shown["price"]) == ("mine", "A B", "1.10")


def test_what_stdin_holds_is_posted_and_refused_as_it_is(
    bascule: CommandLine, ingress: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, b'{"secret": "' + SECRET.encode() + b'", "id": "\xff"}')

    answer = bascule("send", "--body", "-", "--json")

    assert (answer.code, answer.json["error"]["code"]) == (1, "not_utf8")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--dialect", "nope"),
        ("--text-plain", "--form"),
        ("--sign", "a", "--sign-env", "B"),
        ("--hook", "https://h/hooks/T", "--url", "http://127.0.0.1:9"),
        ("--hook", "T", "--url", "http://127.0.0.1:9/webhook"),
        ("--hook", "ftp://h/hooks/T"),
        ("--body", "alert.json", "--dialect", "nova"),
        ("--body", "alert.json", "--symbol", "BTCUSDT"),
    ],
)
def test_what_contradicts_itself_is_usage(
    bascule: CommandLine, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "alert.json").write_text("{}")

    assert bascule("send", *arguments).code == 2


def test_several_samples_of_a_dialect_are_alerts_of_their_own(
    bascule: CommandLine, ingress: Bridge, tmp_path: Path
) -> None:
    answers = bascule("send", "--dialect", "tv_hub", "--count", "3", "--json").json

    assert len({answer["alert_id"] for answer in answers}) == 3
    assert not any(answer["duplicate"] for answer in answers)


def test_events_and_alerts_show_what_was_sent(bascule: CommandLine, ingress: Bridge) -> None:
    sent = bascule("send", "--dialect", "bascule", "--json").json
    bascule("send", "--dialect", "bascule", "--action", "by")

    refused, admitted = bascule("events", "--json").json
    assert (admitted["event_id"], admitted["webhook"]) == (sent["alert_id"], "default")
    assert json.loads(admitted["raw"])["secret"] == "***"
    assert (refused["outcome"], refused["field"]) == ("refused", "action")
    shown = bascule("alerts", sent["alert_id"], "--json").json
    assert (shown["unit"], shown["order_type"], shown["position"]) == ("units", "market", "long")
    assert (shown["exchange"], shown["interval"], shown["limit_price"]) == ("BINANCE", "15", None)
    assert shown["bar_at_ms"] % 900_000 == 0
    absent = ("stop_price", "take_profit", "stop_loss", "max_age_ms")
    assert [shown[name] for name in absent] == [None] * len(absent)
