"""What came in within a period and what became of it, of one shard: read in pages, so that no period is too long."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.alert import Alert
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId
from libs.common.domain.lifecycle import AMBIGUOUS, ENDED, InstructionState, OrderState
from libs.common.policy.report import AlertFate, Asked, OrderFate, ShareFate, Tally
from libs.common.policy.shards import shard_of
from libs.common.policy.slippage import slippage_bps
from libs.common.store.client import translate
from libs.common.store.intake import KEPT_BYTES
from libs.common.store.journal import Post, unadmitted_post
from libs.common.store.keys import Keys
from libs.common.store.round_trip import ask_many
from libs.common.store.streams import RawEntry, at_ms, pages_forwards, read_entry
from libs.common.wire import codec

_ALERT: Final = ("alert", "admitted_at")
_INSTRUCTION: Final = ("state", "reason", "market", "ended_at", "orders", "journal")
_ORDER: Final = ("state", "attempt", "signed_at", "ended_at", "plan", "answer")

_DECLINED: Final = frozenset({b"REJECTED", b"SKIPPED"})
"""What the journal calls a share that its account declines, among others."""

_CUT_FROM: Final = KEPT_BYTES * 9 // 10
"""Bytes kept of posts that were not admitted below which none was ever pushed out: no single one is that large."""

_BEFORE_A_REPLAY: Final = 2
"""Changes that an instruction has had at least when it is replayed: it was queued, and it ended."""

Row = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Activity:
    """What was found on one shard, and since when all of it is kept there."""

    tally: Tally
    """Without the posts that were not admitted."""
    posts: tuple[Post, ...]
    """Those; as many as are kept."""
    journal_begins_at_ms: int | None
    """When what is oldest in the journal happened; None where that lies before the period, or there is nothing."""
    posts_begin_at_ms: int | None
    """Since when such posts are kept; None where that is the whole period."""


class ActivityReader:
    """Counts what came in on one shard."""

    def __init__(self, client: Redis, keys: Keys, *, shard: int, shards: int) -> None:
        """Args:
        client: Of the shard.
        keys: The same.
        shard: Its number.
        shards: How many there are.
        """
        self._client = client
        self._keys = keys
        self._shard = shard
        self._shards = shards

    async def read(self, asked: Asked, since_ms: int, until_ms: int) -> Activity:
        """Count what came in within a period, by Redis' clock, and what has become of it by now.

        Args:
            asked: What is counted.
            since_ms: The beginning of the period.
            until_ms: Its end, which does not belong to it.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The journal is no stream.
        """
        tally = Tally(asked)
        # Before it is read: what is trimmed meanwhile may be missing.
        journal_from_ms = await self._begins_at_ms(self._keys.journal)
        last_gone = None
        async for page in pages_forwards(self._client, self._keys.journal, since_ms, until_ms):
            last_gone = await self._count(page, tally, last_gone)
        posts_from_ms = await self._begins_at_ms(self._keys.refused)
        is_cut = posts_from_ms is not None and posts_from_ms > since_ms and await self._is_full()
        posts = [
            unadmitted_post(read_entry(*raw))
            async for page in pages_forwards(self._client, self._keys.refused, since_ms, until_ms)
            for raw in page
        ]
        return Activity(
            tally,
            tuple(posts) if asked.takes_posts else (),
            journal_from_ms if journal_from_ms is not None and journal_from_ms > since_ms else None,
            posts_from_ms if is_cut and asked.takes_posts else None,
        )

    async def _count(
        self, page: Sequence[RawEntry], tally: Tally, last_gone: AlertId | None
    ) -> AlertId | None:
        """Count the alerts that came in with these changes; return the last one that is not on record any more.

        An alert is counted with the first change of all that happened to its shares here: those of one admission stand
        one after the other, on several pages perhaps.
        """
        came: dict[AlertId, RawEntry] = {}
        for entry in page:
            if self._may_be_admission(entry[1]):
                came.setdefault(AlertId(_text(entry[1].get(b"alert"))), entry)
        alerts: dict[AlertId, tuple[Alert, int]] = {}
        rows = await self._read([self._keys.alert(name) for name in came], _ALERT)
        for (name, (_, fields)), row in zip(came.items(), rows, strict=True):
            if row[0] is None:
                if fields.get(b"event") == b"QUEUED" and name != last_gone:
                    tally.count_gone(_text(fields.get(b"detail")), _text(fields.get(b"account")))
                    last_gone = name
                continue
            try:
                alerts[name] = codec.ALERT.decode(row[0]), _number(row[1])
            except StoreCorrupt:
                tally.unreadable += 1
        for fate in await self._fates(alerts, {name: _text(came[name][0]) for name in alerts}):
            if fate is None:
                tally.unreadable += 1
            else:
                tally.count_alert(fate)
        return last_gone

    async def _fates(
        self, alerts: dict[AlertId, tuple[Alert, int]], first_ids: dict[AlertId, str]
    ) -> Iterable[AlertFate | None]:
        """Return what became of alerts that came in with these changes; None of one that cannot be read."""
        names = [
            (name, account)
            for name, (alert, _) in alerts.items()
            for account in alert.accounts
            if shard_of(account, self._shards) == self._shard
        ]
        rows = await self._read([self._keys.instruction(*one) for one in names], _INSTRUCTION)
        shares: dict[AlertId, list[tuple[AccountName, Row]]] = {name: [] for name in alerts}
        for (name, account), row in zip(names, rows, strict=True):
            if row[0] is not None:
                shares[name].append((account, row))
        own = {
            name: found
            for name, found in shares.items()
            if found and first_ids[name] == min((_ids(row)[0] for _, row in found), key=_place)
        }
        orders = await self._orders(row for found in own.values() for _, row in found)
        fates: list[AlertFate | None] = []
        for name, found in own.items():
            try:
                fates.append(self._fate(*alerts[name], found, orders))
            except (StoreCorrupt, ValueError):
                fates.append(None)
        return fates

    def _fate(
        self,
        alert: Alert,
        admitted_at_ms: int,
        shares: Sequence[tuple[AccountName, Row]],
        orders: dict[ClientOrderId, tuple[Row, int | None]],
    ) -> AlertFate:
        return AlertFate(
            webhook=alert.webhook,
            strategy=alert.content.strategy,
            symbol=alert.content.symbol,
            received_at_ms=alert.received_at_ms,
            admitted_at_ms=admitted_at_ms,
            is_whole=shard_of(alert.accounts[0], self._shards) == self._shard,
            shares=tuple(_share(account, row, orders) for account, row in shares),
        )

    async def _orders(self, instructions: Iterable[Row]) -> dict[ClientOrderId, tuple[Row, int | None]]:
        """Return the orders of instructions, and of each first one when its first attempt left, see `_first_sent`."""
        history = {order: row for row in instructions for order in _order_ids(row)}
        rows = await self._read([self._keys.order(order) for order in history], _ORDER)
        found = dict(zip(history, rows, strict=True))
        again = [
            order
            for order, row in found.items()
            if order == _order_ids(history[order])[0]
            and (_number(row[1]) > 1 or _may_follow_replay(_ids(history[order]), _number(row[2])))
        ]
        first = dict(
            zip(again, await self._first_sent([_ids(history[order]) for order in again]), strict=True)
        )
        return {
            order: (row, first[order] if order in first else _number(row[2]) or None)
            for order, row in found.items()
        }

    async def _first_sent(self, histories: Sequence[Sequence[str]]) -> list[int | None]:
        """Return when the first attempt in each of these histories left, as the journal has it; None where that was only
        after a replay: what it waited for then is whoever replayed it.
        """
        journal = self._keys.journal
        commands = [("XRANGE", journal, one, one) for ids in histories for one in ids]
        replies = iter(await ask_many(self._client, commands))
        found = []
        for ids in histories:
            entries = [
                (name, dict(zip(flat[::2], flat[1::2], strict=True)))
                for _ in ids
                for name, flat in next(replies)
            ]
            decisive = (
                at_ms(_text(name)) if fields.get(b"event") == b"SENDING" else None
                for name, fields in entries
                if fields.get(b"event") == b"SENDING" or fields.get(b"reason") == b"replayed"
            )
            found.append(next(decisive, None))
        return found

    def _may_be_admission(self, fields: dict[bytes, bytes]) -> bool:
        event = fields.get(b"event")
        if event == b"QUEUED":
            return fields.get(b"reason") == b"admitted"
        # An alert may be declined by all of its accounts on one of several shards.
        return self._shards > 1 and event in _DECLINED

    async def _read(self, names: Sequence[str], fields: Sequence[str]) -> list[Row]:
        """Return these fields of these hashes, None for what is not there."""
        return await ask_many(self._client, [("HMGET", name, *fields) for name in names])

    async def _begins_at_ms(self, stream: str) -> int | None:
        """Return when the oldest entry of a stream was added; None where it has none."""
        try:
            oldest: Any = await self._client.xrange(stream, count=1)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return at_ms(_text(oldest[0][0])) if oldest else None

    async def _is_full(self) -> bool:
        """Tell whether posts that were not admitted may have been pushed out by newer ones."""
        try:
            kept: Any = await self._client.hget(self._keys.meta, "refused_bytes")
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return _number(kept) >= _CUT_FROM


def _share(account: AccountName, row: Row, orders: dict[ClientOrderId, tuple[Row, int | None]]) -> ShareFate:
    state, reason, market, ended_at, *_ = row
    current = InstructionState(_text(state))
    ended_at_ms = (_number(ended_at) or None) if current in ENDED else None
    own = [orders[name] for name in _order_ids(row) if orders[name][0][0] is not None]
    return ShareFate(
        account=account,
        market=_text(market),
        state=current,
        reason=_text(reason),
        first_sent_at_ms=own[0][1] if own else None,
        orders=tuple(_order(found, ended_at_ms) for found, _ in own),
    )


def _order(row: Row, instruction_ended_at_ms: int | None) -> OrderFate:
    state, _, signed_at, ended_at, plan, answer = row
    current = OrderState(_text(state))
    sent_at_ms, ended_at_ms = _number(signed_at) or None, _number(ended_at) or None
    report = codec.ORDER_REPORT.decode(answer) if answer else None
    is_known = current not in AMBIGUOUS and current is not OrderState.NOT_EXECUTED
    # An order that rests ends its instruction once the venue has it, and may go on for days.
    known_at = [
        at for at in (ended_at_ms, instruction_ended_at_ms) if at is not None and at >= (sent_at_ms or 0)
    ]
    return OrderFate(
        state=current,
        has_filled=report is not None and report.filled_quantity > 0,
        sent_at_ms=sent_at_ms,
        answered_at_ms=min(known_at, default=None) if is_known else None,
        filled_at_ms=ended_at_ms if current is OrderState.FILLED else None,
        slippage_bps=slippage_bps(codec.ORDER_PLAN.decode(plan) if plan else None, report),
    )


def _order_ids(row: Row) -> list[ClientOrderId]:
    return [ClientOrderId(name) for name in _text(row[4]).split()]


def _ids(row: Row) -> list[str]:
    """Return the history of an instruction; one that has none came in with nothing."""
    return _text(row[5]).split() or ["0-0"]


def _may_follow_replay(history: Sequence[str], sent_at_ms: int) -> bool:
    """Tell whether an order that left then may have left after a replay: its instruction came in, and ended, before that."""
    return len(history) > _BEFORE_A_REPLAY and at_ms(history[_BEFORE_A_REPLAY]) <= sent_at_ms


def _place(entry_id: str) -> tuple[int, int]:
    time, _, sequence = entry_id.partition("-")
    return int(time), int(sequence)


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


def _number(value: bytes | None) -> int:
    return int(value) if value is not None and value.isdigit() else 0
