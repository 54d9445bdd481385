"""`bascule tail`: posts and state changes as they happen."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cli.context import Bridge, ask, find_bridge, no_answer
from cli.documents import Document, change_document, decimal, post_document
from cli.exit_codes import ExitCode
from cli.filters import account_option, duration_ms, is_same, json_option
from cli.listing import configured_account, refuse_unknown_names
from cli.output import cell, local_time, note, painted, write
from cli.quantities import quantity_words
from cli.stop_words import stop_words
from libs.common.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    from libs.common.store.journal import JournalEntry, Post
    from libs.common.store.readings import Readings
    from libs.common.store.tail import Happened

T = TypeVar("T")

AGAIN_AFTER_S: Final = 0.25
"""The pause between two askings of a Redis that is away."""

_EVENT_WIDTH: Final = 12
_PLACE_WIDTH: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be shown; None: all."""

    webhook: str | None
    strategy: str | None
    account: str | None
    symbol: str | None

    def matches(self, happened: "Happened") -> bool:
        """Return whether it is to be shown."""
        from libs.common.store.journal import Post

        event, alert = happened.event, happened.alert
        symbol = None if alert is None else alert.content.symbol
        if not is_same(self.strategy, None if alert is None else alert.content.strategy):
            return False
        if isinstance(event, Post):
            # Posts are of a webhook; what they are to an account is told by the changes that follow.
            return (
                self.account is None and is_same(self.webhook, event.webhook) and is_same(self.symbol, symbol)
            )
        account, _, market = event.lane.partition(":")
        return (
            is_same(self.webhook, _webhook_of(happened))
            and is_same(self.account, event.account, account)
            and is_same(self.symbol, symbol, market, *_beginnings(market))
        )


@click.command(name="tail")
@click.option("--webhook", help="Only posts to this webhook, and what became of them.")
@click.option("--strategy", help="Only this strategy, as alerts name it; refused posts name none.")
@account_option
@click.option("--symbol", help="Only this symbol, as sent or as the venue calls it; refused posts name none.")
@click.option("--since", "since_ms", callback=duration_ms, help="First what happened in the last 5min, 2h...")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@json_option
def command(
    webhook: str | None,
    strategy: str | None,
    account: str | None,
    symbol: str | None,
    since_ms: int | None,
    count: int | None,
    as_json: bool,
) -> int:
    """Show posts and state changes as they happen.

    Of alerts and their orders, one line each, until Ctrl-C.
    """
    bridge, wanted = find_bridge(), Wanted(webhook, strategy, account, symbol)
    refuse_unknown_names(bridge, account, webhook)
    configured = configured_account(bridge, account)

    async def follow(readings: "Readings") -> None:
        own = readings if configured is None else readings.only(configured)
        await _follow(own, bridge, wanted, since_ms, count, as_json=as_json)

    with suppress(KeyboardInterrupt):  # how it is meant to end
        ask(bridge, follow)
    return ExitCode.OK


async def _follow(
    readings: "Readings",
    bridge: Bridge,
    wanted: Wanted,
    since_ms: int | None,
    count: int | None,
    *,
    as_json: bool,
) -> None:
    """Write what happens until enough was written.

    Raises:
        StoreUnavailable: Redis did not answer at the beginning; later it is waited for.
        StoreCorrupt: What it holds cannot be read.
        ReaderGone: Nobody reads it any more.
    """
    now_ms = await readings.now_ms()
    await _interruptible(readings.tail.start(None if since_ms is None else now_ms - since_ms))
    note("following; Ctrl-C ends it")
    shown, is_away, away = 0, False, set[int]()
    while count is None or shown < count:
        try:
            found = await _interruptible(readings.tail.following())
        except StoreUnavailable as error:
            if not is_away:
                note(f"bascule: {no_answer(bridge, error)}; waiting for it")
            is_away = True
            await asyncio.sleep(AGAIN_AFTER_S)
            continue
        if is_away:
            note("Redis answers again")
        is_away = False
        away = _note_shards(bridge, away, readings.tail.away)
        for happened in filter(wanted.matches, found):
            _write(happened, as_json=as_json)
            shown += 1
            if shown == count:
                return


