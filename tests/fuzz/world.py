"""One seeded run: workers, reaper, senders and a venue, taken through their steps in an order that chance decides.

Time is simulated. Every lease may lapse at any moment, calls get lost or come late, processes stall and die, tokens,
groups and consumers vanish; then the faults end, and everything must have come to a good end.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis as sync_redis
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import (
    AccountName,
    AlertId,
    DeadLetterId,
    LaneName,
    Market,
    WebhookName,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION
from libs.common.domain.lifecycle import ENDED, WORST_FIRST, InstructionState
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.head import Held
from libs.common.store.intake import Admission, Admitted, Conflict, Duplicate, Intake, Routed
from libs.common.store.keys import GROUP, Keys
from libs.common.store.orders import NO_LIMIT
from libs.common.store.upkeep import Upkeep
from tests.fuzz.faults import Network
from tests.fuzz.venue import Request, Venue
from tests.fuzz.worker import FLIP, KILLER, POISON_LIMIT, RETENTION, Dropped, Killed, Pause, Process, Task
from tests.support.stray_keys import find_stray_keys

START_MS: Final = 1_780_000_000_000
LEASE_MS: Final = 60_000
"""Longer than a run takes: leases lapse when this says so, not by real time."""

ACCOUNTS: Final = ("desk", "fund")
LIMITS: Final = (
    (NO_LIMIT, NO_LIMIT),
    ((8_000, 2), (3_000, 3)),
    (NO_LIMIT, (5_000, 1)),
    ((15_000, 1), NO_LIMIT),
)


@dataclass
class Post:
    """What a sender posts until it is told that it arrived."""

    markets: Market
    accounts: tuple[str, ...]
    sender_id: str
    max_age_ms: int
    body: bytes
    tries_left: int = 4


@dataclass
class World:
    """Everything there is in one run."""

    client: Redis
    direct: sync_redis.Redis
    seed: int
    length: int = 1_000
    """Steps with faults; about as many follow without."""
    violations: list[tuple[str, object]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.keys = Keys()
        self.now_ms = START_MS
        self.venue = Venue(self.report)
        self.network = Network(
            self.client, self.rng, self._executed, lambda: self.now_ms, self.rng.choice((0.01, 0.04, 0.1))
        )
        self.windows_ms = self.rng.choice(((20, 60), (1, 200)))
        """How long requests may execute: much the same, or very different ones."""
        self._chaos_share = self.rng.choice((0.01, 0.03, 0.1))
        self._stall_share = self.rng.choice((0.01, 0.02, 0.05))
        self.limits = self.rng.choice(LIMITS)
        self.intake: Intake = self.network.attach(Intake(self.client, self.keys, now_ms=0))
        self.upkeep: Upkeep = self.network.attach(Upkeep(self.client, self.keys, now_ms=0))
        self.dead_letters: DeadLetters = self.network.attach(DeadLetters(self.client, self.keys, now_ms=0))
        self.processes: list[Process] = []
        self.positions: dict[tuple[AlertId, AccountName], int] = {}
        """Where each instruction stands in the order in which they were queued."""
        self.flips: set[tuple[AlertId, AccountName]] = set()
        """Instructions of two legs."""
        self.replays: Counter[tuple[AlertId, AccountName]] = Counter()
        self._posts: list[Post] = []
        self._acknowledged: set[AlertId] = set()
        self._admitted: dict[str, set[AlertId]] = {}
        self._gos: dict[tuple[str, ...], tuple[int, str, str]] = {}
        self._alerts = 0
        self._has_chaos = True

    def report(self, promise: str, detail: object) -> None:
        """Note a broken promise."""
        self.violations.append((promise, detail))

    def market_of(self, lane: LaneName) -> Market:
        return Market(lane.split(":")[1])

    # The run.

    async def run(self) -> list[tuple[str, object]]:
        """Take it to its end; returns the promises that were broken."""
        self.direct.flushall()
        self.direct.xgroup_create(self.keys.ready, GROUP, "0", mkstream=True)
        self.processes = [Process(self) for _ in range(3)]
        for n in range(self.length):
            await self._step(can_admit=n < self.length * 0.8)
            if len(self.violations) > 5:
                return self.violations
        await self._come_to_rest()
        self._check_the_end()
        return self.violations

    async def _step(self, *, can_admit: bool) -> None:
        self.now_ms += self.rng.choice((0, 1, 1, 1, 2, 5))
        self.venue.let_arrive(self.now_ms)
        await self.network.deliver_late()
        dice = self.rng.random()
        if dice < 0.10:
            if can_admit:
                await self._admit()
        elif dice < 0.26:
            await self._read(self.rng.choice(self.processes))
        elif dice < 0.34:
            await self._upkeep()
        elif dice < 0.34 + self._chaos_share:
            await self._chaos()
        elif dice < 0.34 + self._chaos_share + self._stall_share:
            self.rng.choice(self.processes).stalled_until_ms = self.now_ms + self.rng.randint(5, 150)
        elif dice > 0.995:
            self._kill(self.rng.choice(self.processes))
        elif dice > 0.99:
            await self._replay()
        else:
            await self._work(at_most=self.rng.choice((1, 1, 2, 4)))

    # Senders.

    async def _admit(self) -> None:
        if self._posts and self.rng.random() < 0.5:
            post = self._posts.pop(self.rng.randrange(len(self._posts)))
        else:
            accounts = ACCOUNTS if self.rng.random() < 0.2 else (self.rng.choice(ACCOUNTS),)
            post = Post(
                markets=Market(self.rng.choice(("BTC", "ETH"))),
                accounts=accounts,
                sender_id=f"s{self.rng.getrandbits(48)}",
                max_age_ms=self.rng.choice((60, 400, 3_000, 3_000, 3_000)),
                body=self.rng.choices((KILLER, FLIP, b"body"), (0.03, 0.3, 0.67))[0],
            )
        await self._post(post)

    async def _post(self, post: Post) -> None:
        self._alerts += 1
        admission = Admission(
            alert_id=AlertId(f"a{self._alerts:04d}"),
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
                Routed(
                    AccountName(account),
                    post.markets,
                    lane_name(AccountName(account), post.markets),
                    post.body,
                    PLAIN_VERSION,
                )
                for account in post.accounts
            ),
        )
        post.tries_left -= 1
        for _ in range(self.rng.choice((1, 1, 2))):
            try:
                verdict = await self.intake.admissions.submit(admission)
            except StoreUnavailable:
                continue
            if isinstance(verdict, Conflict):
                self.report("CONFLICT", post.sender_id)
            elif isinstance(verdict, Admitted | Duplicate):
                self._acknowledged.add(verdict.alert_id)
            if self.rng.random() < 0.8:
                return
            break
        # No answer reached the sender: it posts again, and that is another alert of the same id.
        if post.tries_left:
            self._posts.append(post)

    async def _replay(self) -> None:
        letters = self.direct.xrange(self.keys.dead)
        if letters:
            letter = DeadLetterId(self.rng.choice(letters)[0])
            try:
                await self.dead_letters.replay(letter, max_age_ms=2_000)
            except StoreUnavailable:
                return
            self.counts["replays"] += 1

    # Workers.

    async def _read(self, process: Process) -> None:
        if process.stalled_until_ms > self.now_ms or len(process.tasks) > 5:
            return
        try:
            if process.reads_own_first:
                found = await process.reader.read_own()
            else:
                found = await process.reader._read(">", self.rng.randint(1, 3), None)
        except StoreCorrupt:
            process.reads_own_first = True
            if self.rng.random() < 0.3:
                await process.lanes.create_group()
            return
        if self._has_chaos and self.rng.random() < 0.05:
            # The reply is lost: the tokens are delivered and nobody knows.
            process.reads_own_first = self.rng.random() < 0.8
            return
        process.reads_own_first = False
        for token, lane in found:
            held = Held(lane or LaneName(""), token)
            if lane is None:
                try:
                    await process.lanes.drop([token])
                except StoreUnavailable:
                    continue
            elif held not in process.tasks:
                process.tasks[held] = Task(self, process, held)

    async def _work(self, *, at_most: int) -> bool:
        """Let a few tasks of one process make a step; returns whether any could."""
        awake = [process for process in self.processes if process.stalled_until_ms <= self.now_ms]
        ready = [
            task for process in awake for task in process.tasks.values() if task.wakes_at_ms <= self.now_ms
        ]
        if not ready:
            return False
        first = self.rng.choice(ready)
        chosen = [task for task in ready if task.process is first.process and task is not first]
        chosen = [first, *self.rng.sample(chosen, min(at_most - 1, len(chosen)))]
        calls = [(task, call) for task in chosen if (call := self._advance(task)) is not None]
        # Calls of one process in one step share a flight.
        flights = [(task, call()) for task, call in calls]
        for task, flight in flights:
            try:
                task.reply = await flight
            except (StoreUnavailable, StoreCorrupt) as error:
                if isinstance(error, StoreCorrupt):
                    self.report("CORRUPT", str(error))
                task.reply = error
        return True

    def _advance(self, task: Task) -> Any:
        """Run a task to its next call, if that is what comes next."""
        reply, task.reply = task.reply, None
        try:
            wanted = task.steps.throw(reply) if isinstance(reply, Exception) else task.steps.send(reply)
        except (StopIteration, Dropped, StoreCorrupt):
            task.unsent = None
            task.process.tasks.pop(task.held, None)
            return None
        except Killed:
            self.counts["killers"] += 1
            self._kill(task.process)
            return None
        if isinstance(wanted, Pause):
            task.wakes_at_ms = wanted.until_ms
            return None
        return wanted

    def _kill(self, process: Process) -> None:
        self.counts["kills"] += 1
        process.tasks.clear()
        if process in self.processes:
            self.processes.remove(process)
            self.processes.append(Process(self))

    # The reaper.

    async def _upkeep(self) -> None:
        try:
            dice = self.rng.random()
            if dice < 0.5:
                await self.upkeep.promote()
            elif dice < 0.8:
                await self._reclaim()
            elif dice < 0.95:
                await self._audit()
            else:
                await self.upkeep.retire(idle_ms=self.rng.choice((0, 5)))
        except StoreUnavailable:
            return
        except StoreCorrupt as error:
            self.report("CORRUPT", str(error))

    async def _audit(self) -> None:
        found = await self.upkeep.audit(keep_dead_ms=RETENTION.replayable_ms)
        self.counts["healed"] += found.tokens
        self.counts["expired in place"] += found.expired
        if found.failed:
            self.report("CORRUPT", "audit")

    async def _reclaim(self, tokens: Sequence[str] | None = None) -> None:
        """Let some leases lapse, one by default, and reclaim their lanes."""
        try:
            pending = self.direct.xpending_range(self.keys.ready, GROUP, "-", "+", 1_000)
        except sync_redis.ResponseError:
            return
        if tokens is None:
            tokens = [self.rng.choice(pending)["message_id"]] if pending else []
        for entry in pending:
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
        if self.rng.random() < 0.9:
            # As if the last pass was just now; else there may be a grace.
            self.direct.hset(self.keys.meta, "reclaimed_at", self.now_ms)
        found = await self.upkeep.reclaim(lease_ms=LEASE_MS)
        if hasattr(found, "failed"):
            self.counts["reclaimed"] += found.lanes
            if found.failed:
                self.report("CORRUPT", "reclaim")
        else:
            self.counts["graces"] += 1

    # Chaos.

    async def _chaos(self) -> None:
        what = self.rng.choice(
            (
                "again",
                "again",
                "again",
                "group",
                "ready",
                "token",
                "consumer",
                "own",
                "scripts",
                "fence",
                "junk",
            )
        )
        self.counts[what] += 1
        tokens = self.direct.xrange(self.keys.ready)
        lanes = self.direct.hkeys(self.keys.lanes)
        if what == "again":
            # A fail-over forgot what was delivered, and delivers it to others.
            try:
                self.direct.xgroup_setid(self.keys.ready, GROUP, "0")
            except sync_redis.ResponseError:
                return
            for process in self.rng.sample(self.processes, 2):
                process.reads_own_first = False
                await self._read(process)
        elif what == "group":
            if tokens:
                self.direct.xgroup_destroy(self.keys.ready, GROUP)
            if self.rng.random() < 0.5:
                await self.processes[0].lanes.create_group()
        elif what == "ready":
            self.direct.delete(self.keys.ready)
        elif what == "token" and tokens:
            self.direct.xdel(self.keys.ready, self.rng.choice(tokens)[0])
        elif what == "consumer":
            try:
                self.direct.xgroup_delconsumer(self.keys.ready, GROUP, self.rng.choice(self.processes).holder)
            except sync_redis.ResponseError:
                return
        elif what == "own":
            self.rng.choice(self.processes).reads_own_first = True
        elif what == "scripts":
            self.direct.script_flush()
        elif what == "fence" and lanes:
            self.direct.hdel(self.keys.lanes, self.rng.choice(lanes))
        elif what == "junk" and lanes:
            self.direct.xadd(self.keys.lane(LaneName(self.rng.choice(lanes))), {"foo": "bar"})

    # What Redis executed, whoever was told.

    def _executed(self, name: str, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        if name == "admit":
            self._saw_admissions(keys, args, reply)
        elif name == "begin":
            self._saw_begins(args, reply)
        elif name == "resolve":
            self._saw_findings(args, reply)
        elif name == "replay" and reply[0] == b"OK":
            key = (AlertId(reply[1].decode()), AccountName(reply[2].decode()))
            self._queued(key)
            self.replays[key] += 1

    def _queued(self, key: tuple[AlertId, AccountName]) -> None:
        self.positions[key] = max(self.positions.values(), default=0) + 1

    def _saw_admissions(self, keys: Sequence[str], args: Sequence[Any], reply: Any) -> None:
        # Posts here have one dedup key, no rate, and accounts that decline nothing.
        k, a = 9, 3
        for answer in reply[1:]:
            alert, count = AlertId(args[a]), int(args[a + 11])
            accounts = [AccountName(args[a + 12 + 6 * n]) for n in range(count)]
            bodies = [args[a + 15 + 6 * n] for n in range(count)]
            known = self._admitted.setdefault(keys[k + 1], set())
            if answer[0] == b"ADMITTED" and alert not in known:
                known.add(alert)
                if len(known) > 1:
                    self.report("ADMITTED TWICE", known)
                for account, body in zip(accounts, bodies, strict=True):
                    self._queued((alert, account))
                    if body == FLIP:
                        self.flips.add((alert, account))
            k, a = k + 2 + 2 * count, a + 12 + 6 * count

    def _saw_begins(self, args: Sequence[Any], reply: Any) -> None:
        for n, answer in enumerate(reply):
            one = args[3 + 20 * n : 23 + 20 * n]
            if answer[0] == b"GO":
                account, market = one[0].split(":")[:2]
                attempt = (str(one[4]), str(one[5]), str(one[6]))
                self._gos.setdefault(attempt, (self.now_ms + int(answer[2]), account, market))

    def _saw_findings(self, args: Sequence[Any], reply: Any) -> None:
        for n, answer in enumerate(reply):
            one = args[1 + 12 * n : 13 + 12 * n]
            if answer[0] != b"OK" or one[5] != "NOT_EXECUTED":
                continue
            order, nonce = one[3], one[6]
            unsent = [
                task.unsent for process in self.processes for task in process.tasks.values() if task.unsent
            ]
            may_leave = any(_may_leave(request, order, nonce, self.now_ms) for request in unsent)
            if may_leave or self.venue.knows(order) or self.venue.may_still_execute(order, self.now_ms):
                self.report("NOT_EXECUTED BELIEVED TOO EARLY", order)

    # The end.

    async def _come_to_rest(self) -> None:
        """Take all faults away, and let everything that is queued come to its end."""
        self._has_chaos = False
        self.network.loss = 0
        self.network.late.clear()
        for process in list(self.processes):
            self._kill(process)
        while self._posts:
            await self._post(self._posts.pop())
        for n in range(3_000):
            self.venue.let_arrive(self.now_ms)
            if n % 20 == 0:
                await self._audit()
                await self._reclaim(self._forgotten_tokens())
            await self.upkeep.promote()
            await self._read(self.rng.choice(self.processes))
            if not any([await self._work(at_most=4) for _ in range(8)]):
                if self._is_at_rest():
                    return
                self.now_ms += 5

    def _forgotten_tokens(self) -> list[str]:
        """Return the tokens that are pending though no task has them."""
        held = {task.token for process in self.processes for task in process.tasks}
        try:
            pending = self.direct.xpending_range(self.keys.ready, GROUP, "-", "+", 1_000)
        except sync_redis.ResponseError:
            return []
        return [entry["message_id"] for entry in pending if entry["message_id"] not in held]

    def _is_at_rest(self) -> bool:
        return not (
            self.direct.hlen(self.keys.lanes)
            or self.direct.xlen(self.keys.ready)
            or self.direct.zcard(self.keys.parked)
            or self.direct.keys(f"{self.keys.prefix}lane:*")
            or self.venue.travelling
        )

    def _check_the_end(self) -> None:
        admitted = {alert for alerts in self._admitted.values() for alert in alerts}
        for alert in self._acknowledged - admitted:
            self.report("ACKNOWLEDGED BUT NOT ADMITTED", alert)
        ends = Counter(
            (fields["alert"], fields["account"])
            for _, fields in self.direct.xrange(self.keys.journal)
            if fields["event"] in ENDED and fields["alert"]
        )
        states: dict[AlertId, list[InstructionState]] = {}
        for key in self.positions:
            state = self._check_instruction(key, ends[key])
            if state is not None:
                states.setdefault(key[0], []).append(state)
        for alert, of_accounts in states.items():
            overall = self.direct.hmget(self.keys.alert(alert), "state", "open")
            if overall != [min(of_accounts, key=WORST_FIRST.index), "0"]:
                self.report("ALERT", (alert, overall, of_accounts))
        self._check_limits()
        if not self._is_at_rest():
            left = [self.direct.hgetall(self.keys.lanes), self.direct.xrange(self.keys.ready)]
            self.report("LEFT", [*left, self.direct.keys(f"{self.keys.prefix}lane:*")])
        stray = find_stray_keys(self.direct)
        if stray:
            self.report("LEFT", stray)

    def _check_instruction(self, key: tuple[AlertId, AccountName], ends: int) -> InstructionState | None:
        from libs.common.domain.ids import client_order_id

        alert, account = key
        record = self.direct.hgetall(self.keys.instruction(alert, account))
        if record.get("state") not in ENDED:
            self.report("STUCK", (key, record))
            return None
        state = InstructionState(record["state"])
        self.counts[state] += 1
        executed = [self.venue.knows(client_order_id(account, alert, leg)) for leg in (0, 1)]
        is_flip = (alert, account) in self.flips
        if executed[1] and not (executed[0] and is_flip):
            self.report("OPENED BEFORE IT CLOSED", (key, record))
        if executed[1 if is_flip else 0] != (state is InstructionState.EXECUTED):
            self.report(
                "PHANTOM" if state is InstructionState.EXECUTED else "EXECUTED UNNOTICED", (key, record)
            )
        if ends != 1 + self.replays[key]:
            self.report("SETTLED TWICE", (key, ends, self.replays[key]))
        if record["reason"] == "poison" and int(record["lost_holders"]) < POISON_LIMIT:
            self.report("POISON", (key, record))
        return state

    def _check_limits(self) -> None:
        symbol, account = self.limits
        for names, limit in ((1, account), (2, symbol)):
            if limit == NO_LIMIT:
                continue
            full_at_us: dict[tuple[str, ...], int] = {}
            for at_ms, *name in sorted(self._gos.values()):
                scope = tuple(name[:names])
                full = max(full_at_us.get(scope, 0), at_ms * 1_000) + limit[0]
                if full - at_ms * 1_000 > limit[0] * limit[1]:
                    self.report("LIMIT", (scope, at_ms - START_MS, limit))
                full_at_us[scope] = full


def _may_leave(request: Request, order: str, nonce: str, now_ms: int) -> bool:
    # Its own sender, who is about to forget it, knows best.
    return request.order_id == order and request.expires_at_ms >= now_ms and request.nonce != nonce
