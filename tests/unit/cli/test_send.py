import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.main import main
from cli.send_post import FAILURES_IN_A_ROW
from cli.webhook_secret import kept_secret

CONFIG = """
ingress: {{port: {port}, public_url: "https://hooks.example.com"}}
webhooks: {{default: {{secret: {secret}, accounts: [paper]}}}}
accounts: {{paper: {{broker: paper}}}}
"""


class Ingress(http.server.BaseHTTPRequestHandler):
    """Takes everything, and keeps it."""

    bodies: list[dict[str, str]] = []  # noqa: RUF012 - emptied by the fixture

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ok":true,"alert_id":"one","duplicate":false}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def ingress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")
    monkeypatch.setenv("BASCULE_CONFIG", str(tmp_path / "my.yaml"))
    for name in ("WEBHOOK_SECRET", "WEBHOOK_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "var").mkdir()
    Ingress.bodies.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), Ingress) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_post_carries_the_kept_secret_and_says_where_tradingview_posts(
    ingress: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG.format(port=ingress, secret="WEBHOOK_SECRET"))
    secret = kept_secret(tmp_path / "var")

    assert main(["send", "--symbol", "ETHUSDT"]) == 0

    assert [(body["secret"], body["symbol"]) for body in Ingress.bodies] == [(secret, "ETHUSDT")]
    said = capsys.readouterr()
    assert said.out == "200 alert one\n"
    assert f"posted to http://127.0.0.1:{ingress}/webhook" in said.err
    assert "TradingView posts to https://hooks.example.com/webhook" in said.err


def test_the_kept_secret_stands_in_for_no_other(
    ingress: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG.format(port=ingress, secret="OTHER_SECRET"))
    kept_secret(tmp_path / "var")

    assert main(["send"]) == 1

    assert Ingress.bodies == []
    assert "set OTHER_SECRET" in capsys.readouterr().err


def hang_up(handler: Ingress) -> None:
    """End the connection instead of answering."""
    handler.close_connection = True


def test_answers_are_shown_as_they_come_and_a_lost_one_is_told_in_words(
    ingress: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG.format(port=ingress, secret="WEBHOOK_SECRET"))
    kept_secret(tmp_path / "var")
    steps = iter([Ingress.do_POST, hang_up, Ingress.do_POST])

    def second_is_lost(handler: Ingress) -> None:
        next(steps)(handler)

    monkeypatch.setattr(Ingress, "do_POST", second_is_lost)

    assert main(["send", "--count", "3"]) == 1

    said = capsys.readouterr()
    assert said.out == "200 alert one\n200 alert one\n"
    assert "the connection ended before one came" in said.err
    assert "the alert may have come in: id send-" in said.err
    assert "3 posted: 2 accepted, 0 of them duplicates; 1 without an answer" in said.err


def test_after_several_lost_answers_the_rest_is_not_posted(
    ingress: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG.format(port=ingress, secret="WEBHOOK_SECRET"))
    kept_secret(tmp_path / "var")
    monkeypatch.setattr(Ingress, "do_POST", hang_up)

    assert main(["send", "--count", "10", "--json"]) == 1

    answers = json.loads(capsys.readouterr().out)
    assert [answer["status"] for answer in answers] == [None] * FAILURES_IN_A_ROW
    assert {answer["error"]["code"] for answer in answers} == {"no_answer"}


def test_where_nobody_listens_one_post_tells_it(
    ingress: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(CONFIG.format(port=ingress, secret="WEBHOOK_SECRET"))
    kept_secret(tmp_path / "var")

    assert main(["send", "--count", "5", "--url", "http://127.0.0.1:9"]) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("cannot connect") == 1
    assert "stopped there, 4 were not posted" in said.err
