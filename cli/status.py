"""`bascule status`: what runs, what waits, which promise holds; exit code 3 where something is not well."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, find_bridge, no_answer, run
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.filters import json_option
from cli.halt_scope import halt_document, halt_words, partial_words
from cli.output import NOTHING, ago, painted, size, span, table, write, write_json

if TYPE_CHECKING:
    from libs.common.runtime.settings import LimitsSettings
    from libs.common.store.checks import ServerFacts
    from libs.common.store.health import Health
    from libs.common.store.servers import Server

LATEST_REAPER_PASS_MS: Final = 5_000
LONGEST_WAIT_MS: Final = 30_000
HEALTH_TIMEOUT_S: Final = 2.0

_SHARD: Final = re.compile(r"\bshard (\d+): ", re.ASCII)
"""How the ingress begins what it says of one of several."""


@dataclass(frozen=True, slots=True)
class Ingress:
    """What the ingress says of itself."""

    url: str | None
    """None where nothing says where it is."""
    problem: str | None
    """None where it is healthy, or was not asked."""

    def refuses(self, shards: int) -> str:
        """Return whose alerts it refuses, of so many shards: of all, or of those that it names."""
        from libs.common.store.fan_out import shards_in_words

        named = {int(number) for number in _SHARD.findall(self.problem or "")}
        part = f" for {shards_in_words(tuple(named))}" if 0 < len(named) < shards else ""
        return f"refuses alerts{part}"


@click.command(name="status")
@json_option
def command(as_json: bool) -> int:
    """Show what runs, what waits and which promise holds.

    Exit code 3: something is not well.
    """
    from libs.common.domain.errors import StoreUnavailable

    bridge = find_bridge()
    durability, limits = _configured(bridge)
    ingress = ask_ingress(bridge.ingress_url())

    try:
        health = run(bridge.redis_url, lambda readings: readings.health(durability))
    except StoreUnavailable as error:
        document = _away(no_answer(bridge, error), ingress)
    else:
        document = status_document(health, ingress, durability, limits)
    document["redis"] = {"url": bridge.shown_url} | document["redis"]
    if as_json:
        write_json(document)
    else:
        _show(document)
    return ExitCode.OK if document["status"] == "ok" else ExitCode.DEGRADED


def status_document(
    health: "Health", ingress: Ingress, durability: str, limits: "LimitsSettings | None" = None
) -> Document:
    """Return the status as `--json` shows it, with what is not well in words.

    A halt is shown and is no ailment: somebody wants it so.
    """
    from libs.common.store.servers import weakest

    snapshot, server, halts = health.snapshot, weakest(health.servers), health.halts
    reasons = _reasons(health, ingress, durability)
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
        "redis": {
            "product": server.product,
            "version": server.version_text,
            "durability": _in_force(server, durability),
            "configured_durability": durability,
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


def _configured(bridge: Bridge) -> "tuple[str, LimitsSettings | None]":
    settings = bridge.settings()
    if settings is None:
        return "always", None
    return settings.redis.durability.value, settings.limits


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


def _reasons(health: "Health", ingress: Ingress, durability: str) -> list[str]:
    from libs.common.store.checks import promises
    from libs.common.store.fan_out import shards_in_words

    snapshot = health.snapshot
    refuses = ingress.refuses(_count(health))
    reasons = [] if ingress.problem is None else [f"the ingress {refuses}: {ingress.problem}"]
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
        reasons.append(
            f"{untold} lanes wait for an order that cannot be told: "
            "`bascule orders --state unknown`, or `--state sending` since Redis came back"
        )
    reasons += [
        f"{name}{promise.finding}: {promise.remedy}"
        for name, facts in _named(health)
        for promise in promises(facts, durability)
        if not promise.is_kept
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
        "workers": None,
        "reaper_pass_ms": None,
        "breakers": None,
        "halts": None,
        "redis": {},
        "ingress": _ingress_document(ingress),
        "now_ms": None,
    }


def _ingress_document(ingress: Ingress) -> Document:
    is_healthy = None if ingress.url is None else ingress.problem is None
    return {"url": ingress.url, "is_healthy": is_healthy, "reason": ingress.problem}


def _show(document: Document) -> None:
    write(f"{painted(document['status'])}")
    for reason in document["reasons"]:
        write(f"  {reason}")
    if document["lanes"] is None:
        return
    redis, lanes, ingress = document["redis"], document["lanes"], document["ingress"]
    oldest, reaper = document["oldest_waiting_ms"], document["reaper_pass_ms"]
    health = {
        True: "takes alerts",
        False: Ingress(ingress["url"], ingress["reason"]).refuses(redis["shards"]),
        None: "not asked, its address is not known",
    }
    share = "" if redis["memory_share"] is None else f", {redis['memory_share']:.1%} of"
    bound = "" if not share else f" {size(redis['limit_bytes'])}" if redis["limit_bytes"] else " the machine"
    at = f" at {ingress['url']}" if ingress["url"] else ""
    causes = ", ".join(f"{number} {reason}" for reason, number in lanes["parked_for"].items())
    waits_for = f" ({causes})" if causes else ""
    facts = (
        ("ingress", f"{health[ingress['is_healthy']]}{at}"),
        ("lanes", f"{lanes['ready']} ready, {lanes['held']} held, {lanes['parked']} parked{waits_for}"),
        ("waiting", f"{document['waiting']}{'' if oldest is None else f', the oldest for {span(oldest)}'}"),
        ("given up", f"{document['dead_letters']} dead letters"),
        ("reaper", NOTHING if reaper is None else f"last pass {ago(reaper)}"),
        (
            "redis",
            f"{redis['product']} {redis['version']} at {redis['url']}, {_promise(redis)}",
        ),
        ("memory", f"{size(redis['used_bytes'])}{share}{bound}{_of_the_fullest(redis)}"),
    )
    for label, value in facts:
        write(f"{label:<10}{value}")
    for one in document["breakers"]:
        write(f"{'breaker':<10}{one['scope']} {_breaker(one, document['now_ms'])}")
    for one in document["halts"]:
        write(f"{'halt':<10}{halt_words(one, document['now_ms'])}")
    if document["workers"]:
        write()
        rows = [
            (one["name"], "live" if one["is_live"] else "gone", one["pending"], span(one["idle_ms"]))
            for one in document["workers"]
        ]
        for line in table(("WORKER", "STATE", "LANES", "IDLE"), rows):
            write(line)


def _promise(redis: Document) -> str:
    spread = f", {redis['shards']} shards" if redis["shards"] > 1 else ""
    return f"durability {redis['durability']}{spread}"


def _of_the_fullest(redis: Document) -> str:
    """Return of several servers whose memory is shown."""
    servers = redis["servers"]
    return f", the fullest of {len(servers)} servers" if len(servers) > 1 else ""


def _breaker(one: Document, now_ms: int) -> str:
    """Return a breaker's state with its time: half-open, it waits for an alert to try with, and nothing is wrong."""
    since_reset_ms = now_ms - one["reset_at_ms"]
    if one["state"] == "half_open" and one["reset_at_ms"]:
        return f"half_open for {span(since_reset_ms)}: the next order tries it"
    if one["state"] == "open" and since_reset_ms < 0:
        return f"open, to be tried in {span(-since_reset_ms)}"
    return str(one["state"])
