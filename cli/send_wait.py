"""What became of the alerts that `bascule send` has posted."""

import time
from collections import Counter
from typing import TYPE_CHECKING

from cli.alerts import show_alert
from cli.context import Bridge, ask
from cli.documents import Document, alert_document
from cli.output import Failure, cell, painted, span, write
from cli.send_post import is_accepted
from cli.waiting import ENDED_WELL, until_ended
from libs.common.domain.errors import BridgeError

if TYPE_CHECKING:
    from libs.common.store.journal import JournalEntry
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord

Outcomes = dict[str, "tuple[AlertRecord, list[JournalEntry]]"]
"""Alert id -> its record and its history."""


def wait_for(bridge: Bridge, answers: list[Document], timeout_ms: int) -> tuple[Outcomes, str]:
    """Return what became of the accepted alerts, and in words why that is not the end of it; empty where it is."""
    ids = [answer["alert_id"] for answer in answers if is_accepted(answer) and "alert_id" in answer]
    if not ids:
        return {}, ""
    try:
        outcomes = ask(bridge, lambda readings: _outcomes(readings, ids, timeout_ms))
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


async def _outcomes(readings: "Readings", ids: list[str], timeout_ms: int) -> Outcomes:
    """Return what became of these alerts, by id, once all have ended or the time is up.

    Raises:
        StoreUnavailable: No answer when the time was up.
    """
    from libs.common.domain.ids import AlertId

    records = await until_ended(readings.alerts, (AlertId(name) for name in ids), timeout_ms)
    return {record.alert.alert_id: (record, await readings.history(record)) for record in records}


def _state(outcomes: Outcomes, alert_id: str) -> str:
    decisive = outcomes[alert_id][0].decisive if alert_id in outcomes else None
    return "not on record" if decisive is None else f"{decisive.state} ({cell(decisive.reason)})"


def ended_well(answer: Document, outcomes: Outcomes) -> bool:
    """Return whether the alert of an answer did what it was meant to."""
    outcome = outcomes.get(answer.get("alert_id", ""))
    decisive = None if outcome is None else outcome[0].decisive
    return decisive is not None and decisive.state in ENDED_WELL


def outcome_document(answer: Document, outcomes: Outcomes) -> Document:
    """Return an answer with what became of its alert, as far as that is known."""
    outcome = outcomes.get(answer.get("alert_id", ""))
    if outcome is None:
        return answer | {"alert": None, "has_ended": None}
    return answer | {"alert": alert_document(outcome[0]), "has_ended": outcome[0].has_ended}


def show_outcomes(outcomes: Outcomes, count: int) -> None:
    """Write what became of the alerts: of the only post in full, of several a line each."""
    if count == 1 and outcomes:
        [(record, history)] = outcomes.values()
        write()
        show_alert(record, history, int(time.time() * 1_000))
    elif count > 1:
        for alert_id, (record, _) in outcomes.items():
            decisive = record.decisive
            if decisive is not None:
                write(f"alert {alert_id} {painted(decisive.state)} ({cell(decisive.reason)})")
