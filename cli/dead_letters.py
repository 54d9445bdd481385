"""`bascule dead-letters`: what was given up, to be looked at, replayed or discarded."""

import os
import re
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, assert_never

import click

from cli.context import ask, find_bridge
from cli.documents import history_document, letter_document
from cli.filters import account_option, duration_ms, is_same, json_option, list_options
from cli.listing import Columns, list_newest
from cli.naming import find_beginning
from cli.output import NOTHING, Failure, cell, local_time, note, table, when, write, write_json
from cli.stop_words import stop_words
from libs.common.domain.lifecycle import DEAD_LETTERED, InstructionState
from libs.common.wire.trace_context import stored_context

if TYPE_CHECKING:
    from libs.common.store.dead_letters import DeadLetter, Discard, Replay
    from libs.common.store.journal import JournalEntry
    from libs.common.store.readings import Readings

COLUMNS: Final[Columns] = MappingProxyType(
    {
        "DEAD LETTER": "dead_letter_id",
        "GIVEN UP": "at_ms",
        "ACCOUNT": "account",
        "SYMBOL": "symbol",
        "STATE": "state",
        "REASON": "reason",
        "ATTEMPTS": "attempts",
        "ALERT": "alert_id",
        "DETAIL": lambda document: stop_words(document["detail"] or ""),
    }
)

TRACED_WITHIN_S: Final = 2.0
"""How long a command waits for the collector."""

_LETTER_ID: Final = re.compile(r"\d{1,20}-\d{1,20}", re.ASCII)


@click.group(name="dead-letters")
def command() -> None:
    """List, show, replay or discard dead letters.

    An ID is a dead letter's own, or its alert's; its beginning is enough. Where it fits those of several accounts,
    --account says which.
    """


