"""`bascule alarms`, and what `check` and `tail` say of them."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from libs.common.policy.alarms import AlarmKind, Change
from libs.common.store.alarms import Alarms
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore


async def raised(store: FilledStore) -> None:
    alarms = Alarms(store.client, store.keys)
    await alarms.note(AlarmKind.SILENCE, "trend", Change.RAISED, "not heard for 6 h")
    await alarms.note(AlarmKind.REFUSALS, "", Change.RAISED, "30 posts refused")
    await alarms.note(AlarmKind.REFUSALS, "", Change.CLEARED, "0 posts refused")


def test_what_is_raised_is_listed(bascule: CommandLine) -> None:
    bascule.fill(raised)

    (alarm,) = bascule("alarms", "--json").json

    assert alarm.pop("raised_at_ms") > 0
    assert alarm == {"kind": "silence", "subject": "trend", "detail": "not heard for 6 h", "shard": 0}
    assert "not heard for 6 h" in bascule("alarms").out


def test_the_history_has_what_was_cleared_too_newest_first(bascule: CommandLine) -> None:
    bascule.fill(raised)

    found = bascule("alarms", "--history", "--json").json

    assert [(one["state"], one["kind"]) for one in found] == [
        ("cleared", "refusals"),
        ("raised", "refusals"),
        ("raised", "silence"),
    ]
    assert len(bascule("alarms", "--history", "--limit", "1", "--json").json) == 1


def test_tail_shows_what_the_watchdog_raised(bascule: CommandLine) -> None:
    bascule.fill(raised)

    outcome = bascule("tail", "--since", "1h", "--count", "3")

    assert "ALARM" in outcome.out
    assert "raised, silence:trend: not heard for 6 h" in outcome.out


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alarms: object) -> None:
    path = tmp_path / "alarms.yaml"
    path.write_text(
        json.dumps(
            {
                "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": ["paper"]}},
                "accounts": {"paper": {"broker": "paper"}},
                "alarms": alarms,
            }
        )
    )
    monkeypatch.setenv("BASCULE_CONFIG", str(path))


class Receiver(BaseHTTPRequestHandler):
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200 if self.path == "/good" else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Receiver, "bodies", [], raising=False)
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_test_message_goes_to_everybody_who_is_told(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: str
) -> None:
    script = f"import sys; open({str(tmp_path / 'note')!r}, 'w').write(sys.stdin.read())"
    configured(tmp_path, monkeypatch, {"url": "ALARMS_URL", "command": [sys.executable, "-c", script]})
    monkeypatch.setenv("ALARMS_URL", f"{receiver}/good")

    outcome = bascule("alarms", "test", "--json")

    assert (outcome.code, outcome.json["ok"]) == (0, True)
    posted, given = json.loads(Receiver.bodies[0]), json.loads((tmp_path / "note").read_text())
    assert posted == given
    assert posted["type"] == "test"


def test_who_does_not_take_it_is_named_without_what_is_secret(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: str
) -> None:
    configured(tmp_path, monkeypatch, {"url": f"{receiver}/very-secret"})

    outcome = bascule("alarms", "test")

    assert outcome.code == 1
    assert "answered 500" in outcome.out
    assert "very-secret" not in outcome.out + outcome.err


def test_without_anybody_to_tell_a_test_fails(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch, {})

    outcome = bascule("alarms", "test")

    assert outcome.code == 1
    assert "neither url nor command" in outcome.err


def test_check_says_who_is_told_and_which_program_is_not_there(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(
        tmp_path, monkeypatch, {"url": "https://chat.example/very-secret", "command": ["no-such-program"]}
    )

    findings = {one["subject"]: one for one in bascule("check", "--json").json["findings"]}

    assert findings["alarms url"]["detail"] == "alarms and dead letters are to be posted to chat.example"
    assert findings["alarms command"]["verdict"] == "wrong"
    assert "very-secret" not in json.dumps(findings)
