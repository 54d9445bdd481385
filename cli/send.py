"""`bascule send`: posts sample alerts, as TradingView would."""

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli import webhook_secret
from cli.addresses import webhook_url
from cli.alerts import show_alert
from cli.context import Bridge, ask, find_bridge, var_directories
from cli.documents import Document, alert_document
from cli.exit_codes import ExitCode
from cli.filters import duration_ms, json_option
from cli.output import Failure, cell, note, painted, span, write, write_json
from cli.own_command import own_command
from libs.common.domain.errors import BridgeError, StoreUnavailable

if TYPE_CHECKING:
    import httpx

    from libs.common.store.journal import JournalEntry
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord

POST_TIMEOUT_S: Final = 5.0
POLL_S: Final = 0.05
FAILURES_IN_A_ROW: Final = 3
"""After so many posts without an answer the rest is not posted."""

Outcomes = dict[str, "tuple[AlertRecord, list[JournalEntry]]"]
"""Alert id -> its record and its history."""

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
    bodies = (body | {"id": sender_id or f"send-{secrets.token_hex(8)}"} for _ in range(count))
    answers = asyncio.run(_post_all(target, bodies, (lambda _: None) if as_json else _say_answer))
    outcomes, problem = Outcomes(), ""
    if is_waiting and bridge is not None:
        outcomes, problem = _wait(bridge, answers, timeout_ms)
    if as_json:
        documents = [_document(answer, outcomes, is_waiting=is_waiting) for answer in answers]
        write_json(documents[0] if count == 1 else documents)
    else:
        _show(answers, outcomes, count=count, is_waiting=is_waiting)
        public_url = None if bridge is None or url is not None else bridge.public_url()
        if public_url is not None:
            note(f"posted to {target}; TradingView posts to {public_url}")
    if problem:
        note(f"bascule: {problem}")
    is_well = len(answers) == count and all(_is_accepted(answer) for answer in answers)
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
    named = None if settings is None else settings.webhooks[DEFAULT_WEBHOOK].secret
    return named or webhook_secret.VARIABLE


async def _post_all(
    url: str, bodies: Iterable[dict[str, str]], tell: Callable[[Document], None]
) -> list[Document]:
    """Post one after the other over one connection, and return status and body of each answer.

    A post without an answer has no status, and an error that says why. Where nobody listens, or several in a row get
    no answer, the rest is not posted.

    Args:
        url: Where to.
        bodies: What.
        tell: Called with each answer as it comes.

    Raises:
        Failure: The address cannot be used.
    """
    import httpx
    import orjson

    headers = {"content-type": "application/json"}
    answers: list[Document] = []
    failures = 0
    # A proxy from the environment has no business between us and our own bridge.
    async with httpx.AsyncClient(timeout=POST_TIMEOUT_S, trust_env=False) as client:
        for body in bodies:
            try:
                answer = await client.post(url, content=orjson.dumps(body), headers=headers)
            except httpx.InvalidURL as error:
                raise Failure(f"no answer from {url}: {error}") from error
            except httpx.HTTPError as error:
                answers.append(_unanswered(url, body["id"], error))
                failures = FAILURES_IN_A_ROW if isinstance(error, httpx.ConnectError) else failures + 1
            else:
                answers.append({"status": answer.status_code} | _body_of(answer.content))
                failures = 0
            tell(answers[-1])
            if failures >= FAILURES_IN_A_ROW:
                break
    return answers


def _unanswered(url: str, sender_id: str, error: "httpx.HTTPError") -> Document:
    """Return what stands for the answer to a post that got none."""
    import httpx

    said = f": {error}" if str(error) else ""
    match error:
        case httpx.ConnectError():
            why = f"cannot connect{said}"
        case httpx.TimeoutException():
            why = f"none within {POST_TIMEOUT_S:g} s; the alert may have come in: id {sender_id}"
        case httpx.NetworkError() | httpx.ProtocolError():
            why = f"the connection ended before one came{said}; the alert may have come in: id {sender_id}"
        case _:
            why = str(error) or type(error).__name__
    return {
        "status": None,
        "error": {"code": "no_answer", "detail": f"no answer from {url}: {why}"},
        "id": sender_id,
    }


def _body_of(content: bytes) -> Document:
    import orjson

    try:
        body: Any = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"body": content.decode("utf-8", "replace")}


