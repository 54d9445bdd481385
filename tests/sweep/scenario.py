"""One walk along a path with one fault, and what must hold when it is over."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from tests.e2e.commands import run as bascule
from tests.e2e.ledger import PREFIX, READY, assert_clean, assert_no_failures
from tests.support.eventually import eventually
from tests.sweep.cell import Cell
from tests.sweep.flows import FLOWS, PATIENCE_S, Run, Sent
from tests.sweep.steps import ORDINALS, Scenario, Step
from tests.sweep.tap import KILLS

KILLED: Final = -9

LOG_LINES: Final = 6
"""Of each process, shown where a scenario ended badly."""


class Verdict(StrEnum):
    """How a scenario ended."""

    WELL = "well"
    BROKEN = "BROKEN"
    NOT_REACHED = "not reached"
    """All is well, but the path came to its end without that request."""


@dataclass(frozen=True)
class Result:
    """What became of one scenario."""

    scenario: Scenario
    verdict: Verdict
    elapsed_s: float
    detail: str = ""


async def record(cell: Cell, flow: str, symbol: str) -> list[Step]:
    """Walk a path without a fault; return the requests on it.

    Raises:
        AssertionError: It does not even end well so.
    """
    run = Run(cell, symbol, None)
    await _walk(run, flow)
    seen = cell.switch.worked
    if flow == "idle":
        # Whatever a process without work does now and then.
        seen = Counter(dict.fromkeys(cell.switch.idle, 1))
    await _assert_all_is_well(run)
    return [
        Step(flow, process, name, nth)
        for (process, name), count in sorted(seen.items())
        for nth in range(1, min(count, ORDINALS) + 1)
    ]


async def play(cell: Cell, scenario: Scenario, symbol: str) -> Result:
    """Let one thing go wrong on its path, and look how that ends."""
    started_s = time.monotonic()
    run = Run(cell, symbol, scenario.fault)
    try:
        await _walk(run, scenario.step.flow)
        has_fired = cell.switch.has_fired
        await _assert_all_is_well(run)
    except (AssertionError, RuntimeError, OSError) as error:
        logs = [f"{service}: {service.log_tail(LOG_LINES)}" for service in cell.bridge.services]
        detail = "\n    ".join([str(error), f"ended: {cell.ends}", *logs])
        return Result(scenario, Verdict.BROKEN, time.monotonic() - started_s, detail)
    verdict = Verdict.WELL if has_fired else Verdict.NOT_REACHED
    return Result(scenario, verdict, time.monotonic() - started_s)


async def _walk(run: Run, flow: str) -> None:
    run.cell.ends.clear()
    async with run.cell.supervised():
        await FLOWS[flow](run)
        await run.ended()
        # A lane that a dead worker held is clean once its lease is over.
        await assert_clean(run.cell.bridge, PATIENCE_S)
    await run.cell.ready()


async def _assert_all_is_well(run: Run) -> None:
    """Fail unless every alert has come to its orders, once and in order, and nothing is left over."""
    cell = run.cell
    _assert_traded(run.sent, [entry for entry in cell.venue.ledger() if entry["symbol"] == run.symbol])
    wrong = {sent.alert_id: state for sent in run.sent if (state := run.state(sent)) != "EXECUTED"}
    assert not wrong, f"not EXECUTED: {wrong}"
    _assert_recorded(run)
    letters = cell.bridge.dead_letters()
    assert not letters, f"dead letters: {letters}"
    await assert_clean(cell.bridge)
    await eventually(lambda: _nobody_owes(cell), message="no token is pending, no order followed")
    assert_no_failures(cell.bridge)
    _assert_ends(run)


def _assert_traded(sent: Sequence[Sent], ledger: Sequence[dict[str, Any]]) -> None:
    """Fail unless the venue executed exactly what was to be traded, in the order of the alerts."""
    wanted = [(one.alert_id, *trade) for one in sent for trade in one.trades]
    found = [(entry["alert_id"], entry["side"], entry["quantity"], entry["reduce_only"]) for entry in ledger]
    assert found == wanted, f"traded {found}, wanted {wanted}"
    ids = Counter(entry["client_order_id"] for entry in ledger)
    assert max(ids.values(), default=1) == 1, f"one id twice: {ids}"


def _assert_recorded(run: Run) -> None:
    """Fail unless the records of this path's orders say what the venue says."""
    bridge, venue = run.cell.bridge, run.cell.venue
    ended = {change["client_order_id"]: change["status"] for change in venue.changes()}
    for entry in venue.ledger():
        if entry["symbol"] != run.symbol:
            continue
        order = entry["client_order_id"]
        record = bridge.client.hgetall(f"{PREFIX}order:{order}")
        wanted = ended.get(order, entry["answer"]["status"]).upper()
        assert record.get("state") == wanted, f"{order}: the venue says {wanted}, the record {record}"


def _nobody_owes(cell: Cell) -> bool:
    client = cell.bridge.client
    pending = client.xpending(READY, "workers")["pending"]
    following = client.zrange(f"{PREFIX}following", 0, -1)
    assert not pending, f"{pending} tokens are pending"
    assert not following, f"followed: {following}"
    return True


def _assert_ends(run: Run) -> None:
    """Fail if a process ended that nobody had killed or told to."""
    fault = run.fault
    struck = Counter(end for end in run.cell.ends)
    flow_kills = run.has_killed or (fault is not None and fault.outcome.kind in KILLS)
    wrong = [
        end
        for end in struck
        if not (end.code == 0 and run.has_stopped) and not (end.code == KILLED and flow_kills)
    ]
    assert not wrong, f"ended by themselves: {wrong}"


async def assert_shown(cell: Cell) -> None:
    """Fail unless the command line shows every order and position as the venue has it."""
    everything = ("--limit", "100000", "--json")
    shown = {
        order["client_order_id"]: order for order in (await bascule(cell.bridge, "orders", *everything)).data
    }
    ledger = cell.venue.ledger()
    ended = {change["client_order_id"]: change["status"] for change in cell.venue.changes()}
    wanted = {
        entry["client_order_id"]: (
            ended.get(entry["client_order_id"], entry["answer"]["status"]).upper(),
            entry["symbol"],
            entry["side"],
            Decimal(entry["quantity"]),
        )
        for entry in ledger
    }
    found = {
        name: (order["state"], order["symbol"], order["side"], Decimal(order["quantity"]))
        for name, order in shown.items()
    }
    assert found == wanted, f"shown {found}, at the venue {wanted}"
    alerts = (await bascule(cell.bridge, "alerts", *everything)).data
    wrong = [alert for alert in alerts if alert["state"] != "EXECUTED"]
    assert not wrong, f"{len(wrong)} alerts shown otherwise: {wrong[:3]}"
    assert {entry["alert_id"] for entry in ledger} <= {alert["alert_id"] for alert in alerts}
