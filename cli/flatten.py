"""`bascule flatten`: cancels what rests and closes what is open, market by market, through the account's lanes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, ask, copies_of, find_bridge
from cli.documents import Document, decimal
from cli.exit_codes import ExitCode
from cli.filters import duration_ms, is_same, json_option
from cli.halt_scope import EFFECTS, failures
from cli.operators import confirm_typed, known_account, operator_name
from cli.output import Failure, ago, note, printable, span, write, write_json, write_table
from cli.text import REASON
from cli.waiting import ENDED_WELL, until_ended
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.policy.halts import Effect, HaltMode, Scope, find_stop

if TYPE_CHECKING:
    from libs.common.store.holdings import Holding
    from libs.common.store.operator_alerts import OperatorAlert
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord

MAX_AGE_MS: Final = 600_000
"""How long an instruction may wait in its lane, behind what is there already, before it expires."""


@click.command(name="flatten")
@click.argument("account")
@click.option("--symbol", "symbols", multiple=True, help="Only this market, known or not; may be repeated.")
@click.option("--reason", type=REASON, default="flatten", help="Why, for the history.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do it without being asked.")
@click.option("--halt", "halts_first", is_flag=True, help="First set the account to close-only.")
@click.option("--no-wait", is_flag=True, help="Return once all is queued.")
@click.option(
    "--timeout",
    "timeout_ms",
    default="60s",
    show_default=True,
    callback=duration_ms,
    help="How long to wait for the outcomes.",
)
@json_option
def command(
    account: str,
    symbols: tuple[str, ...],
    reason: str,
    is_confirmed: bool,
    halts_first: bool,
    no_wait: bool,
    timeout_ms: int,
    as_json: bool,
) -> int:
    """Cancel what rests and close what is open.

    Each market gets a cancel and then a close_all, behind what waits in its lane already. Exit code 1: one of them did
    not end well, or not within the time.
    """
    bridge = find_bridge()
    name = known_account(bridge, account)
    found, now_ms = ask(bridge, lambda readings: _look(readings, name, symbols))
    if not as_json:
        _show(found, now_ms)
    note("what was opened elsewhere, or was never read at the venue, is not seen here: name it with --symbol")
    if not found:
        if as_json:
            write_json({"account": name, "markets": [], "instructions": []})
        note(f"nothing is known to be open on {name}")
        return ExitCode.OK
    if not halts_first:
        note(
            f"new alerts may open positions again: --halt, or `bascule halt --account {name} --mode close-only --reason ...`"
        )
    if not is_confirmed:
        confirm_typed(name, f"Type {name} to cancel and close {_count(found)}:")

    async def do(readings: "Readings") -> "tuple[list[OperatorAlert], list[AlertId]]":
        if halts_first:
            mode = HaltMode.CLOSE_ONLY
            spread = await readings.halts.set(
                Scope(account=name), mode, by=operator_name(), reason=reason, copies=copies_of(bridge)
            )
            spread.need_any()
            note(f"{mode} of account {name} is set: {EFFECTS[mode]}")
            failed, unnoted = failures(spread, readings.of(name).number)
            for words in failed:
                note(f"NOT on {words}: run `bascule halt` for account {name} again")
            for words in unnoted:
                note(f"not noted on {words}: account {name} is not there")
        await _refuse_halted(readings, name, found)
        return await _send(readings, name, found, reason)

    asked, ids = ask(bridge, do)
    records = {} if no_wait else _wait(bridge, name, ids, timeout_ms)
    documents = [_outcome(one, alert, records.get(alert)) for one, alert in zip(asked, ids, strict=True)]
    if as_json:
        markets = [_market_document(one) for one in found]
        write_json({"account": name, "markets": markets, "instructions": documents})
    else:
        write()
        rows = [
            [one[field] for field in ("symbol", "action", "state", "reason", "alert_id", "detail")]
            for one in documents
        ]
        write_table(("SYMBOL", "ACTION", "STATE", "REASON", "ALERT", "DETAIL"), rows)
    if no_wait:
        return ExitCode.OK
    open_ = sum(one["state"] not in ENDED_WELL and not one["has_ended"] for one in documents)
    if open_:
        note(f"the wait of {span(timeout_ms)} ended before {open_} of {len(documents)} ended; they go on")
    return ExitCode.OK if all(one["state"] in ENDED_WELL for one in documents) else ExitCode.FAILED


async def _look(
    readings: "Readings", account: AccountName, symbols: Sequence[str]
) -> "tuple[list[Holding], int]":
    """Return what is to be closed: of the markets that are asked for, those too of which nothing is known.

    Raises:
        Failure: What is open cannot be read, and no market is named.
    """
    from libs.common.domain.errors import StoreCorrupt
    from libs.common.store.holdings import Holding

    shard = readings.of(account)
    now_ms = await shard.now_ms()
    try:
        known = await shard.holdings.of(account, now_ms)
    except StoreCorrupt as error:
        if not symbols:
            raise Failure(f"what is open cannot be read: {error}; name the markets with --symbol") from error
        known = []
    if not symbols:
        return known, now_ms
    wanted: list[Holding] = []
    for symbol in dict.fromkeys(symbols):
        exact = [one for one in known if one.market == symbol]
        found = exact or [one for one in known if is_same(symbol, one.market)]
        wanted += found or [Holding(Market(symbol), None, None, (), 0, was_traded=False)]
    return list(dict.fromkeys(wanted)), now_ms


async def _refuse_halted(readings: "Readings", account: AccountName, found: "Sequence[Holding]") -> None:
    """Refuse to queue what no worker would send.

    Raises:
        Failure: A halt stops exits in one of the markets.
    """
    table = await readings.of(account).halts.read()
    for one in found:
        stop = find_stop(table.halts, account=account, strategy=None, symbol=one.market, is_exit=True)
        if stop is not None:
            fate = "would be refused" if stop.effect is Effect.REFUSED else "would wait"
            raise Failure(
                f"nothing was queued: {stop.halt.mode} of {stop.halt.scope} is set ({stop.halt.reason}), so closing "
                f"{one.market} {fate}; set the same scope to close-only with `bascule halt`, which lets exits through"
            )


async def _send(
    readings: "Readings", account: AccountName, found: "Sequence[Holding]", reason: str
) -> "tuple[list[OperatorAlert], list[AlertId]]":
    from libs.common.domain.alert import Action
    from libs.common.store.operator_alerts import OperatorAlert

    asked = [
        OperatorAlert(account, one.market, action)
        for one in found
        for action in (Action.CANCEL, Action.CLOSE_ALL)
    ]
    shard = readings.of(account)
    ids = await shard.operator_alerts.send(
        asked, by=operator_name(), reason=reason, max_age_ms=MAX_AGE_MS, at_ms=await shard.now_ms()
    )
    return asked, ids


def _wait(
    bridge: Bridge, account: AccountName, ids: Sequence[AlertId], timeout_ms: int
) -> "dict[AlertId, AlertRecord]":
    """Return the alerts as they stand once all have ended, or the time is up."""

    async def wait(readings: "Readings") -> "dict[AlertId, AlertRecord]":
        # All of them lie on the account's shard: what became of the others is not waited for.
        records = await until_ended(readings.of(account).records.alerts, ids, timeout_ms)
        return {one.alert.alert_id: one for one in records}

    try:
        return ask(bridge, wait)
    except Failure as error:
        note(f"all is queued; what became of it cannot be told: {error.message}")
        return {}


def _show(found: "Sequence[Holding]", now_ms: int) -> None:
    rows = []
    for one in found:
        read = (
            None
            if one.quantity is None
            else "now"
            if one.read_at_ms is None
            else ago(now_ms - one.read_at_ms)
        )
        rows.append(
            (
                one.market,
                decimal(one.quantity),
                read,
                len(one.resting),
                one.waiting,
                "yes" if one.was_traded else None,
            )
        )
    write_table(("SYMBOL", "POSITION", "READ", "RESTING", "WAITING", "TRADED LATELY"), rows)
    for one in found:
        for order in one.resting:
            plan = order.plan
            what = "" if plan is None else f" {plan.side} {decimal(plan.quantity)} {plan.type}"
            write(printable(f"  rests: {one.market}{what} ({order.client_order_id})"))


def _count(found: "Sequence[Holding]") -> str:
    return f"{len(found)} markets" if len(found) > 1 else found[0].market


def _market_document(one: "Holding") -> Document:
    return {
        "symbol": one.market,
        "quantity": decimal(one.quantity),
        "read_at_ms": one.read_at_ms,
        "resting": [order.client_order_id for order in one.resting],
        "waiting": one.waiting,
        "was_traded": one.was_traded,
    }


def _outcome(asked: "OperatorAlert", alert: AlertId, record: "AlertRecord | None") -> Document:
    decisive = None if record is None else record.decisive
    return {
        "symbol": asked.market,
        "action": asked.action.value,
        "alert_id": alert,
        "state": None if decisive is None else decisive.state.value,
        "reason": None if decisive is None else decisive.reason,
        "detail": None if decisive is None else decisive.detail or None,
        "has_ended": record is not None and record.has_ended,
    }