@command.command(name="list")
@list_options(state for state in InstructionState if state in DEAD_LETTERED)
@click.option("--reason", help="Only this reason, for example poison or too_old.")
def list_(
    limit: int,
    since_ms: int | None,
    state: str | None,
    symbol: str | None,
    account: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """List dead letters, newest first."""

    def matches(letter: "DeadLetter") -> bool:
        return (
            is_same(state, letter.state)
            and is_same(symbol, letter.market)
            and is_same(account, letter.account)
            and is_same(reason, letter.reason)
        )

    list_newest(
        find_bridge(),
        lambda readings, from_ms: readings.newest_letters(limit=limit, since_ms=from_ms, matches=matches),
        letter_document,
        COLUMNS,
        since_ms=since_ms,
        as_json=as_json,
        account=account,
    )


@command.command()
@click.argument("name", metavar="ID")
@account_option
@json_option
def show(name: str, account: str | None, as_json: bool) -> None:
    """Show a dead letter with its instruction and history."""

    async def look_up(readings: "Readings") -> "tuple[DeadLetter, list[JournalEntry], int]":
        letter = await _find(readings, name, account)
        return letter, await _history(readings, letter), await readings.now_ms()

    letter, history, now_ms = ask(find_bridge(), look_up)
    trace = stored_context(letter.body.encode(errors="replace"))
    trace_id = None if trace is None else trace.trace_id
    document = letter_document(letter) | {
        "trace_id": trace_id,
        "body": letter.body,
        "history": [history_document(entry) for entry in history],
    }
    if as_json:
        write_json(document)
        return
    facts = (
        ("dead letter", letter.letter_id),
        ("given up", when(letter.at_ms, now_ms)),
        ("alert", letter.alert_id),
        ("account", letter.account),
        ("symbol", letter.market),
        ("state", f"{letter.state} ({letter.reason})"),
        ("detail", stop_words(letter.detail)),
        ("attempts", letter.attempts),
        ("trace", trace_id or NOTHING),
        ("body", letter.body),
    )
    for label, value in facts:
        write(f"{label:<13}{cell(value)}")
    if history:
        write()
        rows = [
            (
                local_time(entry.at_ms, is_exact=True),
                entry.event,
                entry.reason or (f"order {entry.client_order_id}" if entry.client_order_id else None),
                f"attempt {entry.detail}" if entry.is_attempt else stop_words(entry.detail),
            )
            for entry in history
        ]
        for line in table(("TIME", "EVENT", "REASON", "DETAIL"), rows):
            write(line)


@command.command()
@click.argument("name", metavar="ID")
@click.option(
    "--max-age",
    "max_age_ms",
    default="60s",
    show_default=True,
    callback=duration_ms,
    help="How long it may wait before it expires instead of trading.",
)
@account_option
@json_option
def replay(name: str, max_age_ms: int, account: str | None, as_json: bool) -> None:
    """Queue a dead letter again, at the end of its lane. Once: the letter is gone then."""

    async def do(readings: "Readings") -> "tuple[DeadLetter, Replay]":
        letter = await _find(readings, name, account)
        return letter, await readings.replay(letter, max_age_ms=max_age_ms)

    started_at_ns = time_ns()
    letter, outcome = ask(find_bridge(), do)
    _trace_replay(outcome, started_at_ns)
    _say_replay(letter, outcome, as_json=as_json)


@command.command()
@click.argument("name", metavar="ID")
@account_option
@json_option
def discard(name: str, account: str | None, as_json: bool) -> None:
    """Drop a dead letter for good; its alert's history keeps that it was."""

    async def do(readings: "Readings") -> "tuple[DeadLetter, Discard]":
        letter = await _find(readings, name, account)
        return letter, await readings.discard(letter)

    letter, outcome = ask(find_bridge(), do)
    from libs.common.store.dead_letters import Gone

    if isinstance(outcome, Gone):
        raise Failure(_gone(letter.letter_id))
    _done(letter, "discarded", as_json=as_json)


def _trace_replay(outcome: "Replay", started_at_ns: int) -> None:
    """Export the span that the new trace begins with, where tracing is on here as at the services."""
    from libs.common.domain.errors import ConfigError
    from libs.common.store.dead_letters import Replayed
    from libs.common.telemetry.tracing_settings import tracing_settings
    from libs.common.telemetry.upkeep_spans import replay_record

    if not isinstance(outcome, Replayed) or not outcome.traceparent:
        return
    try:
        settings = tracing_settings(os.environ)
    except ConfigError as error:
        note(f"not traced: {error}")
        return
    record = replay_record(
        outcome.traceparent,
        outcome.replay_of,
        outcome.alert_id,
        outcome.account,
        started_at_ns,
        time_ns(),
    )
    if settings is not None and record is not None:
        from libs.common.runtime.open_tracing import hello_of
        from libs.common.telemetry.span_exporter import export_one

        export_one(record, hello_of("command"), settings.protocol, TRACED_WITHIN_S)


def _say_replay(letter: "DeadLetter", outcome: "Replay", *, as_json: bool) -> None:
    from libs.common.store.dead_letters import Gone, Malformed, NoRecord, NotDead, Replayed

    match outcome:
        case Replayed():
            _done(letter, "replayed", as_json=as_json)
        case Gone():
            raise Failure(_gone(letter.letter_id))
        case NotDead(state):
            raise Failure(f"not replayed: its instruction is {state} by now")
        case NoRecord():
            raise Failure(
                f"not replayed: {letter.attempts} attempts were made and the record of the order is gone, so whether "
                "it traded cannot be told; look at the venue and discard the letter"
            )
        case Malformed():
            raise Failure("not replayed: it holds nothing that could be executed; discard it")
        case _:
            assert_never(outcome)


async def _find(readings: "Readings", name: str, account: str | None) -> "DeadLetter":
    """Return the one letter whose id, or whose alert's, is or begins with `name`; of this account where one is named.

    Raises:
        Failure: There is none, or more than one.
    """
    from libs.common.domain.ids import DeadLetterId

    if _LETTER_ID.fullmatch(name):
        found = [one for one in await readings.letters(DeadLetterId(name)) if is_same(account, one.account)]
        if not found:
            raise Failure(_gone(name))
        if len(found) > 1:
            whose = ", ".join(one.account for one in found)
            raise Failure(
                f"{name} names a dead letter of each of several accounts, choose with --account: {whose}"
            )
        return found[0]

    def matches(letter: "DeadLetter") -> bool:
        is_named = letter.alert_id.startswith(name) or letter.letter_id.startswith(name)
        return is_named and is_same(account, letter.account)

    return await find_beginning(
        name,
        lambda limit: readings.newest_letters(limit=limit, matches=matches),
        lambda letter: f"{letter.letter_id} ({letter.account})",
        kind="dead letter",
        missing=_gone(name),
        choice="give the id of one" if account else "give the id of one, or choose with --account",
    )


async def _history(readings: "Readings", letter: "DeadLetter") -> "list[JournalEntry]":
    from libs.common.domain.ids import AlertId

    record = await readings.alert(AlertId(letter.alert_id)) if letter.alert_id else None
    if record is None:
        return []
    return [entry for entry in await readings.history(record) if entry.account == letter.account]


def _gone(name: str) -> str:
    return f"no dead letter {name}: replayed or discarded already, or never there"


def _done(letter: "DeadLetter", outcome: str, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "dead_letter_id": letter.letter_id,
                "outcome": outcome,
                "alert_id": letter.alert_id or None,
                "account": letter.account or None,
            }
        )
    else:
        write(f"{outcome} {letter.letter_id}: alert {cell(letter.alert_id)}, account {cell(letter.account)}")
