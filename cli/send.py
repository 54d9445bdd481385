"""`bascule send`: posts sample alerts, as TradingView would."""

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli import webhook_secret
from cli.addresses import webhook_url
from cli.alerts import show_alert
from cli.context import Bridge, find_bridge, run, var_directories
from cli.documents import Document, alert_document
from cli.exit_codes import ExitCode
from cli.filters import duration_ms, json_option
from cli.output import Failure, cell, note, painted, write, write_json

if TYPE_CHECKING:
    from libs.common.store.journal import JournalEntry
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord

POST_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.05

_WELL: Final = frozenset({"EXECUTED", "SKIPPED"})


@click.command(name="send")
@click.option("--symbol", default="BTCUSDT", show_default=True, help="As TradingView writes it.")
@click.option("--action", default="buy", show_default=True, help="buy or sell.")
@click.option("--price", help="The reference price; the account's default without it.")
@click.option("--quantity", help="Base units; the account's default without it.")
@click.option(
    "--id", "sender_id", help="The alert's id; a fresh one without it. The same one again is a duplicate."
)
@click.option(
    "--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many to post."
)
@click.option("--url", help="Where to; the running bridge's ingress without it.")
@click.option(
    "--wait", "is_waiting", is_flag=True, help="Wait until they ended and show what became of them."
)
@click.option(
    "--timeout",
    "timeout_ms",
    default="60s",
    show_default=True,
    callback=duration_ms,
    help="How long --wait waits.",
)
@json_option
def command(
    symbol: str,
    action: str,
    price: str | None,
    quantity: str | None,
    sender_id: str | None,
    count: int,
    url: str | None,
    is_waiting: bool,
    timeout_ms: int,
    as_json: bool,
) -> int:
    """Post sample alerts to the running bridge.

    Values are posted as they are given, so that refusals can be tried out too.
    """
    bridge = None if url is not None and not is_waiting else find_bridge()
    target = _target(bridge, url)
    fields = {"symbol": symbol, "action": action, "price": price, "quantity": quantity}
    body = {"secret": _secret(bridge)} | {name: value for name, value in fields.items() if value is not None}
    bodies = [body | {"id": sender_id or f"send-{secrets.token_hex(8)}"} for _ in range(count)]
    answers = asyncio.run(_post_all(target, bodies))
    outcomes: dict[str, tuple[AlertRecord, list[JournalEntry]]] = {}
    if is_waiting and bridge is not None:
        outcomes = run(bridge.redis_url, lambda readings: _outcomes(readings, answers, timeout_ms / 1_000))
    if as_json:
        documents = [_document(answer, outcomes, is_waiting=is_waiting) for answer in answers]
        write_json(documents[0] if count == 1 else documents)
    else:
        _show(answers, outcomes, is_waiting=is_waiting)
        public_url = None if bridge is None or url is not None else bridge.public_url()
        if public_url is not None:
            note(f"posted to {target}; TradingView posts to {public_url}")
    is_well = all(_is_accepted(answer) for answer in answers)
    if is_waiting:
        is_well = is_well and all(_ended_well(answer, outcomes) for answer in answers)
    return ExitCode.OK if is_well else ExitCode.FAILED


def _target(bridge: Bridge | None, url: str | None) -> str:
    from urllib.parse import urlsplit

    base = url
    if base is None and bridge is not None:
        base = bridge.ingress_url()
    if base is None:
        raise Failure("nothing says where the ingress is: give --url, or set BASCULE_CONFIG")
    if urlsplit(base).scheme not in {"http", "https"}:
        raise click.UsageError(f'--url: got "{base}", expected an http:// or https:// address')
    return base if urlsplit(base).path not in {"", "/"} else webhook_url(base)


def _secret(bridge: Bridge | None) -> str:
    """Return the default webhook's secret: from the environment, else the one `make up` keeps.

    Raises:
        Failure: There is neither.
        ConfigError: It is there, but empty or not to be read.
    """
    from libs.common.runtime.secrets import has_secret, read_secret

    name = _secret_name(bridge)
    if has_secret(name, os.environ):
        return read_secret(name, os.environ).reveal()
    own = [] if bridge is None or bridge.var is None else [bridge.var]
    kept = webhook_secret.find_kept([*own, *var_directories(Path.cwd())])
    if name == webhook_secret.VARIABLE and kept is not None:
        return webhook_secret.read_kept(kept)
    raise Failure(f"no webhook secret: set {name} to the one that the bridge has")