def _wait(bridge: Bridge, answers: list[Document], timeout_ms: int) -> tuple[Outcomes, str]:
    """Return what became of the accepted alerts, and in words why that is not the end of it; empty where it is."""
    ids = [answer["alert_id"] for answer in answers if _is_accepted(answer) and "alert_id" in answer]
    if not ids:
        return {}, ""
    try:
        outcomes = ask(bridge, lambda readings: _outcomes(readings, ids, timeout_ms / 1_000))
    except (Failure, BridgeError) as error:
        return {}, f"the wait ended: {error}"
    ended = {alert_id for alert_id, (record, _) in outcomes.items() if record.has_ended}
    open_ids = dict.fromkeys(alert_id for alert_id in ids if alert_id not in ended)
    if not open_ids:
        return outcomes, ""
    states = Counter(_state(outcomes, alert_id) for alert_id in open_ids)
    so_far = ", ".join(
        f"{number} {state}" if len(open_ids) > 1 else state for state, number in states.items()
    )
    whose = f"{len(open_ids)} of {len(set(ids))} alerts have" if len(set(ids)) > 1 else "the alert has"
    return outcomes, f"the wait of {span(timeout_ms)} ended before {whose} ended; so far: {so_far}"


async def _outcomes(readings: "Readings", ids: list[str], timeout_s: float) -> Outcomes:
    """Return what became of these alerts, by id, once all have ended or the time is up.

    Raises:
        StoreUnavailable: No answer when the time was up.
    """
    from libs.common.domain.ids import AlertId

    names = [AlertId(name) for name in dict.fromkeys(ids)]
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            records = await readings.records.alerts(names)
            if all(record.has_ended for record in records) or time.monotonic() >= deadline_s:
                return {record.alert.alert_id: (record, await readings.history(record)) for record in records}
        except StoreUnavailable:  # a restart of Redis passes
            if time.monotonic() >= deadline_s:
                raise
        await asyncio.sleep(POLL_S)


def _state(outcomes: Outcomes, alert_id: str) -> str:
    decisive = outcomes[alert_id][0].decisive if alert_id in outcomes else None
    return "not on record" if decisive is None else f"{decisive.state} ({cell(decisive.reason)})"


def _is_accepted(answer: Document) -> bool:
    return answer["status"] is not None and answer["status"] // 100 == 2


def _ended_well(answer: Document, outcomes: Outcomes) -> bool:
    outcome = outcomes.get(answer.get("alert_id", ""))
    decisive = None if outcome is None else outcome[0].decisive
    return decisive is not None and decisive.state in _WELL


def _document(answer: Document, outcomes: Outcomes, *, is_waiting: bool) -> Document:
    if not is_waiting:
        return answer
    outcome = outcomes.get(answer.get("alert_id", ""))
    if outcome is None:
        return answer | {"alert": None, "has_ended": None}
    return answer | {"alert": alert_document(outcome[0]), "has_ended": outcome[0].has_ended}


def _say_answer(answer: Document) -> None:
    """Write an answer as soon as it is there."""
    if answer["status"] is None:
        note(f"bascule: {answer['error']['detail']}")
    elif _is_accepted(answer):
        duplicate = ", a duplicate" if answer.get("duplicate") else ""
        write(f"{answer['status']} alert {cell(answer.get('alert_id'))}{duplicate}")
    else:
        error: Any = answer.get("error")
        is_ours = isinstance(error, dict)
        words = (
            f"{cell(error.get('code'))}: {cell(error.get('detail'))}" if is_ours else cell(answer.get("body"))
        )
        write(f"{answer['status']} {words}")


def _show(answers: list[Document], outcomes: Outcomes, *, count: int, is_waiting: bool) -> None:
    """Write what there is to say after the answers."""
    if count == 1 and outcomes:
        [(record, history)] = outcomes.values()
        write()
        show_alert(record, history, int(time.time() * 1_000))
    elif count == 1 and _is_accepted(answers[0]) and not is_waiting:
        note(f"what becomes of it: {own_command()} alerts {answers[0].get('alert_id')}")
    elif count > 1:
        for alert_id, (record, _) in outcomes.items():
            decisive = record.decisive
            if decisive is not None:
                write(f"alert {alert_id} {painted(decisive.state)} ({cell(decisive.reason)})")
        note(_summary(answers, count))


def _summary(answers: list[Document], count: int) -> str:
    accepted = sum(_is_accepted(answer) for answer in answers)
    duplicates = sum(bool(answer.get("duplicate")) for answer in answers)
    unanswered = sum(answer["status"] is None for answer in answers)
    words = f"{len(answers)} posted: {accepted} accepted, {duplicates} of them duplicates"
    if unanswered:
        words += f"; {unanswered} without an answer"
    if len(answers) < count:
        words += f"; stopped there, {count - len(answers)} were not posted"
    return words
