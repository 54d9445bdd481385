"""`bascule status`: what runs, what waits, which promise holds; exit code 3 where something is not well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.alarms import alarm_document, all_raised
from cli.context import Bridge, find_bridge, no_answer, run
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.figures import Look, figures_document
from cli.filters import duration_ms, json_option
from cli.halt_scope import halt_document, partial_words
from cli.output import ago, span, write, write_json
from cli.services import ask_services, known_services
from cli.status_watch import watch_status
from cli.status_words import refuses, status_lines

if TYPE_CHECKING:
    from libs.common.runtime.settings import LimitsSettings
    from libs.common.store.alarms import Alarm
    from libs.common.store.checks import ServerFacts
    from libs.common.store.fan_out import Spread
    from libs.common.store.health import Health
    from libs.common.store.readings import Readings
    from libs.common.store.servers import Server

LATEST_REAPER_PASS_MS: Final = 5_000
LONGEST_WAIT_MS: Final = 30_000
HEALTH_TIMEOUT_S: Final = 2.0

DEFAULT_INTERVAL_S: Final = 1.0
SHORTEST_INTERVAL_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Ingress:
    """What the ingress says of itself."""

    url: str | None
    """None where nothing says where it is."""
    problem: str | None
    """None where it is healthy, or was not asked."""


@click.command(name="status")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval",
    "interval_ms",
    callback=duration_ms,
    help="The time between two looks of --watch, such as 5s; 1s by default, 100ms at least.",
)
@json_option
def command(watch: bool, interval_ms: int | None, as_json: bool) -> int:
    """Show what runs, what waits and which promise holds.

    What services have counted counts since each of them began; with --watch it is shown by the second too. Percentiles are
    estimated from the buckets of histograms.

    With --watch in place on a terminal, or as one JSON document a line. Exit code 3: something is not well, with --watch
    at the last look. Alarms that are raised are shown, and do not change it.
    """
    if interval_ms is not None and not watch:
        raise click.UsageError("--interval goes with --watch")
    if interval_ms is not None and interval_ms < SHORTEST_INTERVAL_MS:
        raise click.UsageError(
            f"--interval: got {interval_ms} ms, expected {SHORTEST_INTERVAL_MS} ms at least"
        )
    bridge = find_bridge()
    if watch:
        interval_s = DEFAULT_INTERVAL_S if interval_ms is None else interval_ms / 1_000
        last = watch_status(lambda before: _look(bridge, before), interval_s, as_json=as_json)
        return ExitCode.OK if last is None else _code(last)
    document, _ = _look(bridge)
    if as_json:
        write_json(document)
    else:
        for line in status_lines(document):
            write(line)
    return _code(document)


def _look(bridge: Bridge, before: Look | None = None) -> tuple[Document, Look | None]:
    """Return the status of now, and what services have counted, which the next look compares with."""
    from libs.common.domain.errors import StoreUnavailable

    async def read(
        readings: "Readings",
    ) -> "tuple[Health, Mapping[str, int], Spread[list[Alarm]]]":
        return (
            await readings.health(durability),
            await readings.letters_by_reason(),
            await readings.each(lambda one: one.alarms.raised()),
        )

    durability, replicas, limits = _configured(bridge)
    ingress, live_workers, is_known = ask_ingress(bridge.ingress_url()), 0, True
    try:
        health, letters, alarms = run(bridge.redis_url, read)
    except StoreUnavailable as error:
        document = _away(no_answer(bridge, error), ingress)
        # Those of a configuration need not be the services of this Redis, which may be another's or none.
        is_known = bridge.record is not None or bool(bridge.named_ops)
    else:
        # They lie on the first shard, and some users of Redis may not read them.
        raised = all_raised(alarms) if 0 in alarms.answers else None
        document = status_document(health, ingress, durability, limits, letters, raised, replicas)
        live_workers = sum(one.is_live for one in health.snapshot.workers)
    document["redis"] = {"url": bridge.shown_url} | document["redis"]
    document["figures"], look = _figures(bridge, live_workers, before) if is_known else (None, None)
    return document, look


def _figures(bridge: Bridge, live_workers: int, before: Look | None) -> tuple[Document | None, Look | None]:
    """Return what services have counted, as `--json` shows it and as it is compared; None where we know of none."""
    services = known_services(bridge, live_workers)
    if not services:
        return None, None
    look, asked, silent = ask_services(services, live_workers)
    return figures_document(look, silent, asked, before), look


def _code(document: Document) -> ExitCode:
    return ExitCode.OK if document["status"] == "ok" else ExitCode.DEGRADED


def status_document(
    health: "Health",
    ingress: Ingress,
    durability: str,
    limits: "LimitsSettings | None" = None,
    letters: Mapping[str, int] = MappingProxyType({}),
    alarms: "Sequence[Alarm] | None" = None,
    replicas: int = 0,
) -> Document:
    """Return the status as `--json` shows it, with what is not well in words.

    A halt is shown and is no ailment: somebody wants it so. Nor is an alarm: what the bridge does itself is well, and
    who is to know was told.

    Args:
        health: Of all shards that answer.
        ingress: What it says of itself.
        durability: The configured promise.
        limits: As configured, where that is known.
        letters: Reason -> dead letters, of the newest.
        alarms: Those that are raised; None where that is not known.
        replicas: How many must have what is acknowledged, as configured.
    """
    from libs.common.store.replicas import unkept_promises
    from libs.common.store.servers import weakest

    snapshot, server, halts = health.snapshot, weakest(health.servers), health.halts
    reasons = _reasons(health, ingress, durability, replicas)
    if limits is not None:
        reasons += _fullness(health, limits)
    reasons += [
        f"a halt cannot be read, so workers refuse everything in its scope: {one}" for one in halts.unreadable
    ]
    reasons += partial_words(halts)
    return {
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "lanes": {
            "ready": snapshot.lanes_ready,
            "held": snapshot.lanes_held,
            "parked": snapshot.lanes_parked,
            "parked_for": dict(sorted(snapshot.parked_for.items())),
        },
        "waiting": snapshot.waiting,
        "oldest_waiting_ms": snapshot.oldest_waiting_ms,
        "longest_lane": None
        if snapshot.longest_lane is None
        else {"lane": snapshot.longest_lane.lane, "waiting": snapshot.longest_lane.waiting},
        "dead_letters": snapshot.dead_letters,
        "dead_letters_by_reason": dict(sorted(letters.items())),
        "stream": {"lag": snapshot.tokens_lag, "pending": snapshot.tokens_pending},
        "orders_resting": snapshot.orders_resting,
        "workers": [
            {"name": one.name, "pending": one.pending, "idle_ms": one.idle_ms, "is_live": one.is_live}
            for one in snapshot.workers
        ],
        "reaper_pass_ms": snapshot.reaper_pass_ms,
        "breakers": [
            {"scope": one.scope, "state": one.state, "reset_at_ms": one.reset_at_ms}
            for one in snapshot.breakers
        ],
        "halts": [halt_document(one) for one in halts.halts],
        "alarms": None if alarms is None else [alarm_document(one) for one in alarms],
        "redis": {
            "product": server.product,
            "version": server.version_text,
            "durability": _in_force(server, durability),
            "configured_durability": durability,
            "keeps_promises": not any(
                unkept_promises(one.facts, durability, replicas) for one in health.servers
            ),
            "used_bytes": server.used_bytes,
            "limit_bytes": server.limit_bytes or None,
            "memory_share": server.memory_share,
            "shards": _count(health),
            "shards_away": sorted(health.away),
            "servers": [_server_document(one, durability) for one in health.servers],
        },
        "ingress": _ingress_document(ingress),
        "now_ms": snapshot.now_ms,
    }


def ask_ingress(url: str | None) -> Ingress:
    """Ask an ingress for its health."""
    if url is None:
        return Ingress(None, None)
    import httpx

    try:
        answer = httpx.get(f"{url}/health", timeout=HEALTH_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        return Ingress(url, f"does not answer at {url}: {str(error) or type(error).__name__}")
    if answer.is_success:
        return Ingress(url, None)
    try:
        reason = str(answer.json().get("reason", answer.status_code))
    except (ValueError, AttributeError):
        reason = f"answers {answer.status_code}"
    return Ingress(url, reason)


def _configured(bridge: Bridge) -> "tuple[str, int, LimitsSettings | None]":
    settings = bridge.settings()
    if settings is None:
        return "always", 0, None
    return settings.redis.durability.value, settings.redis.replicas, settings.limits


def _count(health: "Health") -> int:
    return len(health.away) + sum(len(one.shards) for one in health.servers)


def _server_document(server: "Server", durability: str) -> Document:
    facts = server.facts
    return {
        "shards": list(server.shards),
        "product": facts.product,
        "version": facts.version_text,
        "durability": _in_force(facts, durability),
        "used_bytes": facts.used_bytes,
        "limit_bytes": facts.limit_bytes or None,
        "memory_share": facts.memory_share,
    }


def _named(health: "Health") -> "list[tuple[str, ServerFacts]]":
    """Return each server, with what to call it: nothing where it is the only one."""
    from libs.common.store.fan_out import shards_in_words

    if len(health.servers) == 1 and not health.away:
        return [("", health.servers[0].facts)]
    return [(f"{shards_in_words(one.shards)}: ", one.facts) for one in health.servers]


def _in_force(server: "ServerFacts", durability: str) -> str:
    return "declared" if durability == "declared" else server.durability


def _reasons(health: "Health", ingress: Ingress, durability: str, replicas: int) -> list[str]:
    from libs.common.store.fan_out import shards_in_words
    from libs.common.store.replicas import unkept_promises

    snapshot = health.snapshot
    refusing = refuses(ingress.problem, _count(health))
    reasons = [] if ingress.problem is None else [f"the ingress {refusing}: {ingress.problem}"]
    reasons += [
        f"shard {number} does not answer, and is left out here: {str(error.__cause__ or error).rstrip('.')}"
        for number, error in sorted(health.away.items())
    ]
    if not any(worker.is_live for worker in snapshot.workers):
        reasons.append("no worker is alive: alerts wait")
    elif snapshot.unserved:
        reasons.append(f"no worker is alive for {shards_in_words(snapshot.unserved)}: alerts wait there")
    if snapshot.reaper_pass_ms is None:
        reasons.append("the reaper has not made a pass yet")
    elif snapshot.reaper_pass_ms > LATEST_REAPER_PASS_MS:
        reasons.append(
            f"the reaper's last pass was {ago(snapshot.reaper_pass_ms)}: waiting lanes do not move"
        )
    if snapshot.oldest_waiting_ms is not None and snapshot.oldest_waiting_ms > LONGEST_WAIT_MS:
        reasons.append(f"an instruction has waited for {span(snapshot.oldest_waiting_ms)}")
    if snapshot.suspect_until_ms is not None:
        reasons.append(
            "Redis came back and may lack its newest writes: what was admitted before is looked up at its venue, and "
            f"sent in {span(snapshot.suspect_until_ms - snapshot.now_ms)} at the earliest"
        )
    if untold := snapshot.parked_for.get("resolving"):
        waiting = "1 lane waits" if untold == 1 else f"{untold} lanes wait"
        reasons.append(
            f"{waiting} for an order that cannot be told: "
            "`bascule orders --state unknown`, or `--state sending` since Redis came back"
        )
    reasons += [
        f"{name}{promise.finding}: {promise.remedy}"
        for name, facts in _named(health)
        for promise in unkept_promises(facts, durability, replicas)
    ]
    return reasons


def _fullness(health: "Health", limits: "LimitsSettings") -> list[str]:
    """Return what alerts find no room in."""
    reasons = [
        f"{name}Redis uses {facts.memory_share:.1%} of its memory: alerts are refused from "
        f"{limits.memory:.1%} on (limits.memory)"
        for name, facts in _named(health)
        if facts.memory_share is not None and facts.memory_share >= limits.memory
    ]
    longest = health.snapshot.longest_lane
    if longest is not None and longest.waiting >= limits.backlog:
        reasons.append(
            f"{longest.waiting} instructions wait in lane {longest.lane}: alerts for it are refused from "
            f"{limits.backlog} on (limits.backlog)"
        )
    return reasons


def _away(problem: str, ingress: Ingress) -> Document:
    reasons = [problem]
    if ingress.problem is not None:
        reasons.append(f"the ingress refuses alerts: {ingress.problem}")
    return {
        "status": "degraded",
        "reasons": reasons,
        "lanes": None,
        "waiting": None,
        "oldest_waiting_ms": None,
        "longest_lane": None,
        "dead_letters": None,
        "dead_letters_by_reason": None,
        "stream": None,
        "orders_resting": None,
        "workers": None,
        "reaper_pass_ms": None,
        "breakers": None,
        "halts": None,
        "alarms": None,
        "redis": {},
        "ingress": _ingress_document(ingress),
        "now_ms": None,
    }


def _ingress_document(ingress: Ingress) -> Document:
    is_healthy = None if ingress.url is None else ingress.problem is None
    return {"url": ingress.url, "is_healthy": is_healthy, "reason": ingress.problem}