def _note_shards(bridge: Bridge, before: set[int], away: Mapping[int, StoreUnavailable]) -> set[int]:
    """Say which of several shards went away and which came back; return those that are away."""
    for number in sorted(away.keys() - before):
        note(f"bascule: shard {number} is away, the others go on: {no_answer(bridge, away[number])}")
    for number in sorted(before - away.keys()):
        note(f"shard {number} answers again: what happened there meanwhile follows")
    return set(away)


async def _interruptible(call: Coroutine[Any, Any, T]) -> T:
    """Return what a call returns; whoever cancels it is heard, which redis-py does not see to.

    It loses a cancellation now and then, and Ctrl-C is one. Then the call ends by itself, within its own time.
    """
    task = asyncio.create_task(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    return task.result()


def _write(happened: "Happened", *, as_json: bool) -> None:
    from libs.common.store.journal import Post

    event = happened.event
    if as_json:
        import orjson

        write(orjson.dumps(_document(happened)).decode())
    elif isinstance(event, Post):
        write(_line(event.at_ms, event.outcome.upper(), event.webhook, _of_post(event, happened)))
    else:
        place = event.lane.replace(":", " ", 1) or _webhook_of(happened) or ""
        write(_line(event.at_ms, event.event, place, _of_change(event)))


def _document(happened: "Happened") -> Document:
    from libs.common.store.journal import Post

    event, alert = happened.event, happened.alert
    if not isinstance(event, Post):
        return {"kind": "change", **change_document(event, alert), "webhook": _webhook_of(happened)}
    about = {
        "strategy": None if alert is None else alert.content.strategy,
        "symbol": None if alert is None else alert.content.symbol,
        "action": None if alert is None else alert.content.action.value,
    }
    return {"kind": "post", **post_document(event), **about}


def _line(at_ms: int, event: str, place: str, what: str) -> str:
    # Colours have no width.
    padding = " " * (_EVENT_WIDTH - len(event))
    return f"{local_time(at_ms, is_exact=True)}  {painted(event)}{padding}  {cell(place):<{_PLACE_WIDTH}}  {what}".rstrip()


def _of_post(post: "Post", happened: "Happened") -> str:
    if post.alert_id is None:
        field = f' ("{cell(post.field)}")' if post.field else ""
        return f"{post.status} {cell(post.code)}{field}: {cell(post.detail)}, event {cell(post.event_id)}"
    alert = happened.alert
    if alert is None:
        return f"alert {cell(post.alert_id)}"
    content = alert.content
    size = quantity_words(decimal(content.quantity), content.unit.value)
    asks = " ".join([content.action.value, *([size] if size else []), cell(content.symbol)])
    strategy = f", strategy {cell(content.strategy)}" if content.strategy else ""
    return f"{asks}{strategy}, alert {cell(post.alert_id)}"


def _of_change(entry: "JournalEntry") -> str:
    attempt = f"attempt {entry.detail}" if entry.is_attempt and entry.detail else ""
    # An alarm that is of nobody in particular has no name behind its kind.
    detail = (
        entry.detail.replace(":: ", ": ", 1)
        if entry.event == "ALARM" and entry.detail
        else stop_words(entry.detail)
    )
    said = [
        entry.reason,
        f"order {entry.client_order_id}" if entry.client_order_id else "",
        attempt,
        "" if entry.is_attempt or entry.is_admission else detail,
        f"alert {entry.alert_id}" if entry.alert_id else "",
    ]
    return ", ".join(cell(part) for part in said if part)


def _webhook_of(happened: "Happened") -> str | None:
    """Return the webhook that a state change goes back to; None where it goes back to none."""
    from libs.common.store.journal import Post

    event, alert = happened.event, happened.alert
    if isinstance(event, Post):
        return event.webhook
    if event.is_admission or event.event == "WEBHOOK":
        return event.detail or None
    return None if alert is None else alert.webhook


def _beginnings(market: str) -> list[str]:
    """Return what may be the market of a lane whose name goes on with a strategy."""
    parts = market.split(":")
    return [":".join(parts[:count]) for count in range(1, len(parts))]
