"""One seeded run: workers, reaper, senders and a venue, taken through their steps in an order that chance decides.

Time is simulated. Every lease may lapse at any moment, calls get lost or come late, processes stall and die, tokens,
groups and consumers vanish; then the faults end, and everything must have come to a good end.
"""

import random
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
    client_order_id,
    lane_name,
)
from libs.common.domain.instruction import PLAIN_VERSION
from libs.common.store.admission import Admission, Routed
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.head import Held
from libs.common.store.intake import Admitted, Conflict, Duplicate, Intake
from libs.common.store.keys import GROUP, Keys
from libs.common.store.orders import LONGEST_WAIT_IN_PLACE_MS, NO_LIMIT
from libs.common.store.scripts import Script
from libs.common.store.upkeep import Reclamation, Upkeep
from tests.fuzz.faults import Network
from tests.fuzz.promises import Memory, Promises
from tests.fuzz.venue import Request, Venue
from tests.fuzz.worker import FLIP, KILLER, POISON_LIMIT, RETENTION, Dropped, Killed, Pause, Process, Task
from tests.support.rollback import Rollback

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
    direct: Any
    seed: int
    length: int = 1_000
    """Steps with faults; about as many follow without."""
    violations: list[tuple[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.keys = Keys()
        self.now_ms = START_MS
        self.venue = Venue(self.report)
        self.promises = Promises(
            self.direct,
            self.keys,
            self.venue,
            self.report,
            now_ms=lambda: self.now_ms,
            unsent=self._unsent,
            is_flip=lambda alert: alert in self._flips,
            poison_limit=POISON_LIMIT,
        )
        self.counts = self.promises.counts
        self.network = Network(
            self.client,
            self.rng,
            self.promises.executed,
            lambda: self.now_ms,
            self.rng.choice((0.01, 0.04, 0.1)),
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
        self._flips: set[AlertId] = set()
        self._posts: list[Post] = []
        self._alerts = 0
        self._has_chaos = True
        self._has_fail_overs = self.seed % 3 == 1
        """Whether replicas take over that lack the newest writes; too much is lost then to find all else."""
        self._replica: tuple[Rollback, Memory, int] | None = None
        """What a replica has, and when it may take over."""

    def report(self, promise: str, detail: object) -> None:
        """Note a broken promise."""
        self.violations.append((promise, detail))

    def _unsent(self) -> list[Request]:
        return [task.unsent for process in self.processes for task in process.tasks.values() if task.unsent]

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
        self.promises.check_the_end()
        self.promises.check_rates(*self.limits)
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
            if self._has_fail_overs and (self._replica is None or self._replica[2] <= self.now_ms):
                await self.fail_over()
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
        alert = AlertId(f"a{self._alerts:04d}")
        if post.body == FLIP:
            self._flips.add(alert)
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
                self.promises.acknowledged.add(verdict.alert_id)
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
        for token, lane, head in found:
            held = Held(lane or LaneName(""), token)
            if lane is None:
                try:
                    await process.lanes.drop([token])
                except StoreUnavailable:
                    continue
            elif held not in process.tasks:
                process.tasks[held] = Task(self, process, held, head)

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
        if isinstance(found, Reclamation):
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

    async def fail_over(self) -> None:
        """Keep what a replica has; or let one take over that lacks all that came since."""
        if self._replica is None:
            rollback = Rollback(self.direct)
            rollback.keep()
            self._replica = (rollback, self.promises.memory(), self.now_ms + self.rng.randint(1, 60))
            return
        rollback, memory, _ = self._replica
        self._replica = None
        rollback.fall_back()
        rollback.close()
        self.counts["fail-overs"] += 1
        # No connection outlives it: what was under way arrives nowhere.
        self.network.late.clear()
        for alert, account in self.promises.fall_back_to(memory):
            self.venue.nobodys |= {client_order_id(account, alert, leg) for leg in (0, 1)}
        self.venue.forget_the_order()
        self.promises.forget_rates()
        window_ms = self.windows_ms[1] + LONGEST_WAIT_IN_PLACE_MS
        args = [str(self.now_ms), f"run{self.counts['fail-overs']}", "0", "1", str(window_ms), "", "0", "0"]
        await Script("incarnate").run(self.client, self.keys.fixed, args)

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
                if self.promises.is_at_rest():
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
