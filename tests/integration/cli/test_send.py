"""`bascule send --wait` beside a store in which nobody works."""

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

Serve = Callable[[list[str]], str]


@pytest.fixture
def serve(bascule: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve an ingress that answers with these alert ids, one after the other; return its address."""
    monkeypatch.setenv("WEBHOOK_SECRET", "x")
    servers: list[http.server.HTTPServer] = []

    def start(alert_ids: list[str]) -> str:
        names = iter(alert_ids)

        class Ingress(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f'{{"ok":true,"alert_id":"{next(names)}","duplicate":false}}'.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = http.server.HTTPServer(("127.0.0.1", 0), Ingress)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def one_of_two_executed(store: FilledStore) -> list[str]:
    first = await store.admit("AAA")
    await store.execute()
    return [first, await store.admit("BBB")]


def test_a_wait_that_is_over_says_so_with_the_state_so_far(bascule: CommandLine, serve: Serve) -> None:
    ids = bascule.fill(one_of_two_executed)

    outcome = bascule("send", "--wait", "--timeout", "100ms", "--url", serve(ids[1:]))

    assert outcome.code == 1
    assert "QUEUED" in outcome.out
    expected = "bascule: the wait of 100 ms ended before the alert has ended; so far: QUEUED (admitted)\n"
    assert outcome.err == expected


def test_of_several_each_state_is_shown_and_those_that_have_not_ended_are_counted(
    bascule: CommandLine, serve: Serve
) -> None:
    ids = bascule.fill(one_of_two_executed)

    outcome = bascule("send", "--wait", "--timeout", "100ms", "--count", "2", "--url", serve(ids))

    assert outcome.code == 1
    assert outcome.out.splitlines()[2:] == [
        f"alert {ids[0]} EXECUTED (filled)",
        f"alert {ids[1]} QUEUED (admitted)",
    ]
    assert "ended before 1 of 2 alerts have ended; so far: QUEUED (admitted)" in outcome.err


def test_the_answers_stay_where_redis_is_away_in_the_wait(
    bascule: CommandLine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

    outcome = bascule("send", "--wait", "--timeout", "100ms", "--json", "--url", serve(["one"]))

    assert outcome.code == 1
    assert (outcome.json["alert_id"], outcome.json["alert"]) == ("one", None)
    assert "the wait ended: no answer from Redis" in outcome.err
