"""The audit of the locks, against a source of advisories that speaks OSV's wire and a real or a scripted pip-audit."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.ports import free_port
from tests.support.tools import missing_tool
from tools import audit
from tools.audit import Accepted, Advisory, AuditBroken, Pin, judge, read_accepted, read_locks

HASH = f"--hash=sha256:{'a' * 64}"
TODAY = date(2026, 11, 3)
STAR = Pin("starlette", "1.0.0")


def vulnerability(pin: Pin, name: str, *aliases: str, fixed: str | None = "1.0.1") -> dict[str, Any]:
    """Return a vulnerability as OSV writes it."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    return {
        "id": name,
        "schema_version": "1.7.3",
        "summary": "It is bad.",
        "aliases": list(aliases),
        "modified": "2026-01-02T03:04:05Z",
        "published": "2026-01-02T03:04:05Z",
        "affected": [
            {
                "package": {
                    "name": pin.name,
                    "ecosystem": "PyPI",
                    "purl": f"pkg:pypi/{pin.name}",
                },
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
                "versions": [pin.version],
            }
        ],
    }


def of_canary() -> dict[Pin, list[dict[str, Any]]]:
    return {
        audit.CANARY: [vulnerability(audit.CANARY, "GHSA-8r7q-cvjq-x353", "CVE-2014-1402", fixed="2.7.2")]
    }


@dataclass
class Source:
    """A source of advisories on loopback."""

    known: dict[Pin, list[dict[str, Any]]] = field(default_factory=of_canary)
    asked: list[Pin] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    """In place of a true answer."""
    gate: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, query: Any) -> bytes:
        assert query["package"]["ecosystem"] == "PyPI"
        pin = Pin(query["package"]["name"], query["version"])
        self.asked.append(pin)
        found = self.known.get(pin)
        return json.dumps({"vulns": found} if found else {}).encode()


