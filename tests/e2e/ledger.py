"""What must be true of a whole run, told from the venue's ledger, the journal and the records left in Redis."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.http_client import Answer
from tests.support.stray_keys import assert_no_stray_keys
from tests.support.venue import Venue

PREFIX: Final = "bascule:{s0}:"
JOURNAL: Final = f"{PREFIX}journal"
READY: Final = f"{PREFIX}ready"
LANES: Final = f"{PREFIX}lanes"
PARKED: Final = f"{PREFIX}parked"
BREAKERS: Final = f"{PREFIX}breakers"
SHOWN: Final = 10


@dataclass(frozen=True)
class Event:
    """One entry of the journal."""

    at_ms: int
    event: str
    alert_id: str
    lane: str
    reason: str
    detail: str


def journal(bridge: Bridge) -> list[Event]:
    """Return every state change, oldest first."""
    entries: list[tuple[str, dict[str, str]]] = bridge.client.xrange(JOURNAL)
    return [
        Event(
            int(entry_id.partition("-")[0]),
            fields["event"],
            fields["alert"],
            fields["lane"],
            fields["reason"],
            fields["detail"],
        )
        for entry_id, fields in entries
    ]


def lane_of(symbol: str) -> str:
    """Return the lane of a symbol of the bridge's one account."""
    return f"{ACCOUNT}:{symbol}"


def accepted_ids(answers: Iterable[Answer]) -> list[str]:
    """Return the alert ids of the answers that said 200, in their order."""
    return [answer.body["alert_id"] for answer in answers if answer.status == 200]


def all_accepted(answers: Sequence[Answer]) -> list[str]:
    """Return the alert ids; fail unless every answer says 200."""
    statuses = Counter(answer.status for answer in answers)
    wrong = [answer for answer in answers if answer.status != 200]
    assert set(statuses) == {200}, f"answers: {dict(statuses)}; the first: {wrong[:3]}"
    return accepted_ids(answers)


def assert_executed_once(bridge: Bridge, venue: Venue, alert_ids: Iterable[str]) -> None:
    """Fail unless each of these alerts ended EXECUTED with one order at the venue, and nothing traded twice."""
    wanted = set(alert_ids)
    ledger = venue.ledger()
    assert_never_twice(ledger)
    traded = {entry["alert_id"] for entry in ledger}
    lost = wanted - traded
    assert not lost, f"{len(lost)} of {len(wanted)} alerts never traded: {_histories(bridge, lost)}"
    states = bridge.instruction_states()
    wrong = {alert: states.get(f"{alert}:{ACCOUNT}") for alert in wanted}
    wrong = {alert: state for alert, state in wrong.items() if state != "EXECUTED"}
    assert not wrong, f"{len(wrong)} alerts not EXECUTED: {_histories(bridge, wrong)}"


def assert_never_twice(ledger: Iterable[dict[str, Any]]) -> None:
    """Fail if the venue executed one client order id, or one alert, more than once."""
    lines = list(ledger)
    for key in ("client_order_id", "alert_id"):
        counts = Counter(entry[key] for entry in lines)
        doubles = [name for name, count in counts.items() if count > 1]
        shown = [entry for entry in lines if entry[key] in doubles[:3]]
        assert not doubles, f"{len(doubles)} times the same {key} twice: {shown}"


