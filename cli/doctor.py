"""`bascule doctor`: looks at everything around the bridge that can make it ail."""

import errno
import platform
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.check import CORRECT_IT, secret_finding
from cli.context import Bridge, default_config, find_bridge, no_answer, run, var_directories
from cli.filters import json_option
from cli.findings import Finding, ok, report, warning, wrong
from cli.output import Failure, size
from libs.common.domain.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from libs.common.runtime.settings import Settings
    from libs.common.store.checks import ServerFacts
    from libs.common.store.readings import Readings

OLDEST_PYTHON: Final = (3, 11)
LARGEST_SKEW_MS: Final = 1_000
REACH_TIMEOUT_S: Final = 2.0
LITTLE_SPACE: Final = 1_000_000_000
NO_SPACE: Final = 100_000_000
WORKERS_HERE: Final = 2
"""What `make up` starts."""

_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@click.command(name="doctor")
@json_option
def command(as_json: bool) -> int:
    """Check clock, ports, disk, versions and brokers, and say what to do about what is wrong."""
    return report(findings(), as_json=as_json)


def findings() -> list[Finding]:
    """Return what was found."""
    from libs.common.runtime.settings import load_settings

    found = [_python(), *_orphans(), _disk()]
    bridge: Bridge | None = None
    config = default_config(Path.cwd())
    try:
        bridge = find_bridge()
        config = bridge.config
    except ConfigError as error:
        return [*found, wrong("configuration", str(error), CORRECT_IT)]
    except Failure as error:
        found += [warning("bridge", str(error), "start it; until then Redis is not looked at"), _server()]
    try:
        settings = None if config is None else load_settings(config)
    except ConfigError as error:
        settings = None
        found.append(wrong("configuration", str(error), CORRECT_IT))
    if bridge is not None:
        found += _redis(bridge)
    if settings is not None:
        found += _ports(bridge, settings)
        found += _brokers(bridge, settings)
    return found


def _server() -> Finding:
    """Return which Redis server `make up` would start."""
    from libs.common.runtime.redis_server import FLOOR, read_version

    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        binary = None if path is None else read_version(Path(path))
        if binary is not None and binary.version[:2] >= FLOOR:
            return ok("redis", f"{binary} is installed ({path})")
    remedy = "`make up` uses one for trying where it can; install redis-server or valkey-server 6.2 or newer"
    return warning("redis", "no redis-server or valkey-server 6.2 or newer on the PATH", remedy)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return wrong("python", f"Python {version}", "install Python 3.11 or newer")
    return ok("python", f"Python {version}")


def _orphans() -> list[Finding]:
    from libs.common.runtime.run_record import RUN_FILE, read_run_record

    for var in var_directories(Path.cwd()):
        path = var / RUN_FILE
        if path.exists():
            record = read_run_record(var)
            if record is None:
                remedy = "harmless: the next `make up` replaces it; nothing that it accepted is lost"
                return [warning("run record", f"{path} was left by a `make up` that is gone", remedy)]
            return [ok("run record", f"`make up` runs as process {record.pid} ({path})")]
    return []


def _disk() -> Finding:
    var = next((var for var in var_directories(Path.cwd()) if (var / "lock").exists()), Path.cwd())
    usage = shutil.disk_usage(var)
    detail = f"{size(usage.free)} of {size(usage.total)} free at {var}"
    if usage.free < NO_SPACE:
        return wrong(
            "disk", detail, "free some now: Redis stops when it cannot write, and alerts are refused"
        )
    if usage.free < LITTLE_SPACE:
        return warning("disk", detail, "free some: Redis needs room for three times its append-only file")
    return ok("disk", detail)


def _redis(bridge: Bridge) -> list[Finding]:
    async def look(readings: "Readings") -> "tuple[ServerFacts, int]":
        facts = await readings.server("declared")
        before_ms = time.time_ns() // 1_000_000
        theirs_ms = await readings.now_ms()
        after_ms = time.time_ns() // 1_000_000
        return facts, theirs_ms - (before_ms + after_ms) // 2

    try:
        facts, skew_ms = run(bridge.redis_url, look)
    except StoreUnavailable as error:
        remedy = "start it, or correct its address; `make up` brings one of its own"
        return [wrong("redis", no_answer(bridge, error), remedy)]
    found = [ok("redis", f"{facts.product} {facts.version_text} at {bridge.shown_url}")]
    detail = f"Redis' clock and ours differ by {abs(skew_ms)} ms"
    if abs(skew_ms) > LARGEST_SKEW_MS:
        remedy = "set both clocks, for example with chrony: fire times and ages are compared by them"
        return [*found, wrong("clock", detail, remedy)]
    return [*found, ok("clock", detail)]


def _ports(bridge: Bridge | None, settings: "Settings") -> list[Finding]:
    ingress, worker, reaper = settings.ingress, settings.worker, settings.reaper
    wanted = [
        ("ingress", ingress.host, ingress.port, "ingress.port"),
        ("ingress", ingress.ops_host, ingress.ops_port, "ingress.ops_port"),
        ("reaper", reaper.ops_host, reaper.ops_port, "reaper.ops_port"),
    ]
    names = [f"worker-{number}" for number in range(1, WORKERS_HERE + 1)]
    if bridge is not None and bridge.record is not None:
        names = sorted(name for name in bridge.record.ops if name.startswith("worker-"))
    wanted += [
        (name, worker.ops_host, worker.ops_port + int(name.removeprefix("worker-")), "worker.ops_port")
        for name in names
    ]
    return [_port(bridge, process, host, port, key) for process, host, port, key in wanted]


def _port(bridge: Bridge | None, process: str, host: str, port: int, key: str) -> Finding:
    subject = f"port {port}"
    if bridge is not None and bridge.record is not None:
        if _reaches(host, port) is None:
            return ok(subject, f"{process} listens ({key})")
        remedy = "look at the output of `make up`, which starts it again"
        return wrong(subject, f"{process} does not listen ({key})", remedy)
    problem = _cannot_listen(host, port)
    if problem is None:
        return ok(subject, f"free, for {process} ({key})")
    if bridge is not None and bridge.found_by == "REDIS_URL":
        # A bridge whose services run by themselves: we cannot tell whose listener it is.
        return ok(subject, f"{problem}, perhaps by {process} itself ({key})")
    return wrong(subject, f"{problem}; {process} wants it", f"stop what listens there, or change {key}")


def _brokers(bridge: Bridge | None, settings: "Settings") -> list[Finding]:
    from urllib.parse import urlsplit

    from libs.common.runtime.settings import HttpAccount

    found: list[Finding] = []
    for name, account in settings.accounts.items():
        subject = f"account {name}"
        if not isinstance(account, HttpAccount):
            found.append(ok(subject, "needs no key and no network"))
            continue
        found.append(secret_finding(account.secret, subject, bridge))
        parts = urlsplit(account.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        problem = _reaches(parts.hostname or "", port)
        if problem is None:
            found.append(ok(subject, f"{account.url} is reachable"))
        else:
            remedy = "start it, or correct the account's url; its alerts wait until they expire"
            found.append(wrong(subject, f"{account.url} is not reachable: {problem}", remedy))
    return found


def _reaches(host: str, port: int) -> str | None:
    """Return why a TCP connection fails; None where it does not."""
    try:
        socket.create_connection((_ANY_HOST.get(host, host), port), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _cannot_listen(host: str, port: int) -> str | None:
    """Return why nobody could listen there; None where one could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return "in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return None
