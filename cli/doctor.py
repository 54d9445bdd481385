"""`bascule doctor`: looks at everything around the bridge that can make it ail."""

import os
import platform
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.addresses import reachable
from cli.check import (
    CORRECT_ADDRESS,
    CORRECT_IT,
    away_finding,
    named_servers,
    secret_finding,
    shard_findings,
    shards_away,
)
from cli.context import (
    CORRECT_VARIABLE,
    NO_BRIDGE_YET,
    Bridge,
    Misnamed,
    default_config,
    find_bridge,
    run,
    var_directories,
)
from cli.filters import json_option
from cli.findings import Finding, Verdict, ok, report, skipped, warning, wrong
from cli.output import Failure, size
from cli.places import is_there
from cli.ports import PortUse, in_words, port_uses, remedy, try_port
from libs.common.domain.errors import ConfigError, StoreCorrupt, StoreUnavailable

if TYPE_CHECKING:
    from libs.common.runtime.settings import Settings
    from libs.common.store.fan_out import Spread
    from libs.common.store.halts import HaltTable
    from libs.common.store.readings import Readings
    from libs.common.store.servers import Answering
    from libs.common.store.shard_readings import ShardReadings

OLDEST_PYTHON: Final = (3, 11)
LARGEST_SKEW_MS: Final = 1_000
REACH_TIMEOUT_S: Final = 2.0
LITTLE_SPACE: Final = 1_000_000_000
NO_SPACE: Final = 100_000_000


@click.command(name="doctor")
@json_option
def command(as_json: bool) -> int:
    """Check clock, ports, disk, versions and brokers.

    It says what to do about what is wrong.
    """
    return report(findings(), as_json=as_json)


def findings() -> list[Finding]:
    """Return what was found."""
    from libs.common.runtime.load_settings import load_settings

    found = [_python(), *_orphans(), _disk()]
    bridge: Bridge | None = None
    config = default_config(Path.cwd())
    try:
        bridge = find_bridge()
        config = bridge.config
    except Misnamed as error:
        return [*found, wrong("environment", str(error), CORRECT_VARIABLE)]
    except ConfigError as error:
        return [*found, wrong("configuration", str(error), CORRECT_IT)]
    except Failure:
        found += [skipped("redis", NO_BRIDGE_YET), _server(), *_own_data()]
    try:
        settings = None if config is None else load_settings(config)
    except ConfigError as error:
        settings = None
        found.append(wrong("configuration", str(error), CORRECT_IT))
    if bridge is not None:
        found += _redis(bridge, settings)
    if settings is not None:
        found += _ports(bridge, settings)
        found += _brokers(bridge, settings)
    return found


def _server() -> Finding:
    """Return which Redis server `make up` would start."""
    from libs.common.runtime.redis_binary import INSTALL_HINT, installed_server

    said: list[str] = []
    binary = installed_server(os.environ.get("PATH", os.defpath), said.append)
    if binary is not None:
        return ok("redis server", f"{binary} is installed ({binary.path})")
    detail = "; ".join(["no redis-server or valkey-server 6.2 or newer on the PATH", *said])
    return warning("redis server", detail, f"`make up` uses one for trying where it can; {INSTALL_HINT}")


def _own_data() -> list[Finding]:
    """Return what would keep a `make up` from starting here: it says so itself, but of one thing at a time."""
    from libs.common.runtime.run_record import RUN_FILE

    var = Path.cwd() / "var"
    if not is_there(var):
        problem = _unfit(var.parent, is_directory=True)
    else:
        kinds = ((var, True), (var / "lock", False), (var / "redis", True))
        there = (_unfit(path, is_directory=kind) for path, kind in kinds if is_there(path))
        problem = next((one for one in there if one is not None), None)
        record = var / RUN_FILE
        if problem is None and record.is_dir():  # a file is replaced, whoever may write it
            problem = f"{record}: is a directory"
    if problem is None:
        return []
    remedy = "run `make up` as the user whom it belongs to, or move it away"
    return [wrong("data of up", problem, remedy)]


def _unfit(path: Path, *, is_directory: bool) -> str | None:
    """Return why `make up` could not use what lies there."""
    if path.is_dir() != is_directory:
        return f"{path}: is no directory" if is_directory else f"{path}: is a directory"
    needed = os.R_OK | os.W_OK | os.X_OK if is_directory else os.R_OK | os.W_OK
    return None if os.access(path, needed) else f"{path}: may not be written"


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        return wrong("python", f"Python {version}", "install Python 3.11 or newer")
    return ok("python", f"Python {version}")


def _orphans() -> list[Finding]:
    from libs.common.runtime.run_record import RUN_FILE, read_run_record

    for var in var_directories(Path.cwd()):
        path = var / RUN_FILE
        if is_there(path) and not path.is_dir():
            record = read_run_record(var)
            if record is None:
                remedy = "harmless: the next `make up` replaces it; nothing that it accepted is lost"
                return [warning("run record", f"{path} was left by a `make up` that is gone", remedy)]
            return [ok("run record", f"`make up` runs as process {record.pid} ({path})")]
    return []