def assert_in_order(bridge: Bridge, venue: Venue, alert_ids: Sequence[str] = ()) -> None:
    """Fail unless every symbol traded in the order of acceptance.

    Args:
        bridge: Whose journal tells the order in which each lane got its entries.
        venue: Whose ledger tells the order of execution.
        alert_ids: Alerts in the order in which they were sent, each after the answer to the one of its symbol
            before; empty where they were not sent in order.
    """
    ledger = venue.ledger()
    traded = {entry["alert_id"] for entry in ledger}
    executed: dict[str, list[str]] = defaultdict(list)
    for entry in ledger:
        executed[entry["symbol"]].append(entry["alert_id"])
    symbol_of = {entry["alert_id"]: entry["symbol"] for entry in ledger}
    queued: dict[str, list[str]] = defaultdict(list)
    for event in journal(bridge):
        if event.event == "QUEUED" and event.alert_id in traded:
            queued[symbol_of[event.alert_id]].append(event.alert_id)
    sent: dict[str, list[str]] = defaultdict(list)
    for alert_id in alert_ids:
        if alert_id in traded:
            sent[symbol_of[alert_id]].append(alert_id)
    for symbol, alerts in executed.items():
        assert alerts == queued[symbol], f"{symbol}: {_first_difference(queued[symbol], alerts)}"
        if alert_ids:
            assert alerts == sent[symbol], f"{symbol}, as sent: {_first_difference(sent[symbol], alerts)}"


def assert_nobody_reclaimed(bridge: Bridge) -> None:
    """Fail if any lane was taken from a worker."""
    reclaimed = [event for event in journal(bridge) if event.event == "RECLAIMED"]
    assert not reclaimed, f"{len(reclaimed)} lanes reclaimed: {reclaimed[:SHOWN]}"
    lost = {name: count for name, count in lost_holders(bridge).items() if count}
    assert not lost, f"{len(lost)} instructions lost a holder: {lost}"


def lost_holders(bridge: Bridge) -> dict[str, int]:
    """Return how many holders each instruction lost."""
    return {name: int(record.get("lost_holders") or 0) for name, record in bridge.instructions().items()}


def assert_no_failures(bridge: Bridge) -> None:
    """Fail if a service logged an exception or wrote to stderr."""
    broken = [
        event
        for event in bridge.log()
        if event.get("event")
        in {"lane_failed", "lane_not_parked", "pass_broke", "post_failed", "service_failed"}
    ]
    assert not broken, f"{len(broken)} failures: {broken[:3]}"
    written = {service.label: service.errors() for service in bridge.services if service.errors()}
    assert not written, f"written on stderr: {written}"


async def assert_clean(bridge: Bridge, timeout_s: float = 5.0) -> None:
    """Wait until nothing is left to do, and fail on keys that neither expire nor are declared permanent."""

    def is_clean() -> bool:
        left = {
            "fences": bridge.client.hgetall(LANES),
            "tokens": bridge.client.xrange(READY),
            "parked": bridge.client.zrange(PARKED, 0, -1),
            "streams": sorted(bridge.client.scan_iter(match=f"{PREFIX}lane:*", count=2_000)),
        }
        assert not any(left.values()), f"left: { {name: what for name, what in left.items() if what} }"
        return True

    await eventually(is_clean, timeout_s, message="lanes, tokens and parked are empty")
    assert_no_stray_keys(bridge.client)


async def assert_whole_run(
    bridge: Bridge, venue: Venue, alert_ids: Sequence[str], *, is_sent_in_order: bool = True
) -> None:
    """Fail unless each alert traded once and in order, none ended as a dead letter, and nothing is left over."""
    assert_executed_once(bridge, venue, alert_ids)
    assert_in_order(bridge, venue, alert_ids if is_sent_in_order else ())
    letters = bridge.dead_letters()
    assert not letters, f"{len(letters)} dead letters: {letters[:SHOWN]}"
    await assert_clean(bridge)
    assert_no_failures(bridge)


def _histories(bridge: Bridge, alert_ids: Iterable[str]) -> str:
    """Return what the journal says of the first of these alerts."""
    shown = sorted(alert_ids)[:3]
    events = journal(bridge)
    return str({alert: [event for event in events if event.alert_id == alert] for alert in shown})


def _first_difference(wanted: list[str], found: list[str]) -> str:
    place = next((i for i, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), -1)
    return f"differs at {place} of {len(wanted)}: accepted {wanted[place : place + 3]}, traded {found[place : place + 3]}"
