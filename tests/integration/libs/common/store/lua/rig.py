"""Plays ingress, workers and reaper one script call at a time, at a time of the test's own.

After every call each instruction and order is held against the tables of `domain/lifecycle.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import (
    AccountName,
    AlertId,
    ClientOrderId,
    Holder,
    Market,
    Nonce,
    WebhookName,
    client_order_id,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION
from libs.common.domain.lifecycle import INSTRUCTION_MOVES, ORDER_MOVES, InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.policy.limits import Limit
from libs.common.store.admission import Admission, Routed
from libs.common.store.breakers import SharedBreakers
from libs.common.store.client import connect
from libs.common.store.head import Head, Held
from libs.common.store.intake import Intake
from libs.common.store.keys import Keys
from libs.common.store.lanes import Lanes, Parking, Reader
from libs.common.store.order_answers import Go
from libs.common.store.orders import NO_LIMIT, Finding, GoesBack, Intent, OrderOutcome, Orders, Settlement
from libs.common.store.retention import Retention
from libs.common.store.scripts import Script
from libs.common.store.upkeep import Upkeep
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from libs.common.policy.room import Room

T = TypeVar("T")

START_MS: Final = 1_780_000_000_000
DAY_MS: Final = 86_400_000
RETENTION: Final = Retention(alerts_ms=7 * DAY_MS, dead_letters_ms=30 * DAY_MS)
LEASE_MS: Final = 6_000


@dataclass(frozen=True)
class Hold:
    """A head in the hands of a holder."""

    held: Held
    head: Head
    holder: str

    @property
    def order_id(self) -> ClientOrderId:
        return client_order_id(self.head.account, self.head.alert_id, 0)


class Rig:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.keys: Any = Keys()
        """They take names, which here are plain texts."""
        self.now_ms = START_MS
        self.room: Room | None = None
        """What the intake holds admissions against; to be set before the first one."""
        self.redis: Any = server.client()
        """Answers whatever is there."""
        self.client: Redis = connect(server.url, timeout_s=5)
        self._direct = self.client
        self._proxy: Proxy | None = None
        self._made: dict[tuple[type, str], Any] = {}
        self._alerts = 0
        self._states: dict[str, str] = {}

    async def start(self) -> None:
        await self.lanes().create_group()

    async def stop(self) -> None:
        await self._direct.aclose()
        if self._proxy is not None:
            await self.client.aclose()
            self._proxy.close()
        self.redis.close()

    # The parts of the store, at the rig's time.

    def lanes(self, holder: str = "a") -> Lanes:
        return self._part(Lanes, holder, lambda: Lanes(self.client, self.keys, Holder(holder), now_ms=0))

    def orders(self, holder: str = "a") -> Orders:
        return self._part(
            Orders, holder, lambda: Orders(self.client, self.keys, Holder(holder), RETENTION, now_ms=0)
        )

    @property
    def breakers(self) -> SharedBreakers:
        return self._part(SharedBreakers, "", lambda: SharedBreakers(self.client, self.keys, now_ms=0))

    @property
    def intake(self) -> Intake:
        return self._part(Intake, "", lambda: Intake(self.client, self.keys, room=self.room, now_ms=0))

    @property
    def upkeep(self) -> Upkeep:
        return self._part(Upkeep, "", lambda: Upkeep(self.client, self.keys, now_ms=0))

    def _part(self, kind: type[T], holder: str, make: Callable[[], T]) -> T:
        part = self._made.get((kind, holder)) or self._made.setdefault((kind, holder), make())
        part._now = str(self.now_ms)
        return part

    # Admission.

    def admission(
        self,
        market: str = "BTC",
        *,
        accounts: tuple[str, ...] = ("desk",),
        sender_id: str | None = None,
        dedup_keys: tuple[str, ...] = (),
        limit: Limit | None = None,
        declined: Mapping[str, tuple[str, str, str]] = MappingProxyType({}),
        digest: str = "digest",
        is_sender_id: bool = True,
        max_age_ms: int = 60_000,
        fired_at_ms: int | None = None,
        window_ms: int = 600_000,
        body: bytes = b"{}",
    ) -> Admission:
        self._alerts += 1
        alert = AlertId(f"alert{self._alerts:05d}")
        names = [AccountName(name) for name in accounts]
        return Admission(
            alert_id=alert,
            webhook=WebhookName("default"),
            dedup_keys=dedup_keys or (f"id:{sender_id or alert}",),
            dedup_window_ms=window_ms,
            digest=digest,
            is_sender_id=is_sender_id,
            limit=limit,
            alert=b'{"alert":1}',
            fired_at_ms=fired_at_ms,
            max_age_ms=max_age_ms,
            clock_skew_ms=5_000,
            routed=tuple(
                Routed(
                    n, Market(market), lane_name(n, Market(market)), body, PLAIN_VERSION, *declined.get(n, ())
                )
                for n in names
            ),
        )

    async def admit(self, market: str = "BTC", **options: Any) -> AlertId:
        admission = self.admission(market, **options)
        await self.do(self.intake.admissions.submit(admission))
        return admission.alert_id

    async def admit_each(self, *markets: str, **options: Any) -> None:
        """Admit an alert for each market, all in one go."""
        await self.do(*[self.intake.admissions.submit(self.admission(one, **options)) for one in markets])

    # Holding lanes.

    async def read(self, holder: str = "a", count: int = 16) -> list[Held]:
        # Without a block: the server looks after blocked clients ten times a second only.
        found = await Reader(self.client, self.keys, Holder(holder))._read(">", count, None)
        return [Held(lane, token) for token, lane, _ in found if lane is not None]

    async def open(self, held: Held, holder: str = "a") -> Any:
        return await self.do(self.lanes(holder).open.submit(held))

    async def hold(self, market: str = "BTC", *, alerts: int = 1, holder: str = "a", **options: Any) -> Hold:
        """Admit alerts of one lane, and hand its head to the holder."""
        for _ in range(alerts):
            await self.admit(market, **options)
        return await self.take(holder)

    async def take(self, holder: str = "a") -> Hold:
        """Hand the head of the one lane that is ready to the holder."""
        [held] = await self.read(holder)
        head = await self.open(held, holder)
        assert isinstance(head, Head), head
        return Hold(held, head, holder)

    # One instruction.

    def intent(
        self,
        hold: Hold,
        *,
        attempt: int = 1,
        nonce: str = "nonce-1",
        window_ms: int = 5_000,
        symbol: tuple[int, int] = NO_LIMIT,
        account: tuple[int, int] = NO_LIMIT,
        probe_ms: int = 4_000,
        plan: bytes = b'{"plan":1}',
        **more: Any,
    ) -> Intent:
        return Intent(
            held=hold.held,
            entry_id=hold.head.entry_id,
            account=hold.head.account,
            market=Market(hold.held.lane.split(":")[1]),
            client_order_id=more.pop("client_order_id", hold.order_id),
            attempt=attempt,
            nonce=Nonce(nonce),
            window_ms=window_ms,
            plan=plan,
            symbol_limit=symbol,
            account_limit=account,
            probe_ms=probe_ms,
            **more,
        )

    async def begin(self, hold: Hold, **options: Any) -> Any:
        return await self.do(self.orders(hold.holder).begin.submit(self.intent(hold, **options)))

    async def go(self, hold: Hold, **options: Any) -> Go:
        begun = await self.begin(hold, **options)
        assert isinstance(begun, Go), begun
        return begun

    def finding(
        self,
        hold: Hold,
        state: OrderState | None,
        *,
        attempt: int = 1,
        nonce: str | None = None,
        margin_ms: int = 0,
    ) -> Finding:
        own = None if nonce is None else Nonce(nonce)
        return Finding(hold.held, hold.order_id, attempt, state, own, margin_ms, "words")

    async def resolve(self, hold: Hold, state: OrderState | None, **options: Any) -> Any:
        return await self.do(self.orders(hold.holder).resolve.submit(self.finding(hold, state, **options)))

    def settlement(
        self,
        hold: Hold,
        state: InstructionState = InstructionState.EXECUTED,
        *,
        reason: Reason = Reason.FILLED,
        order: OrderState | None = OrderState.FILLED,
        attempt: int = 1,
        goes_back: GoesBack = GoesBack.NO,
    ) -> Settlement:
        outcome = None if order is None else OrderOutcome(hold.order_id, attempt, order, b'{"report":1}')
        return Settlement(hold.held, hold.head.entry_id, state, reason, "detail", outcome, goes_back)

    async def settle(self, hold: Hold, *args: Any, **options: Any) -> Any:
        return await self.do(self.orders(hold.holder).settle.submit(self.settlement(hold, *args, **options)))

    def parking(self, hold: Hold, wait_ms: int | None = 1_000, **options: Any) -> Parking:
        return replace(Parking(hold.held, wait_ms, 0, Reason.BACK_OFF), **options)

    async def park(self, hold: Hold, wait_ms: int | None = 1_000, **options: Any) -> Any:
        return await self.do(self.lanes(hold.holder).park.submit(self.parking(hold, wait_ms, **options)))

    # Calls.

    async def do(self, *calls: Awaitable[Any]) -> Any:
        """Await calls together, and hold what they changed against the tables of legal moves.

        One call returns its answer or raises; several return their answers and errors.
        """
        try:
            if len(calls) == 1:
                return await calls[0]
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            self.check_moves()

    async def run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script as it is: `keys` after the fixed ones, `args` after the time."""
        return await self.do(
            Script(name).run(self.client, [*self.keys.fixed, *keys], [str(self.now_ms), *args])
        )

    async def lose_reply(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call whose reply is lost on the way after it was executed; then make it again."""
        if self._proxy is None:
            self._proxy = Proxy(self.server.url).start()
            self.client = connect(self._proxy.url, timeout_s=5)
            self._made.clear()
        script = Script(name)
        self.redis.script_load(script.source)
        lost = self._proxy.lost_replies
        self._proxy.lose_next_reply(script.sha.encode())
        with pytest.raises(StoreUnavailable):
            await self.do(call())
        assert self._proxy.lost_replies == lost + 1
        return await self.do(call())

    @contextmanager
    def memory_limit_reached(self) -> Iterator[None]:
        self.redis.config_set("maxmemory", "1")
        with pytest.raises(OutOfMemoryError):
            self.redis.set("never", "1")
        try:
            yield
        finally:
            self.redis.config_set("maxmemory", "0")

    # What is in Redis.

    def dump(self) -> dict[str, bytes]:
        """Return everything there is, with pending lists: equal only if nothing at all was written."""
        with self.server.client(decode_responses=False) as client:
            keys = sorted(client.keys("*"))
            return {
                key.decode(): client.dump(key) + (b"" if client.pttl(key) < 0 else b"expires") for key in keys
            }

    @contextmanager
    def nothing_written(self) -> Iterator[None]:
        before = self.dump()
        yield
        assert self.dump() == before

    def instruction(self, alert: AlertId | str, account: str = "desk") -> dict[str, str]:
        return self.redis.hgetall(self.keys.instruction(AlertId(alert), AccountName(account)))

    def order(self, order_id: ClientOrderId) -> dict[str, str]:
        return self.redis.hgetall(self.keys.order(order_id))

    def fence(self, lane: str = "desk:BTC") -> str | None:
        return self.redis.hget(self.keys.lanes, lane)

    def tokens(self) -> list[tuple[str, str]]:
        """Return the ready stream: token, lane."""
        return [(token, fields["lane"]) for token, fields in self.redis.xrange(self.keys.ready)]

    def pending(self) -> dict[str, str]:
        """Return who has which token: token -> consumer."""
        found = self.redis.xpending_range(self.keys.ready, "workers", "-", "+", 1_000)
        return {entry["message_id"]: entry["consumer"] for entry in found}

    def letters(self) -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange(self.keys.dead)]

    def journal(self, *, account: str | None = None) -> list[tuple[str, str]]:
        """Return event and reason of each entry, oldest first."""
        return [
            (fields["event"], fields["reason"])
            for _, fields in self.redis.xrange(self.keys.journal)
            if account is None or fields["account"] == account
        ]

    def history(self, alert: AlertId | str, account: str = "desk") -> list[str]:
        """Return the events that an instruction's record names as its history."""
        ids = self.instruction(alert, account)["journal"].split()
        entries = dict(self.redis.xrange(self.keys.journal))
        assert all(entries[one]["alert"] == alert and entries[one]["account"] == account for one in ids)
        return [entries[one]["event"] for one in ids]

    def is_at_rest(self) -> bool:
        """Whether no lane, token or parked lane is left."""
        return not (
            self.redis.hlen(self.keys.lanes)
            or self.redis.xlen(self.keys.ready)
            or self.redis.zcard(self.keys.parked)
            or self.redis.keys(f"{self.keys.prefix}lane:*")
        )

    def lapse(self, token: str, idle_ms: int = LEASE_MS * 2) -> None:
        """Let a token's lease run out."""
        [entry] = self.redis.xpending_range(self.keys.ready, "workers", token, token, 1)
        self.redis.xclaim(
            self.keys.ready, "workers", entry["consumer"], 0, [token], idle=idle_ms, justid=True
        )

    def spoil(self, key: str) -> None:
        """Put a string in the place of whatever a key holds."""
        self.lose(key)
        self.redis.set(key, "junk", ex=600)

    def lose(self, key: str) -> None:
        """Delete a key."""
        self.redis.delete(key)
        self._states.pop(key, None)

    def look_anew(self) -> None:
        """Take what there is for given, however it came about."""
        self._states = self._read_states()

    def check_moves(self) -> None:
        states = self._read_states()
        for key, after in states.items():
            before = self._states.get(key)
            if before == after:
                continue
            if ":instruction:" in key:
                moves: Any = INSTRUCTION_MOVES[InstructionState(before) if before else None]
                if before is None:
                    # Admitted and handed out between two looks.
                    moves = {*moves, InstructionState.ACTIVE}
            else:
                moves = ORDER_MOVES[OrderState(before) if before else None]
            assert after in moves, f"{key} moved from {before} to {after}"
        for key, before in self._states.items():
            assert key in states or self.redis.type(key) != "hash", f"{key} lost its state {before}"
        self._states = states

    def _read_states(self) -> dict[str, str]:
        kinds = ("instruction:", "order:")
        at = len(self.keys.prefix)
        keys = [key for key in self.redis.keys(f"{self.keys.prefix}[io]*") if key[at:].startswith(kinds)]
        with self.redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hget(key, "state")
            states = pipeline.execute(raise_on_error=False)
        # A key of a wrong type answers an error.
        return {key: state for key, state in zip(keys, states, strict=True) if isinstance(state, str)}
