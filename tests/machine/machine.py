"""The rules: each is one thing that may happen next, and Hypothesis looks for the shortest way to a broken promise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import redis as sync_redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.common.domain.ids import AccountName, ClientOrderId, DeadLetterId, Nonce
from libs.common.domain.lifecycle import AMBIGUOUS, OrderState
from libs.common.domain.reasons import Reason
from libs.common.policy.halts import HaltMode, Scope
from libs.common.store.breakers import BreakerReport, Pause
from libs.common.store.decisions import Decision, Verdict
from libs.common.store.keys import GROUP
from libs.common.store.lanes import Parking
from libs.common.store.records import OrderRecord
from libs.common.wire import codec
from tests.fuzz.faults import Fate
from tests.fuzz.worker import FLIP, KILLER
from tests.machine.stage import ACCOUNTS, LIMITS, MARKETS, Limits, Post, Server, Stage
from tests.machine.watch import RESET_MS
from tests.machine.worker import EXIT, LIMIT, PLAIN, PLAN, Hand, Process, Step

T = TypeVar("T")

WHICH = st.integers(0, 7)
"""One of several: counted round."""

STRATEGY = "trend"
SCOPES = (
    Scope(),
    Scope(account=ACCOUNTS[0]),
    Scope(symbol=MARKETS[0]),
    Scope(strategy=STRATEGY),
    Scope(account=ACCOUNTS[1], symbol=MARKETS[1]),
)
IN_HAND = (Step.DOUBT, Step.BEGIN, Step.LOOK_UP)
BEFORE_SETTLE = (Step.OPEN, *IN_HAND)
AGAIN_THE_SAME = frozenset({"admit", "begin", "open", "resolve"})


def one_of(found: Sequence[T], which: int) -> T:
    return found[which % len(found)]


@dataclass
class Tally:
    """What happened in all runs together."""

    runs: int = 0
    steps: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    """How often each script answered what, and instructions ended how."""


class Machine(RuleBasedStateMachine):
    def __init__(self, server: Server, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.stage = Stage(server)
        self.is_broken = False

    @initialize(limits=st.sampled_from(LIMITS))
    def begin_with(self, limits: Limits) -> None:
        self.stage.limits = limits

    # Senders.

    @rule(
        lane=st.integers(0, 3),
        body=st.sampled_from([PLAIN, PLAIN, FLIP, LIMIT, EXIT, KILLER]),
        max_age_ms=st.sampled_from([3_000, 400, 60]),
    )
    def post(self, lane: int, body: bytes, max_age_ms: int) -> None:
        self._post((ACCOUNTS[lane // 2],), lane, body, max_age_ms)

    @rule(market=st.integers(0, 1), body=st.sampled_from([PLAIN, FLIP, LIMIT]))
    def post_to_two_accounts(self, market: int, body: bytes) -> None:
        self._post(ACCOUNTS, market, body, 3_000)

    def _post(self, accounts: Any, lane: int, body: bytes, max_age_ms: int) -> None:
        post = Post(f"s{self.stage.number()}", tuple(accounts), MARKETS[lane % 2], body, max_age_ms)
        self.stage.posts.append(post)
        self.stage.post(post)

    @precondition(lambda self: self.stage.posts)
    @rule(which=WHICH)
    def post_again(self, which: int) -> None:
        self.stage.post(one_of(self.stage.posts[::-1], which))

    # Workers.

    @precondition(lambda self: self._running())
    @rule(which=WHICH, count=st.integers(1, 3), how=st.sampled_from(["and open", "and open", "only", "own"]))
    def read(self, which: int, count: int, how: str) -> None:
        process = one_of(self._running(), which)
        self.stage.read(process, count, own=how == "own")
        if how == "and open":
            for hand in list(process.hands.values()):
                if hand.step is Step.OPEN:
                    self.stage.open(hand)

    @precondition(lambda self: self.stage.hands(*Step))
    @rule(which=WHICH, moves=st.sampled_from([1, 1, 1, 4]))
    def work(self, which: int, moves: int) -> None:
        self.stage.work(one_of(self.stage.hands(*Step), which), moves)

    @precondition(lambda self: self.stage.hands(*Step))
    @rule()
    def work_on_all(self) -> None:
        for hand in self.stage.hands(*Step):
            self.stage.work(hand, 1)

    @precondition(lambda self: self.stage.hands(Step.BEGIN))
    @rule(which=WHICH, window_ms=st.sampled_from([60, 20, 200]), strategy=st.sampled_from(["", STRATEGY]))
    def begin(self, which: int, window_ms: int, strategy: str) -> None:
        self.stage.begin(one_of(self.stage.hands(Step.BEGIN), which), window_ms, strategy)

    @precondition(lambda self: self.stage.hands(Step.SEND))
    @rule(
        which=WHICH,
        outcome=st.sampled_from(["late", "late", "late", "no answer", "lost", "never left", "refused"]),
        under_way_ms=st.sampled_from([20, 60, 150]),
        is_noted=st.booleans(),
    )
    def send(self, which: int, outcome: str, under_way_ms: int, is_noted: bool) -> None:
        hand = one_of(self.stage.hands(Step.SEND), which)
        request, hand.request = hand.request, None
        assert request is not None
        if outcome == "never left":
            hand.tells(OrderState.NOT_EXECUTED, Nonce(request.nonce))
            return
        if outcome == "refused":
            hand.came_to(OrderState.REJECTED)
            return
        if outcome == "no answer":
            self.stage.venue.arrive(request, self.stage.now_ms)
        elif outcome == "late":
            self.stage.venue.delay(request, self.stage.now_ms + under_way_ms)
        hand.step = Step.LOOK_UP
        if is_noted:
            hand.tells(OrderState.UNKNOWN)

    @precondition(lambda self: self._parkable())
    @rule(
        which=WHICH,
        how=st.sampled_from(["renew", "yield", "park", "park in blame"]),
        wait_ms=st.sampled_from([0, 5, 60]),
    )
    def let_go(self, which: int, how: str, wait_ms: int) -> None:
        hand = one_of(self._parkable(), which)
        if how == "renew":
            if self.stage.ask(lambda: hand.process.lanes.renew([hand.held])) == [False]:
                hand.process.hands.pop(hand.held, None)
            return
        if how == "yield":
            answer = self.stage.ask(lambda: hand.process.lanes.yield_.submit(hand.held))
        else:
            due_at_ms, is_to_blame = hand.not_before_ms, how == "park in blame"
            reason = Reason.FAILED if is_to_blame else Reason.BACK_OFF
            parking = Parking(hand.held, None if due_at_ms else wait_ms, due_at_ms, reason, is_to_blame)
            answer = self.stage.ask(lambda: hand.process.lanes.park.submit(parking))
        self.stage.handed_out(hand, answer)

    @rule(which=WHICH, what=st.sampled_from(["stall", "go on", "go on", "die"]))
    def process(self, which: int, what: str) -> None:
        if what == "die":
            self.stage.die(one_of(self.stage.processes, which))
        elif what == "go on":
            for process in self.stage.processes:
                process.is_stalled = False
        elif self._running():
            one_of(self._running(), which).is_stalled = True
            if len(self.stage.processes) < 4:
                self.stage.processes.append(self.stage.new_process())

    def _running(self) -> list[Process]:
        return [process for process in self.stage.processes if not process.is_stalled]

    def _parkable(self) -> list[Hand]:
        return [
            hand
            for process in self._running()
            for hand in process.hands.values()
            if hand.step in BEFORE_SETTLE
        ]

    # What rests.

    @precondition(lambda self: self._running() and (self.stage.venue.resting or self._followers()))
    @rule(which=WHICH, what=st.sampled_from(["claim", "follow up", "fill"]))
    def rest(self, which: int, what: str) -> None:
        followers, resting = self._followers(), self.stage.venue.resting
        if what == "claim":
            self.stage.claim(one_of(self._running(), which))
        elif what == "follow up" and followers:
            self.stage.follow_up(one_of(followers, which), which)
        elif what == "fill" and resting:
            resting.pop(one_of(list(resting), which))

    def _followers(self) -> list[Process]:
        return [process for process in self._running() if process.claimed]

    # Calls that go wrong.

    @rule(fate=st.sampled_from([Fate.REPLY_LOST, Fate.LATE, Fate.LOST]))
    def the_next_call_fares_badly(self, fate: Fate) -> None:
        self.stage.wire.next_fate = fate

    @precondition(lambda self: self.stage.wire.held_back)
    @rule(which=WHICH)
    def a_late_call_arrives(self, which: int) -> None:
        wire = self.stage.wire
        script, keys, args = wire.held_back.pop(which % len(wire.held_back))
        self.stage.server.loop.run_until_complete(wire.execute(script, keys, args))

    @precondition(lambda self: self.stage.wire.last is not None)
    @rule()
    def the_last_call_comes_again(self) -> None:
        wire = self.stage.wire
        assert wire.last is not None
        (script, keys, args), first = wire.last
        again = self.stage.server.loop.run_until_complete(wire.execute(script, keys, args))
        # As the first time, while time stands still.
        if script.name in AGAIN_THE_SAME and int(args[0] or 0) == self.stage.now_ms and again != first:
            self.stage.report("ANOTHER ANSWER", (script.name, first, again))

    # The reaper.

    @rule()
    def promote(self) -> None:
        self.stage.ask(self.stage.upkeep.promote)

    @rule(which=WHICH)
    def reclaim(self, which: int) -> None:
        pending = self.stage.pending()
        if pending:
            self.stage.reclaim([one_of(pending, which)["message_id"]])

    @rule(what=st.sampled_from(["audit", "grace", "retire"]))
    def reap(self, what: str) -> None:
        if what == "audit":
            self.stage.audit()
        elif what == "retire":
            self.stage.ask(lambda: self.stage.upkeep.retire(idle_ms=0))
        else:
            self.stage.reclaim([], is_first_pass=True)

    @precondition(lambda self: self.stage.hands(Step.SEND, Step.TELL, Step.SETTLE))
    @rule(which=WHICH, moves=st.sampled_from([1, 3]))
    def overtake(self, which: int, moves: int) -> None:
        """Let another have the lane of a hand that has an intent on disk; then that goes on as if nothing were."""
        hand = one_of(self.stage.hands(Step.SEND, Step.TELL, Step.SETTLE), which)
        self.stage.reclaim([hand.held.token])
        others = [process for process in self._running() if process is not hand.process]
        if others:
            self.stage.read(one_of(others, which), 1)
        self.work_on_all()
        self.stage.work(hand, moves)

    # Operators.

    @rule(which=WHICH, mode=st.sampled_from(list(HaltMode)))
    def halt(self, which: int, mode: HaltMode) -> None:
        scope = one_of(SCOPES, which)
        self.stage.ask(lambda: self.stage.halts.set(scope, mode, by="desk", reason="news"))

    @precondition(lambda self: self.stage.watch.halts)
    @rule()
    def resume(self) -> None:
        for scope in SCOPES:
            if scope.encode() in self.stage.watch.halts:
                self.stage.ask(partial(self.stage.halts.lift, scope, by="desk", reason="over"))

    @rule(which=WHICH, what=st.sampled_from(["replay", "decide", "discard"]))
    def look_after(self, which: int, what: str) -> None:
        if what == "decide":
            self._decide(which)
            return
        letters = self.stage.direct.xrange(self.stage.keys.dead)
        if not letters:
            return
        letter = DeadLetterId(one_of(letters, which)[0])
        if what == "replay":
            self.stage.ask(lambda: self.stage.dead_letters.replay(letter, max_age_ms=2_000))
        else:
            self.stage.ask(lambda: self.stage.dead_letters.discard(letter))

    def _decide(self, which: int) -> None:
        """Tell what the venue shows of an order whose outcome is unknown."""
        found = [order for order in self._orders() if order.state in AMBIGUOUS]
        if not found:
            return
        order = one_of(found, which)
        if order.client_order_id in self.stage.venue.resting:
            return
        is_known = self.stage.venue.knows(order.client_order_id)
        verdict = Verdict.FILLED if is_known else Verdict.NOT_EXECUTED
        decision = Decision(order, verdict, by="desk", reason="seen there")
        self.stage.ask(lambda: self.stage.decisions.decide(decision))

    def _orders(self) -> list[OrderRecord]:
        found = []
        for name in sorted(self.stage.direct.keys(self.stage.keys.order(ClientOrderId("*")))):
            state, attempt, alert, account, market, expires_at = self.stage.direct.hmget(
                name, "state", "attempt", "alert", "account", "market", "expires_at"
            )
            found.append(
                OrderRecord(
                    client_order_id=name.rpartition(":")[2],
                    state=OrderState(state),
                    attempts=int(attempt),
                    plan=codec.ORDER_PLAN.decode(PLAN),
                    report=None,
                    alert_id=alert,
                    account=account,
                    market=market,
                    signed_at_ms=0,
                    expires_at_ms=int(expires_at),
                    ended_at_ms=None,
                )
            )
        return found

    # Breakers.

    @precondition(lambda self: self._permitted())
    @rule(
        which=WHICH,
        what=st.sampled_from(["open", "close", "free", "pause"]),
        is_of_account=st.booleans(),
        wait_ms=st.sampled_from([5, 40]),
    )
    def move_a_breaker(self, which: int, what: str, is_of_account: bool, wait_ms: int) -> None:
        hand = one_of(self._permitted(), which)
        assert hand.go is not None
        account, market = hand.held.lane.split(":")[:2]
        if what == "pause":
            self.stage.ask(lambda: hand.process.breakers.pause(Pause(AccountName(account), wait_ms)))
            return
        permit = hand.go.account_breaker if is_of_account else hand.go.market_breaker
        scope = account if is_of_account else f"{account}:{market}"
        report = BreakerReport(scope, permit.generation, what == "open", RESET_MS, frees_probe=what == "free")
        self.stage.ask(lambda: hand.process.breakers.report(report))

    def _permitted(self) -> list[Hand]:
        return [hand for process in self._running() for hand in process.hands.values() if hand.go is not None]

    # Redis, and time.

    @rule(
        what=st.sampled_from(["deliver again", "group", "token", "ready", "consumer", "fence", "scripts"]),
        which=WHICH,
    )
    def damage(self, what: str, which: int) -> None:
        stage, keys, direct = self.stage, self.stage.keys, self.stage.direct
        tokens, lanes = direct.xrange(keys.ready), sorted(direct.hkeys(keys.lanes))
        try:
            if what == "deliver again":
                direct.xgroup_setid(keys.ready, GROUP, "0")
            elif what == "group" and tokens:
                direct.xgroup_destroy(keys.ready, GROUP)
            elif what == "token" and tokens:
                direct.xdel(keys.ready, one_of(tokens, which)[0])
                stage.watch.is_damaged = True
            elif what == "ready":
                direct.delete(keys.ready)
                stage.let_ids_move_on()
                stage.watch.is_damaged = True
            elif what == "consumer":
                direct.xgroup_delconsumer(keys.ready, GROUP, one_of(stage.processes, which).holder)
            elif what == "fence" and lanes:
                direct.hdel(keys.lanes, one_of(lanes, which))
                stage.watch.is_damaged = stage.watch.has_orphans = True
            elif what == "scripts":
                direct.script_flush()
        except sync_redis.ResponseError:
            return

    @rule(ms=st.sampled_from([5, 40, 200, 2_000]))
    def let_time_pass(self, ms: int) -> None:
        self.stage.tick(ms)

    @rule(ms=st.sampled_from([5, 500, 10_000]))
    def set_the_clock_back(self, ms: int) -> None:
        self.stage.set_clock_back(ms)

    @rule()
    def replicate(self) -> None:
        self.stage.take_snapshot()

    @precondition(lambda self: self.stage.snapshot is not None)
    @rule()
    def fail_over(self) -> None:
        self.stage.fail_over()

    # After every rule.

    @invariant()
    def promises_are_kept(self) -> None:
        self.tally.steps += 1
        self.stage.tick()
        self.stage.check()

    def check_invariants(self, *args: Any, **more: Any) -> None:
        try:
            super().check_invariants(*args, **more)
        except BaseException:
            self.is_broken = True
            raise

    def teardown(self) -> None:
        self.tally.runs += 1
        if not self.is_broken:
            self.stage.come_to_rest()
        self.tally.ends.update(self.stage.promises.counts)
        self.tally.ends.update(self.stage.answers)
