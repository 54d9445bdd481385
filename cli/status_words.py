"""How a status of `bascule status` looks to people."""

import re
from typing import Final

from cli.documents import Document
from cli.figures_words import figures_lines
from cli.halt_scope import halt_words
from cli.output import NOTHING, ago, cell, painted, size, span, table

_PAUSE: Final = "|pause"
"""Behind the account whose venue asked for a pause: `store/breakers.py`."""

_SHARD: Final = re.compile(r"\bshard (\d+): ", re.ASCII)
"""How the ingress begins what it says of one of several."""


def refuses(problem: str | None, shards: int) -> str:
    """Return whose alerts an ingress with a problem refuses, of so many shards: of all, or of those that it names."""
    from libs.common.store.fan_out import shards_in_words

    named = {int(number) for number in _SHARD.findall(problem or "")}
    part = f" for {shards_in_words(tuple(named))}" if 0 < len(named) < shards else ""
    return f"refuses alerts{part}"


def status_lines(document: Document) -> list[str]:
    """Return the lines that people see of a status."""
    lines = [painted(document["status"]), *(f"  {reason}" for reason in document["reasons"])]
    if document["lanes"] is not None:
        lines += _store_lines(document)
    elif document["figures"] is None:  # nothing at all is known, and why stands above
        return lines
    return lines + figures_lines(document["figures"])


def _store_lines(document: Document) -> list[str]:
    """Return what Redis tells, and whether the ingress is well."""
    redis, lanes, ingress = document["redis"], document["lanes"], document["ingress"]
    oldest, reaper = document["oldest_waiting_ms"], document["reaper_pass_ms"]
    health = {
        True: "takes alerts",
        False: refuses(ingress["reason"], redis["shards"]),
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
        ("tokens", _tokens(document["stream"])),
        ("resting", _resting(document["orders_resting"])),
        ("given up", _letters(document)),
        ("reaper", NOTHING if reaper is None else f"last pass {ago(reaper)}"),
        (
            "redis",
            f"{redis['product']} {redis['version']} at {redis['url']}, {_promise(redis)}",
        ),
        ("memory", f"{size(redis['used_bytes'])}{share}{bound}{_of_the_fullest(redis)}"),
    )
    lines = [f"{label:<10}{value}" for label, value in facts]
    lines += [
        f"{'breaker':<10}{one['scope'].removesuffix(_PAUSE)} {_breaker(one, document['now_ms'])}"
        for one in document["breakers"]
    ]
    lines += [f"{'halt':<10}{halt_words(one, document['now_ms'])}" for one in document["halts"]]
    if document["alarms"] is None:
        lines.append(f"{'alarm':<10}not known: Redis does not tell us what is raised")
    lines += [f"{'alarm':<10}{_alarm(one, document['now_ms'])}" for one in document["alarms"] or ()]
    if document["workers"]:
        rows = [
            (one["name"], "live" if one["is_live"] else "gone", one["pending"], span(one["idle_ms"]))
            for one in document["workers"]
        ]
        lines += ["", *table(("WORKER", "STATE", "LANES", "IDLE"), rows)]
    return lines


def _resting(orders: int) -> str:
    return "1 order at its venue" if orders == 1 else f"{orders} orders at their venues"


def _tokens(stream: Document) -> str:
    given_out = "unknown" if stream["lag"] is None else stream["lag"]
    held = "unknown" if stream["pending"] is None else stream["pending"]
    return f"{given_out} not given out yet, {held} held"


def _letters(document: Document) -> str:
    by_reason = document["dead_letters_by_reason"]
    causes = ", ".join(f"{number} {reason}" for reason, number in by_reason.items())
    of = (
        f"of the newest {sum(by_reason.values())} "
        if sum(by_reason.values()) < document["dead_letters"]
        else ""
    )
    letters = document["dead_letters"]
    return f"{letters} dead letter{'' if letters == 1 else 's'}{f' ({of}{causes})' if causes else ''}"


def _alarm(one: Document, now_ms: int) -> str:
    """Return an alarm with its age; what comes from outside must not drive a terminal."""
    of = f" of {cell(one['subject'])}" if one["subject"] else ""
    return f"{one['kind']}{of}: {cell(one['detail'])} ({ago(now_ms - one['raised_at_ms'])})"


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
    if one["state"] == "paused" and since_reset_ms < 0:
        return f"paused, as its venue asked, for {span(-since_reset_ms)} more"
    return str(one["state"])