def _disk() -> Finding:
    var = next((var for var in var_directories(Path.cwd()) if is_there(var / "lock")), Path.cwd())
    usage = shutil.disk_usage(var)
    detail = f"{size(usage.free)} of {size(usage.total)} free at {var}"
    if usage.free < NO_SPACE:
        return wrong(
            "disk", detail, "free some now: Redis stops when it cannot write, and alerts are refused"
        )
    if usage.free < LITTLE_SPACE:
        return warning("disk", detail, "free some: Redis needs room for three times its append-only file")
    return ok("disk", detail)


def _redis(bridge: Bridge, settings: "Settings | None") -> list[Finding]:
    async def ask_one(shard: "ShardReadings") -> "tuple[Answering, int, HaltTable]":
        answering = await shard.server("declared")
        before_ms = time.time_ns() // 1_000_000
        theirs_ms = await shard.now_ms()
        after_ms = time.time_ns() // 1_000_000
        return answering, theirs_ms - (before_ms + after_ms) // 2, await shard.halts.read()

    async def look(
        readings: "Readings",
    ) -> "tuple[Spread[tuple[Answering, int, HaltTable]], int | None]":
        spread = await readings.each(ask_one)
        away = spread.away
        spread.need_any()
        return spread, None if readings.first.number in away else await readings.noted_shards()

    from libs.common.store.halts import merge_tables
    from libs.common.store.servers import group_servers

    try:
        spread, noted = run(bridge.redis_url, look)
        away = spread.away
    except (StoreUnavailable, StoreCorrupt) as error:
        finding = away_finding(bridge, error)
        return [finding, _server(), *_own_data()] if finding.verdict is Verdict.SKIPPED else [finding]
    except ConfigError as error:
        return [wrong("redis", str(error), CORRECT_ADDRESS)]
    servers = group_servers({number: one for number, (one, _, _) in spread.answers.items()})
    names = named_servers(servers, away)
    found = [
        ok(f"redis{name}", f"{facts.product} {facts.version_text} at {bridge.shown_url}")
        for name, facts in names
    ]
    found += shards_away(bridge, away) + shard_findings(settings, noted)
    found += _halts(
        merge_tables(
            {number: halts for number, (_, _, halts) in spread.answers.items()},
            of=len(away) + len(spread.answers),
        )
    )
    for server, (name, _) in zip(servers, names, strict=True):
        found.append(_clock(name, spread.answers[server.shards[0]][1]))
    return found


def _clock(name: str, skew_ms: int) -> Finding:
    subject, detail = f"clock{name}", f"Redis' clock and ours differ by {abs(skew_ms)} ms"
    if abs(skew_ms) > LARGEST_SKEW_MS:
        remedy = "set both clocks, for example with chrony: fire times and ages are compared by them"
        return wrong(subject, detail, remedy)
    return ok(subject, detail)


def _halts(table: "HaltTable") -> list[Finding]:
    """Return what is halted: nothing is wrong with it, and it explains why nothing trades."""
    from libs.common.store.fan_out import shards_in_words

    found = [ok("halt", f"{one.mode} of {one.scope}: {one.reason} (by {one.by})") for one in table.halts]
    cure = "set it again with `bascule halt`"
    found += [
        wrong(
            "halt",
            f"{one.halt.mode} of {one.halt.scope} is not set on {shards_in_words(one.missing)}: trading goes on there",
            cure,
        )
        for one in table.partial
    ]
    return found + [
        wrong("halt", f"{one} cannot be read, so workers refuse everything in its scope", cure)
        for one in table.unreadable
    ]


def _ports(bridge: Bridge | None, settings: "Settings") -> list[Finding]:
    if bridge is None or bridge.record is None:
        return [_free_port(bridge, use) for use in port_uses(settings)]
    workers = sum(name.startswith("worker-") for name in bridge.record.ops)
    return [_used_port(use) for use in port_uses(settings, workers)]


def _used_port(use: PortUse) -> Finding:
    """Return whether a process of the running bridge listens."""
    subject = f"port {use.port}"
    if _reaches(use.host, use.port) is None:
        return ok(subject, f"{use.process} listens ({use.key})")
    cure = "look at the output of `make up`, which starts it again"
    return wrong(subject, f"{use.process} does not listen ({use.key})", cure)


def _free_port(bridge: Bridge | None, use: PortUse) -> Finding:
    """Return whether a process of a bridge to be started could listen."""
    subject, error = f"port {use.port}", try_port(use)
    if error is None:
        return ok(subject, f"free, for {use.process} ({use.key})")
    if bridge is not None and bridge.found_by == "REDIS_URL":
        # A bridge whose services run by themselves: we cannot tell whose listener it is.
        return ok(subject, f"{in_words(error)}, perhaps by {use.process} itself ({use.key})")
    return wrong(subject, f"{in_words(error)}; {use.process} wants it", remedy(use, error))


def _brokers(bridge: Bridge | None, settings: "Settings") -> list[Finding]:
    from urllib.parse import urlsplit

    from libs.common.runtime.account_settings import CcxtAccount, HttpAccount

    found: list[Finding] = []
    for name, account in settings.accounts.items():
        subject = f"account {name}"
        if isinstance(account, CcxtAccount):
            found += [
                secret_finding(account.api_key, subject, bridge),
                secret_finding(account.secret, subject, bridge),
            ]
            found.append(skipped(subject, "`bascule check --connect` asks the exchange"))
            continue
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
        socket.create_connection((reachable(host), port), timeout=REACH_TIMEOUT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