def _secret_name(bridge: Bridge | None) -> str:
    from libs.common.runtime.settings import DEFAULT_WEBHOOK

    settings = None if bridge is None else bridge.settings()
    return webhook_secret.VARIABLE if settings is None else settings.webhooks[DEFAULT_WEBHOOK].secret


async def _post_all(url: str, bodies: list[dict[str, str]]) -> list[Document]:
    """Post one after the other over one connection, and return status and body of each answer.

    Raises:
        Failure: Nobody answers there.
    """
    import httpx
    import orjson

    headers = {"content-type": "application/json"}
    answers: list[Document] = []
    # A proxy from the environment has no business between us and our own bridge.
    async with httpx.AsyncClient(timeout=POST_TIMEOUT_S, trust_env=False) as client:
        for body in bodies:
            try:
                answer = await client.post(url, content=orjson.dumps(body), headers=headers)
            except httpx.TimeoutException as error:
                raise Failure(f"no answer from {url} within {POST_TIMEOUT_S:g} s") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Failure(f"no answer from {url}: {str(error) or type(error).__name__}") from error
            answers.append({"status": answer.status_code} | _body_of(answer.content))
    return answers


def _body_of(content: bytes) -> Document:
    import orjson

    try:
        body: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"body": content.decode("utf-8", "replace")}


async def _outcomes(
    readings: "Readings", answers: list[Document], timeout_s: float
) -> "dict[str, tuple[AlertRecord, list[JournalEntry]]]":
    """Return what became of the accepted alerts, by id, once all have ended or the time is up."""
    from libs.common.domain.ids import AlertId

    ids = [AlertId(answer["alert_id"]) for answer in answers if _is_accepted(answer) and "alert_id" in answer]
    deadline_s = time.monotonic() + timeout_s
    while True:
        records = await readings.records.alerts(list(dict.fromkeys(ids)))
        if all(record.has_ended for record in records) or time.monotonic() >= deadline_s:
            break
        await asyncio.sleep(POLL_S)
    return {record.alert.alert_id: (record, await readings.history(record)) for record in records}


def _is_accepted(answer: Document) -> bool:
    return int(answer["status"]) // 100 == 2


def _ended_well(answer: Document, outcomes: "dict[str, tuple[AlertRecord, list[JournalEntry]]]") -> bool:
    outcome = outcomes.get(answer.get("alert_id", ""))
    decisive = None if outcome is None else outcome[0].decisive
    return decisive is not None and decisive.state in _WELL


def _document(
    answer: Document, outcomes: "dict[str, tuple[AlertRecord, list[JournalEntry]]]", *, is_waiting: bool
) -> Document:
    if not is_waiting:
        return answer
    outcome = outcomes.get(answer.get("alert_id", ""))
    return answer | {"alert": None if outcome is None else alert_document(outcome[0])}


def _show(
    answers: list[Document],
    outcomes: "dict[str, tuple[AlertRecord, list[JournalEntry]]]",
    *,
    is_waiting: bool,
) -> None:
    for answer in answers:
        write(f"{answer['status']} {_words(answer)}{_fate(answer, outcomes) if is_waiting else ''}")
    if len(answers) == 1 and outcomes:
        [(record, history)] = outcomes.values()
        write()
        show_alert(record, history, int(time.time() * 1_000))
    elif len(answers) == 1 and _is_accepted(answers[0]) and not is_waiting:
        note(f"what becomes of it: bascule alerts {answers[0].get('alert_id')}")
    elif len(answers) > 1:
        accepted = sum(_is_accepted(answer) for answer in answers)
        duplicates = sum(bool(answer.get("duplicate")) for answer in answers)
        note(f"{len(answers)} posted: {accepted} accepted, {duplicates} of them duplicates")


def _words(answer: Document) -> str:
    if _is_accepted(answer):
        return f"alert {cell(answer.get('alert_id'))}{', a duplicate' if answer.get('duplicate') else ''}"
    error = answer.get("error")
    if isinstance(error, dict):
        return f"{cell(error.get('code'))}: {cell(error.get('detail'))}"
    return cell(answer.get("body"))


def _fate(answer: Document, outcomes: "dict[str, tuple[AlertRecord, list[JournalEntry]]]") -> str:
    outcome = outcomes.get(answer.get("alert_id", ""))
    if outcome is None or outcome[0].decisive is None:
        return ""
    decisive = outcome[0].decisive
    return f" {painted(decisive.state)} ({cell(decisive.reason)})"
