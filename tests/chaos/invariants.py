"""What must hold after everything, told from the venue's ledger, the journal, the records and the senders' own notes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.chaos.load import Sent
from tests.chaos.world import ACCOUNTS, LIMIT_BURST, LIMIT_PER_S, LIMITED, World
from tests.e2e.ledger import LANES, PARKED, PREFIX, READY
from tests.support.stray_keys import find_stray_keys


@dataclass(frozen=True)
class Violation:
    """A promise that was broken."""

    promise: str
    detail: str


@dataclass(frozen=True)
class Shown:
    """What the command line says with `--json`."""

    status: Mapping[str, Any]
    alerts: Sequence[Mapping[str, Any]]
    orders: Sequence[Mapping[str, Any]]
    is_cut: bool
    """Whether it said that there is more than it looked through."""


@dataclass(frozen=True)
class Evidence:
    """All that is known of a stretch of the run, read once everything was at rest."""

    sent: Sequence[Sent]
    ledger: Sequence[Mapping[str, Any]]
    """Every execution of the whole run, in order."""
    instructions: Mapping[str, Mapping[str, str]]
    queued: Mapping[str, Sequence[str]]
    """Lane -> alert ids as they were queued."""
    shown: Shown

    def executions(
        self, kinds: Sequence[str] = ("plain", "limited", "target", "hasty")
    ) -> Iterator[Mapping[str, Any]]:
        """Return those of this stretch's alerts."""
        ids = {one.alert_id for one in self.sent if one.symbol.kind in kinds}
        return (entry for entry in self.ledger if entry["alert_id"] in ids)


def find_violations(world: World, evidence: Evidence) -> list[Violation]:
    """Return everything that does not hold."""
    checks = (
        _answers,
        _states,
        _once,
        _order,
        _ages,
        _positions,
        _rates,
        _shown,
    )
    found = [violation for check in checks for violation in check(evidence)]
    return [*found, *_dead_letters(world, evidence), *_at_rest(world), *_failures(world)]


def accounts_of(one: Sent) -> Sequence[str]:
    """Return the accounts an alert is for."""
    return ACCOUNTS[:1] if one.symbol.kind == "hasty" else ACCOUNTS


def _answers(evidence: Evidence) -> Iterator[Violation]:
    for one in evidence.sent:
        if not one.alert_id:
            yield Violation("every alert is taken in the end", f"{one.symbol.name}: {one.tries[-5:]}")
        strange = {each.status for each in one.tries} - {0, 200, 503}
        if strange:
            yield Violation("answers are 200 or 503", f"{one.alert_id}: {strange}")
        for status, alert_id in one.resent:
            if status == 200 and alert_id != one.alert_id:
                yield Violation("a resend is told the id of the first", f"{one.alert_id}: {alert_id}")


def _states(evidence: Evidence) -> Iterator[Violation]:
    ends = {
        "plain": {"EXECUTED"},
        "limited": {"EXECUTED"},
        "target": {"EXECUTED", "SKIPPED"},
        "hasty": {"EXECUTED", "EXPIRED"},
    }
    for one in evidence.sent:
        for account in accounts_of(one) if one.alert_id else ():
            record = evidence.instructions.get(f"{one.alert_id}:{account}", {})
            if record.get("state") not in ends[one.symbol.kind]:
                shown = {name: record.get(name) for name in ("state", "reason", "detail", "lost_holders")}
                yield Violation(
                    "every 200 ends executed", f"{one.symbol.name} {one.alert_id}:{account} {shown}"
                )


def _once(evidence: Evidence) -> Iterator[Violation]:
    for order, count in Counter(entry["client_order_id"] for entry in evidence.ledger).items():
        if count > 1:
            yield Violation("no order is executed twice", f"{order}: {count} times")
    executed = Counter((entry["alert_id"], entry["account"]) for entry in evidence.ledger)
    for one in evidence.sent:
        for account in accounts_of(one) if one.alert_id else ():
            count = executed[one.alert_id, account]
            state = evidence.instructions.get(f"{one.alert_id}:{account}", {}).get("state")
            wanted = {1} if state == "EXECUTED" else {0}
            if one.symbol.kind == "target" and state == "EXECUTED":
                wanted = {1, 2}
            if count not in wanted:
                yield Violation(
                    "one order per alert, account and leg",
                    f"{one.symbol.name} {one.alert_id}:{account} is {state}, executed {count} times",
                )


def _order(evidence: Evidence) -> Iterator[Violation]:
    sent: dict[str, list[str]] = defaultdict(list)
    for one in evidence.sent:
        if one.alert_id:
            sent[one.symbol.name].append(one.alert_id)
    executed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in evidence.executions():
        of_lane = executed[entry["account"], entry["symbol"]]
        if not of_lane or of_lane[-1] != entry["alert_id"]:  # two legs stand together
            of_lane.append(entry["alert_id"])
    for (account, symbol), alerts in executed.items():
        traded = set(alerts)
        wanted = [alert for alert in sent[symbol] if alert in traded]
        queued = [alert for alert in evidence.queued.get(f"{account}:{symbol}", ()) if alert in traded]
        for name, order in (("as sent", wanted), ("as queued", queued)):
            if alerts != order:
                place = next(
                    (n for n, pair in enumerate(zip(order, alerts, strict=False)) if pair[0] != pair[1]), -1
                )
                yield Violation(
                    "a symbol trades in order",
                    f"{account}:{symbol} not {name} at {place}: {order[place : place + 3]}, {alerts[place : place + 3]}",
                )


