"""Everything there is in one run of the machine: Redis, processes, senders, a venue; and how it comes to rest."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Final

import redis as sync_redis
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import (
    AccountName,
    AlertId,
    Market,
    WebhookName,
    client_order_id,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION
from libs.common.domain.lifecycle import OrderState
from libs.common.store.admission import Admission, Routed
from libs.common.store.client import connect
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.decisions import Decisions
from libs.common.store.following import Following
from libs.common.store.halts import Halts
from libs.common.store.head import Closed, HandedBack, Head, Held
from libs.common.store.intake import Admitted, Conflict, Duplicate, Intake
from libs.common.store.keys import GROUP, Keys
from libs.common.store.order_answers import BegunNext
from libs.common.store.orders import NO_LIMIT
from libs.common.store.scripts import Script
from libs.common.store.upkeep import Promotion, Upkeep
from tests.fuzz.promises import Memory, Promises
from tests.fuzz.venue import Request, Venue
from tests.fuzz.worker import FLIP, KILLER, POISON_LIMIT, RETENTION
from tests.machine.watch import LOOK, Watch
from tests.machine.wire import Wire
from tests.machine.worker import MOST_RESTING, Hand, Process, Step, report_of
from tests.support.eventually import eventually_sync
from tests.support.redis_server import RedisServer
from tests.support.rollback import Rollback

START_MS: Final = 1_780_000_000_000
LEASE_MS: Final = 60_000
"""Longer than a run takes: leases lapse when a rule says so, not by real time."""

READING_MAX_AGE_MS: Final = 20_000

ACCOUNTS: Final = (AccountName("desk"), AccountName("fund"))
MARKETS: Final = (Market("BTC"), Market("ETH"))
LONGEST_WINDOW_MS: Final = 500
"""How long a request may execute after it was granted, with its wait."""

LANES: Final = tuple(lane_name(account, market) for account in ACCOUNTS for market in MARKETS)

FAILED_AT: Final = {"reclaim": 3, "audit": 2}
"""Where their answers tell how many lanes cannot be used."""

Limits = tuple[tuple[int, int], tuple[int, int]]
"""Of a market, of an account: microseconds between two orders, and how many may come at once."""

LIMITS: Final[tuple[Limits, ...]] = (
    (NO_LIMIT, NO_LIMIT),
    ((8_000, 2), (3_000, 3)),
    (NO_LIMIT, (5_000, 1)),
    ((15_000, 1), NO_LIMIT),
)


class Broken(AssertionError):
    """A promise was broken."""


@dataclass
class Post:
    """What a sender posts until it is told that it arrived."""

    sender_id: str
    accounts: tuple[AccountName, ...]
    market: Market
    body: bytes
    max_age_ms: int


@dataclass
class Snapshot:
    """What was promised up to the moment that a replica has."""

    memory: Memory
    halts: dict[str, str]
    is_damaged: bool


class Server:
    """Redis, and the connections to it, for many runs."""

    def __init__(self, server: RedisServer) -> None:
        self.loop = asyncio.new_event_loop()
        self.client: Redis = connect(server.url, timeout_s=10, connections=2)
        self.direct: Any = server.client(socket_timeout=10.0)
        self.replica = Rollback(self.direct)
        self.look = self.direct.register_script(LOOK)

    def close(self) -> None:
        self.loop.run_until_complete(self.client.aclose())
        self.loop.close()
        self.direct.close()
        self.replica.close()


class Stage:
    """One run's world: a Redis that was emptied, two processes, and watchers of every call that Redis executes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.direct = server.direct
        self.keys = Keys()
        self.now_ms = START_MS
        self._latest_ms = START_MS
        self.limits: Limits = LIMITS[0]
        self.venue = Venue(self.report)
        self.posts: list[Post] = []
        """What was posted so far, answered or not."""
        self.unanswered: list[Post] = []
        self.checks_budget = True
        self.snapshot: Snapshot | None = None
        self.broken: Broken | None = None
        """The first promise that was broken."""
        self.answers: Counter[str] = Counter()
        """What scripts answered, how often."""
        self._bodies: dict[AlertId, bytes] = {}
        self._numbers = 0
        self.promises = Promises(
            self.direct,
            self.keys,
            self.venue,
            self.report,
            now_ms=lambda: self.now_ms,
            unsent=self._unsent,
            is_flip=lambda alert: self._bodies[alert] == FLIP,
            poison_limit=POISON_LIMIT,
        )
        self.watch = Watch(self.direct, self.keys, LANES, self.report, lambda: self.now_ms)
        self.wire = Wire(
            server.client, self.direct, self.keys, self._executed, self.report, lambda: self.now_ms
        )
        attach, client = self.wire.attach, server.client
        self.intake: Intake = attach(Intake(client, self.keys, now_ms=0))
        self.upkeep: Upkeep = attach(Upkeep(client, self.keys, now_ms=0))
        self.dead_letters: DeadLetters = attach(DeadLetters(client, self.keys, now_ms=0))
        self.halts: Halts = attach(Halts(client, self.keys, now_ms=0))
        self.decisions: Decisions = attach(Decisions(client, self.keys, now_ms=0))
        self.direct.flushall()
        self.direct.xgroup_create(self.keys.ready, GROUP, "0", mkstream=True)
        self._incarnate()
        self.processes = [self.new_process() for _ in range(2)]

    def report(self, promise: str, detail: object) -> None:
        self.broken = self.broken or Broken(f"{promise}: {detail}")
        raise self.broken

    def new_process(self) -> Process:
        return Process(self.server.client, self.keys, self.wire.attach)

    def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call; None where no answer came."""
        try:
            return self.server.loop.run_until_complete(_answer(call))
        except StoreUnavailable:
            return None
        except StoreCorrupt as error:
            # A flight takes what was noticed in it for its own failure.
            return self.report("CORRUPT", str(error))

    def number(self) -> int:
        """Return a number that was not given out before."""
        self._numbers += 1
        return self._numbers

    def tick(self, ms: int = 1) -> None:
        """Let time pass."""
        self.now_ms += ms
        self._latest_ms = max(self._latest_ms, self.now_ms)
        self.venue.let_arrive(self.now_ms)

    def hands(self, *steps: Step) -> list[Hand]:
        """Return the hands of running processes that are about to do one of these."""
        return [
            hand
            for process in self.processes
            if not process.is_stalled
            for hand in process.hands.values()
            if hand.step in steps and hand.not_before_ms <= self.now_ms
        ]

    def check(self) -> None:
        """Hold what there is against what must hold."""
        self.watch.look(self.server.look, list(self.promises.positions))
        if self.checks_budget:
            for account in ACCOUNTS:
                if list(self.venue.resting.values()).count(account) > MOST_RESTING:
                    self.report("MORE REST THAN MAY", account)

    def _executed(self, name: str, keys: Any, args: Any, reply: Any) -> None:
        self.promises.executed(name, keys, args, reply)
        self.watch.executed(name, keys, args, reply)
        for answer in reply if isinstance(reply, list) else ():
            if isinstance(answer, list) and isinstance(answer[0], bytes):
                self.answers[f"{name} {answer[0].decode()}"] += 1
        if name in FAILED_AT and reply[0] != b"GRACE" and int(reply[FAILED_AT[name]]):
            self.report("CORRUPT", name)

    def _unsent(self) -> list[Request]:
        return [
            hand.request
            for process in self.processes
            for hand in process.hands.values()
            if hand.request is not None
        ]

    # Senders.

    def post(self, post: Post) -> None:
        """Post, once; one that was not answered is posted again in the end."""
        alert = AlertId(f"a{self.number():04d}")
        self._bodies[alert] = post.body
        admission = Admission(
            alert_id=alert,
            webhook=WebhookName("hook"),
            dedup_keys=(post.sender_id,),
            dedup_window_ms=600_000,
            digest="digest",
            is_sender_id=True,
            limit=None,
            alert=b"alert",
            fired_at_ms=None,
            max_age_ms=post.max_age_ms,
            clock_skew_ms=0,
            routed=tuple(
                Routed(account, post.market, lane_name(account, post.market), post.body, PLAIN_VERSION)
                for account in post.accounts
            ),
        )
        answer = self.ask(lambda: self.intake.admissions.submit(admission))
        if isinstance(answer, Conflict):
            self.report("CONFLICT", post)
        if isinstance(answer, Admitted | Duplicate):
            self.promises.acknowledged.add(answer.alert_id)
            if post in self.unanswered:
                self.unanswered.remove(post)
        elif post not in self.unanswered:
            self.unanswered.append(post)

    # Workers.

    def read(self, process: Process, count: int, *, own: bool = False) -> None:
        """Read tokens."""
        reading = process.reader.read_own() if own else process.reader._read(">", count, None)
        try:
            found = self.server.loop.run_until_complete(reading)
        except StoreCorrupt:
            self.server.loop.run_until_complete(process.lanes.create_group())
            return
        for token, lane, head in found:
            if lane is None:
                self.ask(partial(process.lanes.drop, [token]))
                continue
            held = Held(lane, token)
            process.hands.setdefault(held, Hand(process, held, prepared=head))

    def open(self, hand: Hand) -> None:
        """Take a lane whose token was read, with the begin of what it told is the head."""
        hand.takes(_nonce(self.number()), 60, self.limits)
        if hand.head is None and hand.intent is not None:
            self.handed_out(hand, self.ask(partial(hand.process.orders.take.submit, hand.taking())))
            return
        self.handed_out(hand, self.ask(lambda: hand.process.lanes.open.submit(hand.held)))

    def handed_out(self, hand: Hand, answer: Any) -> None:
        if answer is None:
            return
        if isinstance(answer, Head):
            hand.take(answer)
            self.take_reading(hand)
        elif isinstance(answer, BegunNext):
            assert hand.prepared is not None
            position = self.promises.positions.get((hand.prepared.alert_id, hand.prepared.account), 0)
            hand.continues(answer, position, self.now_ms)
        elif isinstance(answer, Closed | HandedBack):
            hand.process.hands.pop(hand.held, None)
        else:
            hand.lost(answer)

    def take_reading(self, hand: Hand) -> None:
        """Ask the venue what rests there."""
        assert hand.head is not None
        resting = list(self.venue.resting.values()).count(hand.head.account)
        hand.resting = (resting, self.now_ms)

    def begin(self, hand: Hand, window_ms: int = 60, strategy: str = "") -> None:
        """Ask whether the order may leave."""
        assert hand.head is not None
        if hand.head.body == KILLER:
            self.die(hand.process)
            return
        if hand.intent is None and (
            hand.resting is None or self.now_ms - hand.resting[1] > READING_MAX_AGE_MS
        ):
            self.take_reading(hand)
        intent = hand.intend(_nonce(self.number()), window_ms, self.limits, strategy)
        answer = self.ask(lambda: hand.process.orders.begin.submit(intent))
        if answer is not None:
            position = self.promises.positions.get((hand.head.alert_id, hand.head.account), 0)
            hand.begun(answer, position, self.now_ms)

    def answer(self, hand: Hand) -> None:
        """Send the order, and get the venue's answer."""
        request, hand.request = hand.request, None
        assert request is not None
        if self.venue.arrive(request, self.now_ms):
            hand.came_to(OrderState.ACCEPTED if request.rests else OrderState.FILLED)
        else:
            hand.step = Step.LOOK_UP

    def look_up(self, hand: Hand) -> None:
        """Ask the venue for the order."""
        order = hand.order_id
        if not self.venue.knows(order):
            hand.tells(None)
        else:
            hand.came_to(OrderState.ACCEPTED if order in self.venue.resting else OrderState.FILLED)

    def tell(self, hand: Hand) -> None:
        """Say what became of the order."""
        assert hand.finding is not None
        answer = self.ask(partial(hand.process.orders.resolve.submit, hand.finding))
        if answer is not None:
            hand.told(answer, self.now_ms)

    def settle(self, hand: Hand) -> None:
        """End the instruction."""
        assert hand.settlement is not None
        hand.prepares(_nonce(self.number()), 60, self.limits)
        self.handed_out(hand, self.ask(partial(hand.process.orders.settle.submit, hand.settlement)))

    def advance(self, hand: Hand) -> None:
        """Make the move that comes next when nothing goes wrong."""
        match hand.step:
            case Step.OPEN:
                self.open(hand)
            case Step.DOUBT:
                self.handed_out(hand, self.ask(lambda: hand.process.orders.doubt.submit(hand.doubt())))
            case Step.BEGIN:
                self.begin(hand)
            case Step.SEND:
                self.answer(hand)
            case Step.LOOK_UP:
                self.look_up(hand)
            case Step.TELL:
                self.tell(hand)
            case Step.SETTLE:
                self.settle(hand)

    def work(self, hand: Hand, most: int) -> bool:
        """Make some moves in which nothing goes wrong; tells whether there was one to make."""
        moves = 0
        # A killer may take its process along.
        while (
            moves < most
            and hand.process in self.processes
            and hand.process.hands.get(hand.held) is hand
            and hand.not_before_ms <= self.now_ms
        ):
            self.tick()
            self.advance(hand)
            self.check()
            moves += 1
        return moves > 0

    def die(self, process: Process) -> None:
        """Let a process die, and another start."""
        process.hands.clear()
        self.processes[self.processes.index(process)] = self.new_process()

    def claim(self, process: Process) -> None:
        """Claim orders that rest."""
        rooms = dict.fromkeys(ACCOUNTS, 4)
        claims = self.ask(lambda: process.following.claim(rooms, at_most=4))
        if claims is None:
            return
        if claims.failed:
            self.report("CORRUPT", claims.failed)
        process.claimed += claims.orders

    def follow_up(self, process: Process, index: int) -> None:
        """Tell what the venue says of an order that rests."""
        order = process.claimed.pop(index % len(process.claimed))
        is_resting = order.client_order_id in self.venue.resting
        following = Following(
            order=order,
            state=order.state if is_resting else OrderState.FILLED,
            due_in_ms=20 if is_resting else None,
            report=report_of(order.state if is_resting else OrderState.FILLED),
            filled=None if is_resting else Decimal(1),
        )
        self.ask(lambda: process.following.report.submit(following))

    # The reaper.

    def audit(self) -> None:
        found = self.ask(lambda: self.upkeep.audit(keep_dead_ms=RETENTION.replayable_ms))
        if found is not None:
            self.watch.is_damaged = False

    def reclaim(self, tokens: list[str], *, is_first_pass: bool = False) -> None:
        """Let leases lapse, and reclaim their lanes."""
        for entry in self.pending():
            if entry["message_id"] in tokens:
                self.direct.xclaim(
                    self.keys.ready,
                    GROUP,
                    entry["consumer"],
                    0,
                    [entry["message_id"]],
                    idle=2 * LEASE_MS,
                    justid=True,
                )
        if not is_first_pass:
            self.direct.hset(self.keys.meta, "reclaimed_at", self.now_ms)
        self.ask(lambda: self.upkeep.reclaim(lease_ms=LEASE_MS))

    def pending(self) -> list[dict[str, Any]]:
        """Return who has which token."""
        try:
            found: list[dict[str, Any]] = self.direct.xpending_range(self.keys.ready, GROUP, "-", "+", 1_000)
        except sync_redis.ResponseError:
            return []
        return found

    # The clock, and Redis as a whole.

    def set_clock_back(self, ms: int) -> None:
        self.promises.check_rates(*self.limits)
        self.promises.forget_rates()
        self.watch.forget()
        self.watch.is_clock_new = True
        self.checks_budget = False
        self.now_ms -= ms

    def take_snapshot(self) -> None:
        """Let a replica have everything up to now."""
        self.server.replica.keep()
        self.snapshot = Snapshot(self.promises.memory(), self.watch.halts, self.watch.is_damaged)

    def fail_over(self) -> None:
        """Let the replica take over: what it does not have is lost."""
        assert self.snapshot is not None
        taken, self.snapshot = self.snapshot, None
        # Redis knows by the ids of its streams if its clock is behind; they do not follow ours.
        self.now_ms = self._latest_ms = max(self.now_ms, self._latest_ms)
        self.promises.check_rates(*self.limits)
        self.promises.forget_rates()
        self.checks_budget = False
        self.server.replica.fall_back()
        for alert, account in self.promises.fall_back_to(taken.memory):
            self.venue.nobodys |= {client_order_id(account, alert, leg) for leg in (0, 1)}
        self.watch.fall_back(taken.halts)
        self.watch.is_damaged |= taken.is_damaged
        self.let_ids_move_on()
        self._incarnate()

    def let_ids_move_on(self) -> None:
        """Wait for the next millisecond: ids of a stream that was made anew could be those of its old entries."""
        began = self._redis_ms()
        eventually_sync(lambda: self._redis_ms() > began, 1.0, 0.0001, "Redis' clock moves on")

    def _redis_ms(self) -> int:
        seconds, micros = self.direct.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    def _incarnate(self) -> None:
        """Make the first call of a connection to another start of Redis."""
        script = Script("incarnate")
        args = [str(self.now_ms), f"run{self.number()}", "0", "1", str(LONGEST_WINDOW_MS), "", "0", "0"]
        answer = self.server.loop.run_until_complete(script.run(self.server.client, self.keys.fixed, args))
        if answer[0] != b"NEW":
            self.report("A FAIL-OVER THAT NOBODY NOTICED", answer)

    # The end.

    def come_to_rest(self) -> None:
        """Take all faults away, and let everything that is queued come to its end."""
        self.promises.check_rates(*self.limits)
        self.wire.held_back.clear()
        for scope in self.direct.hkeys(self.keys.halts):
            self.direct.hdel(self.keys.halts, scope)
        self.watch.fall_back({})
        self.check()
        for process in list(self.processes):
            self.die(process)
        for post in list(self.unanswered):
            self.post(post)
            self.check()
        for n in range(5_000):
            if n % 4 == 0:
                self.audit()
                mine = {held.token for process in self.processes for held in process.hands}
                self.reclaim([one["message_id"] for one in self.pending() if one["message_id"] not in mine])
            promotion = self.ask(self.upkeep.promote)
            has_moved = False
            for process in list(self.processes):
                self.read(process, 16)
                for hand in list(process.hands.values()):
                    has_moved |= self.work(hand, 20)
            has_moved |= self._end_what_rests()
            if not has_moved:
                if self.promises.is_at_rest() and not self.direct.zcard(self.keys.following):
                    break
                self._wait_for_what_comes(promotion)
        self.promises.check_the_end()
        self.promises.check_rates(*self.limits)
        self.watch.has_orphans = False
        self.check()
        self._check_fills()

    def _wait_for_what_comes(self, promotion: Promotion | None) -> None:
        """Let time pass until something can go on."""
        at_ms = [hand.not_before_ms for process in self.processes for hand in process.hands.values()]
        at_ms += [arrives_at_ms for arrives_at_ms, _ in self.venue.travelling]
        if promotion is not None and promotion.next_in_ms is not None:
            at_ms.append(self.now_ms + promotion.next_in_ms)
        self.tick(max(1, min(at_ms, default=self.now_ms + 25) - self.now_ms))

    def _end_what_rests(self) -> bool:
        """Let the venue fill what rests, and tell of it."""
        self.venue.resting.clear()
        if not self.direct.zcard(self.keys.following):
            return False
        # Claims of those who died run out.
        self.direct.zadd(
            self.keys.following, dict.fromkeys(self.direct.zrange(self.keys.following, 0, -1), 0)
        )
        process = self.processes[0]
        process.claimed.clear()
        self.claim(process)
        while process.claimed:
            self.follow_up(process, 0)
        return True

    def _check_fills(self) -> None:
        for account in ACCOUNTS:
            noted = [fields["order"] for _, fields in self.direct.xrange(self.keys.fills(account))]
            for alert, of_account in self.promises.positions:
                for leg in (0, 1):
                    order = client_order_id(of_account, alert, leg)
                    if of_account == account and noted.count(order) != self.venue.knows(order):
                        self.report("FILL COUNTED OTHER THAN ONCE", (order, noted.count(order)))


async def _answer(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


def _nonce(number: int) -> Any:
    return f"n{number}"