@pytest.fixture
def source() -> Iterator[Source]:
    told = Source()
    told.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer = told.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told.gate.wait(10)
            answer = answer if told.body is None else told.body
            self.send_response(told.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    running.start()
    told.url = f"http://127.0.0.1:{server.server_port}/v1/query"
    yield told
    told.gate.set()
    server.shutdown()
    server.server_close()
    running.join()


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """Two locks, one package among them in two versions, one for another platform alone."""
    directory = tmp_path / "locks"
    directory.mkdir()
    (directory / "run.txt").write_text(
        f"# made by a tool\nstarlette==1.0.0 \\\n    {HASH} \\\n    {HASH}\nidna==3.18 {HASH}\n"
        f"Win_Loop==0.6 ; sys_platform == 'win32' and python_full_version < '3.15' \\\n    {HASH}\n"
    )
    (directory / "dev.txt").write_text(f"idna==3.20 {HASH}\nstarlette==1.0.0 {HASH}\n")
    return directory


PINS = {STAR, Pin("idna", "3.18"), Pin("idna", "3.20"), Pin("win-loop", "0.6")}


@pytest.fixture
def run(
    locks: Path, tmp_path: Path, source: Source, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Run the tool; return its exit status and its lines."""

    def run_with(tool: Path, accepted: str = "", url: str | None = None) -> tuple[int, list[str]]:
        path = tmp_path / "accepted.toml"
        path.write_text(accepted)
        told = ["--source", url or source.url, "--locks", str(locks), "--accepted", str(path)]
        status = audit.main([*told, "--tool", str(tool)])
        return status, capsys.readouterr().err.splitlines()

    return run_with


@pytest.fixture
def pip_audit() -> Path:
    if not audit.PIP_AUDIT.exists():
        missing_tool("pip-audit (make .venv/.stamp-audit)", "the audit with a real pip-audit")
    return audit.PIP_AUDIT


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[[str], Path]:
    """Make a pip-audit that runs these lines; `pins`, `audited` and `write` are at hand."""

    def scripted_with(lines: str) -> Path:
        path = tmp_path / "pip-audit"
        path.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            "pathlib.Path(__file__).with_name('ran').touch()\n"
            "given = dict(zip(sys.argv, sys.argv[1:]))\n"
            "text = pathlib.Path(given['--requirement']).read_text()\n"
            "pins = [line.split()[0].split('==') for line in text.splitlines()]\n"
            "bad = [{'id': 'PYSEC-1', 'fix_versions': ['2.7.2'], 'aliases': []}]\n"
            "audited = [{'name': n, 'version': v, 'vulns': bad if n == 'jinja2' else []} for n, v in pins]\n"
            "def write(document):\n"
            "    pathlib.Path(given['--output']).write_text(json.dumps({'dependencies': document, 'fixes': []}))\n"
            f"{lines}\n"
        )
        path.chmod(0o755)
        return path

    return scripted_with


def has_run(tmp_path: Path) -> bool:
    return (tmp_path / "ran").exists()


def acceptance(until: date, name: str = "CVE-2026-1", package: str = "Starlette") -> str:
    return (
        f'[[accepted]]\nid = "{name}"\npackage = "{package}"\nreason = "nobody gets there"\nuntil = {until}\n'
    )


# ----------------------------------------------------------------------------------------------------------------------
# With a real pip-audit
# ----------------------------------------------------------------------------------------------------------------------


def test_every_pin_is_looked_up_for_every_platform_and_nothing_found_is_no_failure(run, pip_audit, source):
    assert run(pip_audit) == (
        0,
        ["audit: 4 pinned versions, no vulnerability known but what is accepted"],
    )
    assert set(source.asked) == PINS | {audit.CANARY}


def test_a_known_vulnerability_fails_in_one_clear_line(run, pip_audit, source):
    source.known[STAR] = [vulnerability(STAR, "GHSA-1", "CVE-2026-1")]
    status, lines = run(pip_audit)
    assert status == 1
    assert lines[0] == "audit: VULNERABLE starlette 1.0.0: CVE-2026-1 (GHSA-1), fixed in 1.0.1"
    assert len(lines) == 2


def test_one_without_a_fix_fails_too(run, pip_audit, source):
    pin = Pin("win-loop", "0.6")
    source.known[pin] = [vulnerability(pin, "GHSA-2", fixed=None)]
    status, lines = run(pip_audit)
    assert status == 1
    assert "VULNERABLE win-loop 0.6: GHSA-2, no fix is known" in lines[0]


def test_the_canary_counts_where_a_lock_pins_it(run, pip_audit, locks):
    (locks / "old.txt").write_text(f"{audit.CANARY.name}=={audit.CANARY.version} {HASH}\n")
    status, lines = run(pip_audit)
    assert status == 1
    assert "VULNERABLE jinja2 2.4.1" in lines[0]


def test_an_accepted_one_is_said_and_passes_until_its_day(run, pip_audit, source):
    source.known[STAR] = [vulnerability(STAR, "GHSA-1", "CVE-2026-1")]
    today = datetime.now(UTC).date()
    status, lines = run(pip_audit, acceptance(today + timedelta(days=2)))
    assert status == 0
    assert "accepted until" in lines[0]
    assert lines[0].endswith("nobody gets there")
    status, lines = run(pip_audit, acceptance(today - timedelta(days=2)))
    assert status == 1
    assert "VULNERABLE starlette 1.0.0" in lines[0]


# ----------------------------------------------------------------------------------------------------------------------
# Out of reach: a note, and no failure
# ----------------------------------------------------------------------------------------------------------------------


def assert_skipped(outcome: tuple[int, list[str]], why: str) -> None:
    status, lines = outcome
    assert status == 0
    assert len(lines) == 1
    assert lines[0].startswith("audit: skipped: no advisories from http")
    assert why in lines[0]


def test_nobody_there_is_a_note(run, scripted, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/v1/query"
    assert_skipped(run(scripted("sys.exit(9)"), url=url), "refused")
    assert not has_run(tmp_path)


def test_a_name_that_nobody_knows_is_a_note(run, scripted):
    assert_skipped(run(scripted("sys.exit(9)"), url="https://advisories.invalid/v1/query"), "")


def test_a_source_that_never_answers_is_given_up(run, scripted, source, monkeypatch):
    source.gate.clear()
    monkeypatch.setattr(audit, "ask_source", lambda url: original(url, timeout_s=0.3))
    assert_skipped(run(scripted("sys.exit(9)")), "no answer within 0.3 s")


original = audit.ask_source


def test_so_is_a_name_whose_look_up_hangs(run, scripted, monkeypatch):
    released = threading.Event()

    def post(*_: Any, **__: Any) -> None:
        released.wait(10)
        raise httpx.ConnectError("released")

    monkeypatch.setattr(httpx, "post", post)
    monkeypatch.setattr(audit, "ask_source", lambda url: original(url, timeout_s=0.2))
    assert_skipped(run(scripted("sys.exit(9)")), "no answer within 0.2 s")
    released.set()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, b"", "it answered 503"),
        (404, b"", "it answered 404"),
        (407, b"", "it answered 407"),
        (200, b"<html>please log in</html>", "is no source of advisories"),
        (200, b"{}", "is no source of advisories"),
        (200, b"[]", "is no source of advisories"),
        (200, b"7", "is no source of advisories"),
        (200, b'{"vulns": []}', "is no source of advisories"),
    ],
)
def test_who_knows_nothing_of_the_canary_is_no_source(run, scripted, source, tmp_path, status, body, why):
    source.status, source.body = status, body
    assert_skipped(run(scripted("sys.exit(9)")), why)
    assert not has_run(tmp_path)


def test_a_source_that_goes_away_during_the_look_ups_is_a_note(run, scripted, source, tmp_path):
    stop = "import urllib.request\nurllib.request.urlopen(given['--osv-url'], b'%s')\nsys.exit(1)"
    query = json.dumps({"package": {"name": "x", "ecosystem": "PyPI"}, "version": "1"})

    real: Callable[[Any], bytes] = source.answer

    def answer(asked: Any) -> bytes:
        if asked["package"]["name"] == "x":
            source.status = 503
        return real(asked)

    source.answer = answer
    assert_skipped(run(scripted(stop % query)), "it answered 503")
    assert has_run(tmp_path)


def test_look_ups_that_take_too_long_are_a_note(run, scripted, monkeypatch):
    look_up = audit.look_up
    monkeypatch.setattr(audit, "look_up", lambda *given: look_up(*given, run_s=0.5))
    assert_skipped(run(scripted("import time; time.sleep(30)")), "not done within 0.5 s")


def test_one_lost_look_up_is_made_again(run, scripted, tmp_path):
    once = (
        "mark = pathlib.Path(__file__).with_name('once')\nif not mark.exists(): mark.touch(); sys.exit(1)\n"
    )
    assert run(scripted(f"{once}write(audited)"))[0] == 0


# ----------------------------------------------------------------------------------------------------------------------
# Broken: a failure
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("sys.exit('Traceback: KeyError')", "pip-audit ended with 1: Traceback: KeyError"),
        ("sys.exit(3)", "pip-audit ended with 3: it said nothing"),
        ("pass", "pip-audit ended with 0: it said nothing"),
        ("write(audited); sys.exit(2)", "pip-audit ended with 2"),
        ("write('new shape')", "another shape"),
        ("write([{'name': 'idna'}])", "another shape"),
        ("pathlib.Path(given['--output']).write_text('{')", "no JSON"),
        ("write([each for each in audited if each['name'] != 'starlette'])", "left out starlette 1.0.0"),
        (
            (
                "write([each if each['name'] != 'starlette' else {'name': 'starlette', 'skip_reason': 'unknown'}"
                " for each in audited])"
            ),
            "left out starlette 1.0.0",
        ),
        ("write([{**each, 'vulns': []} for each in audited])", "misses what is known of jinja2 2.4.1"),
    ],
)
def test_a_pip_audit_that_fails_beside_a_source_that_answers_is_a_failure(run, scripted, lines, why):
    status, said = run(scripted(lines))
    assert status == 2
    assert said[0].startswith("audit: broken: ")
    assert why in said[0]


def test_a_missing_pip_audit_is_a_failure(run, tmp_path):
    status, [line] = run(tmp_path / "nowhere")
    assert status == 2
    assert line.endswith("cannot be run: No such file or directory")


@pytest.mark.parametrize(
    "line",
    [
        "starlette>=1",
        "starlette==1.0.0",
        "starlette @ https://somewhere/x.whl",
        "-r other.txt",
        "--index-url x",
    ],
)
def test_a_lock_with_anything_but_hashed_versions_is_a_failure_offline_too(run, scripted, locks, line):
    (locks / "run.txt").write_text(f"{line}\n")
    status, [said] = run(scripted("write(audited)"), url=f"http://127.0.0.1:{free_port()}/")
    assert status == 2
    assert "is not a version with its hashes" in said


def test_a_directory_without_locks_is_a_failure(tmp_path):
    with pytest.raises(AuditBroken, match="holds no locks"):
        read_locks(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "accepted",
        "[accepted]",
        "[[accept]]\nid = 'x'",
        "[[accepted]]\nid = 'x'\npackage = 'y'\nuntil = 2026-01-01",
        "[[accepted]]\nid = 'x'\npackage = 'y'\nreason = ' '\nuntil = 2026-01-01",
        "[[accepted]]\nid = 'x'\npackage = 'y'\nreason = 'z'\nuntil = '2026-01-01'",
        "[[accepted]]\nid = 'x'\npackage = 'y'\nreason = 'z'\nuntil = 2026-01-01T00:00:00",
        "[[accepted]]\nid = 'x'\npackage = 'y'\nreason = 'z'\nuntil = 2026-01-01\nmore = 1",
        "accepted = [1]",
    ],
)
def test_an_acceptance_without_id_package_reason_or_last_day_is_a_failure(tmp_path, text):
    path = tmp_path / "accepted.toml"
    path.write_text(text)
    with pytest.raises(AuditBroken, match=r"accepted\.toml: "):
        read_accepted(path)


# ----------------------------------------------------------------------------------------------------------------------
# Acceptances
# ----------------------------------------------------------------------------------------------------------------------


def known(name: str = "GHSA-1", *aliases: str) -> Advisory:
    return Advisory(STAR, name, frozenset(aliases), ("1.0.1",))


@pytest.mark.parametrize(
    ("entry", "is_accepted"),
    [
        (Accepted("GHSA-1", "starlette", "why", TODAY), True),
        (Accepted("CVE-2026-1", "starlette", "why", TODAY), True),
        (Accepted("CVE-2026-1", "starlette", "why", TODAY - timedelta(days=1)), False),
        (Accepted("CVE-2026-2", "starlette", "why", TODAY), False),
        (Accepted("GHSA-1", "idna", "why", TODAY), False),
    ],
)
def test_an_advisory_is_accepted_under_any_of_its_names_for_its_package_to_its_last_day(entry, is_accepted):
    findings = judge([known("GHSA-1", "CVE-2026-1")], [entry], TODAY)
    assert (findings.failures == []) is is_accepted


def test_one_accepted_advisory_excuses_no_other():
    findings = judge([known(), known("GHSA-2")], [Accepted("GHSA-1", "starlette", "why", TODAY)], TODAY)
    assert findings.failures == ["starlette 1.0.0: GHSA-2, fixed in 1.0.1"]


def test_an_acceptance_that_ran_out_says_so():
    [failure] = judge([known()], [Accepted("GHSA-1", "starlette", "why", date(2026, 11, 2))], TODAY).failures
    assert failure.endswith("; it was accepted until 2026-11-02")


def test_an_acceptance_of_what_is_no_longer_found_is_a_note_even_when_it_ran_out():
    findings = judge([], [Accepted("GHSA-1", "starlette", "why", date(2020, 1, 1))], TODAY)
    assert findings.failures == []
    assert findings.notes == ["starlette: GHSA-1 is accepted but no longer found; take it out"]


# ----------------------------------------------------------------------------------------------------------------------
# What is committed
# ----------------------------------------------------------------------------------------------------------------------


def test_the_committed_locks_are_read_whole_and_name_no_address():
    pins = read_locks(audit.LOCKS)
    for lock in audit.LOCKS.glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        assert "--index-url" not in text
        names = [line for line in text.splitlines() if "==" in line.partition(";")[0] and line[0] not in "# "]
        assert len(names) == len(read_locks_of(lock) & pins.keys())


def read_locks_of(lock: Path) -> set[Pin]:
    requirements = (line.partition(" ")[0] for line in lock.read_text().splitlines() if line[:1].isalnum())
    return {Pin(*requirement.split("==")) for requirement in requirements}


def test_the_committed_acceptances_are_whole():
    read_accepted(audit.ACCEPTED)


def test_a_source_is_given_up_within_seconds():
    assert 0 < audit.OUT_OF_REACH_S <= 5