def _ages(evidence: Evidence) -> Iterator[Violation]:
    for entry in evidence.executions():
        record = evidence.instructions.get(f"{entry['alert_id']}:{entry['account']}", {})
        deadline_ms = int(record.get("deadline", 0))
        if entry["executed_at_ms"] > deadline_ms:
            late_ms = entry["executed_at_ms"] - deadline_ms
            yield Violation("nothing trades past its age", f"{entry['alert_id']}: {late_ms} ms late")


def _positions(evidence: Evidence) -> Iterator[Violation]:
    """Hold the positions against the last target of each symbol."""
    positions: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in evidence.ledger:
        quantity = Decimal(entry["quantity"])
        positions[entry["account"], entry["symbol"]] += quantity if entry["side"] == "buy" else -quantity
    last = {one.symbol.name: one for one in evidence.sent if one.symbol.kind == "target" and one.alert_id}
    for symbol, one in last.items():
        size = Decimal(one.body.get("quantity", 0))
        wanted = -size if one.body["position"] == "short" else size
        for account in ACCOUNTS:
            if positions[account, symbol] != wanted:
                yield Violation(
                    "a target is reached", f"{account}:{symbol} is {positions[account, symbol]}, not {wanted}"
                )


def _rates(evidence: Evidence) -> Iterator[Violation]:
    # A lane sends one order at a time, so one that was held up on its way bunches with the next one and no more.
    arrivals: dict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in evidence.executions():
        if entry["symbol"] in LIMITED:
            arrivals[entry["account"], entry["symbol"]].append(entry["received_at_ms"])
    for (account, symbol), times in arrivals.items():
        for first in range(len(times)):
            for last in range(first + LIMIT_BURST, min(len(times), first + 50)):
                allowed = LIMIT_BURST + 1 + (times[last] - times[first]) / 1_000 * LIMIT_PER_S
                if last - first + 1 > allowed:
                    yield Violation(
                        "rates are kept",
                        f"{account}:{symbol}: {last - first + 1} orders in {times[last] - times[first]} ms",
                    )
                    return


def _shown(evidence: Evidence) -> Iterator[Violation]:
    """Hold what the command line shows against the ledger and the records."""
    shown = evidence.shown
    executed = {entry["client_order_id"] for entry in evidence.executions()}
    ids = {one.alert_id for one in evidence.sent} - {""}
    filled = {
        order["client_order_id"]
        for order in shown.orders
        if order["alert_id"] in ids and order["state"] == "FILLED"
    }
    for order_id in sorted(filled - executed if shown.is_cut else filled ^ executed)[:5]:
        where = "the ledger" if order_id in executed else "`bascule orders`"
        yield Violation("what is shown is what happened", f"only {where} says that {order_id} was executed")
    for alert in shown.alerts:
        for one in alert["instructions"]:
            name = f"{alert['alert_id']}:{one['account']}"
            state = evidence.instructions.get(name, {}).get("state")
            if alert["alert_id"] in ids and one["state"] != state:
                yield Violation(
                    "what is shown is what happened", f"{name} is shown {one['state']}, is {state}"
                )
    missing = ids - {alert["alert_id"] for alert in shown.alerts}
    if missing and not shown.is_cut:
        yield Violation(
            "what is shown is what happened", f"{len(missing)} alerts not shown: {sorted(missing)[:3]}"
        )
    lanes = {name: count for name, count in shown.status["lanes"].items() if count}
    if shown.status["status"] != "ok" or lanes:
        yield Violation("what is shown is what happened", f"status {shown.status['reasons']}, lanes {lanes}")


def _dead_letters(world: World, evidence: Evidence) -> Iterator[Violation]:
    ids = {one.alert_id for one in evidence.sent}
    for letter in world.bridge.dead_letters():
        if letter.get("alert") in ids and letter.get("state") == "DEAD":
            yield Violation(
                "no readable alert ends as poison", f"{letter.get('alert')}: {letter.get('reason')}"
            )
    malformed = sum(letter.get("reason") == "malformed" for letter in world.bridge.dead_letters())
    if malformed != world.malformed:
        yield Violation(
            "what nobody can read is kept", f"{malformed} dead letters of {world.malformed} entries"
        )


def _at_rest(world: World) -> Iterator[Violation]:
    for name, left in leftovers(world).items():
        if left:
            yield Violation("nothing is left behind", f"{name}: {left[:5]}")
    stray = find_stray_keys(world.bridge.client)
    if stray:
        yield Violation(
            "nothing is left behind", f"{len(stray)} keys neither expire nor are permanent: {stray[:5]}"
        )


def leftovers(world: World) -> dict[str, list[Any]]:
    """Return what is there only while there is work."""
    client = world.bridge.client
    return {
        "fences": sorted(client.hgetall(LANES).items()),
        "tokens": client.xrange(READY),
        "parked": client.zrange(PARKED, 0, -1),
        "streams": sorted(client.scan_iter(match=f"{PREFIX}lane:*", count=2_000)),
    }


def _failures(world: World) -> Iterator[Violation]:
    broken = [
        event
        for event in world.bridge.log()
        if event.get("event")
        in {"lane_failed", "lane_not_parked", "pass_broke", "post_failed", "service_failed"}
    ]
    for event in broken[:5]:
        yield Violation("no service fails", str(event)[:800])
    for process in world.processes:
        if process.errors():
            yield Violation("nothing on stderr", f"{process.label}: {process.errors()[:500]}")
