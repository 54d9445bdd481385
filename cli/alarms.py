"""`bascule alarms`: what the watchdog has raised, and whether those who are to know are reached."""

import asyncio
import os
import secrets
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import ask, default_config, find_bridge
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.filters import json_option, limit_option
from cli.findings import Finding, ok, report, wrong
from cli.output import Failure, note, when, write_json, write_table

if TYPE_CHECKING:
    from libs.common.runtime.alarm_targets import Delivery, Target
    from libs.common.runtime.settings import Settings
    from libs.common.store.alarms import Alarm, Notice
    from libs.common.store.fan_out import Spread
    from libs.common.store.readings import Readings


@click.group(name="alarms", invoke_without_command=True)
@click.option("--history", is_flag=True, help="What was raised and cleared, newest first.")
@limit_option
@json_option
@click.pass_context
def command(ctx: click.Context, history: bool, limit: int, as_json: bool) -> int:
    """List alarms that are raised; or try who is told.

    Exit code 3: a shard did not answer, and its alarms are left out.
    """
    if ctx.invoked_subcommand is not None:
        return ExitCode.OK
    return _list_notices(limit, as_json=as_json) if history else _list_raised(as_json=as_json)


@command.command()
@json_option
def test(as_json: bool) -> int:
    """Tell one test message to those whom `alarms` in the configuration names.

    It is told once, from here, with the variables of this shell; exit code 1 where somebody did not take it.
    """
    return report(asyncio.run(_tell_all(_targets())), as_json=as_json)


def alarm_findings(settings: "Settings") -> list[Finding]:
    """Return whether those who are told can be."""
    found, alarms = [], settings.alarms
    if alarms.url is not None:
        from urllib.parse import urlsplit

        where = alarms.url_variable or f"{urlsplit(alarms.url).hostname}"
        # Whether a variable is set stands among the secrets.
        whose = "the address in " if alarms.url_variable else ""
        found.append(ok("alarms url", f"alarms and dead letters are to be posted to {whose}{where}"))
    if alarms.command:
        program = alarms.command[0]
        if shutil.which(program) is None:
            remedy = "correct alarms.command; the reaper needs it where it runs"
            found.append(wrong("alarms command", f"there is no program {program} here", remedy))
        else:
            found.append(ok("alarms command", f"alarms and dead letters are given to {program}"))
    return found or [ok("alarms", "nobody is told: alarms names neither url nor command")]


def all_raised(spread: "Spread[list[Alarm]]") -> "list[Alarm]":
    """Return the alarms of all shards that answered, the oldest first."""
    return sorted(
        (alarm for alarms in spread.answers.values() for alarm in alarms),
        key=lambda one: (one.raised_at_ms, one.kind, one.subject),
    )


def alarm_document(alarm: "Alarm") -> Document:
    """Return an alarm that is raised, as `--json` shows it."""
    return {
        "kind": alarm.kind,
        "subject": alarm.subject or None,
        "detail": alarm.detail,
        "raised_at_ms": alarm.raised_at_ms,
        "shard": alarm.shard,
    }


def _targets() -> "list[Target]":
    """Return those who are told.

    Raises:
        Failure: There is no configuration, or it names nobody.
        ConfigError: It cannot be read, or the address is not set.
    """
    from libs.common.runtime.alarm_targets import alarm_targets
    from libs.common.runtime.load_settings import load_settings

    try:
        config = find_bridge().config
    except Failure:
        config = None
    config = config or default_config(Path.cwd())
    if config is None:
        raise Failure("no configuration found: set BASCULE_CONFIG")
    targets = alarm_targets(load_settings(config), os.environ)
    if not targets:
        raise Failure(f"{config}: alarms names neither url nor command, so nobody is told")
    return targets


async def _tell_all(targets: "list[Target]") -> list[Finding]:
    from libs.common.policy.alarms import Message

    message = Message(
        id=f"test-{secrets.token_hex(8)}",
        type="test",
        text=f"Bascule: a test from {socket.gethostname()}; nothing is wrong",
        at_ms=time.time_ns() // 1_000_000,
    )
    found = []
    for target in targets:
        found.append(_finding(target, await target.deliver(message)))
        await target.aclose()
    return found


def _finding(target: "Target", delivery: "Delivery") -> Finding:
    from libs.common.runtime.alarm_targets import Failed

    subject = f"alarms {target.name}"
    if isinstance(delivery, Failed):
        return wrong(
            subject,
            f"{target.shown}: {delivery.reason}",
            f"look at who takes it, and at alarms.{target.name}",
        )
    return ok(subject, f"{target.shown} took it")


def _list_raised(*, as_json: bool) -> int:
    async def look(readings: "Readings") -> "tuple[Spread[list[Alarm]], int]":
        spread = await readings.each(lambda one: one.alarms.raised())
        spread.need_any()
        return spread, await readings.now_ms()

    spread, now_ms = ask(find_bridge(), look)
    found = all_raised(spread)
    if as_json:
        write_json([alarm_document(one) for one in found])
    else:
        rows = [(one.kind, one.subject, when(one.raised_at_ms, now_ms), one.detail) for one in found]
        write_table(("KIND", "OF", "RAISED", "DETAIL"), rows)
    return _note_away(spread)


def _list_notices(limit: int, *, as_json: bool) -> int:
    async def look(readings: "Readings") -> "tuple[Spread[list[Notice]], int]":
        spread = await readings.each(lambda one: one.alarms.newest_notices(limit))
        spread.need_any()
        return spread, await readings.now_ms()

    spread, now_ms = ask(find_bridge(), look)
    every = [notice for notices in spread.answers.values() for notice in notices]
    found = sorted(every, key=lambda one: one.at_ms, reverse=True)[:limit]
    if as_json:
        write_json([_notice_document(one) for one in found])
    else:
        rows = [(when(one.at_ms, now_ms), one.change, one.kind, one.subject, one.detail) for one in found]
        write_table(("WHEN", "WHAT", "KIND", "OF", "DETAIL"), rows)
    return _note_away(spread)


def _note_away(spread: "Spread[list[Alarm]] | Spread[list[Notice]]") -> int:
    """Say what is left out; return the exit code."""
    from libs.common.store.fan_out import shards_in_words

    if not spread.away:
        return ExitCode.OK
    note(f"without {shards_in_words(spread.away)}, which did not answer")
    return ExitCode.DEGRADED


def _notice_document(notice: "Notice") -> Document:
    return {
        "at_ms": notice.at_ms,
        "state": notice.change,
        "kind": notice.kind,
        "subject": notice.subject or None,
        "detail": notice.detail,
        "shard": notice.shard,
    }
