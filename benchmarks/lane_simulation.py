"""Alerts on their way from an ingress over Redis to a venue, as discrete events: no clock, no network, seeded dice.

What is simulated: one primary, with all ingresses and workers. Of their time it has the share that one of several primaries
has. Redis works in passes: it takes what came meanwhile, answers all of it after one fsync. Calls of a process share flights.
A lane is taken and its first instruction begun in one call, each further one with the end of the one before; it is serial, and
handed back after 32 instructions, or a second where others wait. What is not: rate limits, risk, failures, the cap of an account
on a worker's slots, deadlines at the door; nor instructions that take a look at the venue first, and a call more.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Final

from benchmarks.costs import Costs
from libs.common.store import batch, orders
from services.worker.turn import ASK_AFTER_MS, HAND_BACK_AFTER

HOP_US: Final = 50.0
"""A message's way to another process, waking it included: taken on trust, not measured."""

MOST_ITEMS: Final = 128
"""Of one flight, as in `Batch`."""

Then = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What alerts meet."""

    ingresses: int
    workers: int
    slots: int
    """Of each worker, for lanes of this primary."""
    venue_ms: float
    accounts: int
    markets: int
    """Of each account; market n gets a share in proportion to 1 / n."""
    primaries: int = 1
    """One is simulated; a process does as much for each of the others."""


@dataclass
class Outcome:
    """What became of the alerts. Times in ms, one of each alert, in the order in which they happened."""

    answered_ms: list[float] = field(default_factory=list)
    """From received to durable."""
    ordered_ms: list[float] = field(default_factory=list)
    """From received to its order on its way to the venue."""
    own_ms: list[float] = field(default_factory=list)
    """The same without what it waited behind earlier alerts of its lane."""
    sent_at_ms: list[float] = field(default_factory=list)
    longest_lane: int = 0
    """The most alerts that waited in one lane."""
    ingress_share: float = 0.0
    """Of its core, while alerts came, or where all came at once, while orders left; above 1 it does not keep up."""
    worker_share: float = 0.0
    """The same of a worker, on average."""
    redis_share: float = 0.0
    """The same of Redis' core, waits for the disk left out."""
    redis_us: float = 0.0
    """Processor time of Redis per alert."""
    slots_share: float = 0.0
    """Of all slots, on average."""


class _Events:
    def __init__(self) -> None:
        self.now_us = 0.0
        self._heap: list[tuple[float, int, Then]] = []
        self._number = 0

    def at(self, time_us: float, then: Then) -> None:
        self._number += 1
        heapq.heappush(self._heap, (time_us, self._number, then))

    def run(self) -> None:
        heap = self._heap
        while heap:
            self.now_us, _, then = heapq.heappop(heap)
            then()


class _Core:
    """Does one thing after the other."""

    def __init__(self, events: _Events) -> None:
        self._events = events
        self._free_at_us = 0.0
        self.busy_us = 0.0

    def do(self, cost_us: float, then: Then) -> None:
        self.busy_us += cost_us
        self._free_at_us = max(self._free_at_us, self._events.now_us) + cost_us
        self._events.at(self._free_at_us, then)


class _Redis:
    """Works in passes, each with one fsync."""

    def __init__(self, events: _Events, costs: Costs) -> None:
        self._events = events
        self._costs = costs
        self._calls: list[tuple[float, Then]] = []
        self._is_busy = False
        self.busy_us = 0.0

    def call(self, cost_us: float, then: Then) -> None:
        self._calls.append((cost_us, then))
        if not self._is_busy:
            self._begin()

    def _begin(self) -> None:
        self._is_busy = True
        calls, self._calls = self._calls, []
        cost_us = self._costs.pass_us + sum(cost for cost, _ in calls)
        self.busy_us += cost_us
        self._events.at(self._events.now_us + cost_us + self._costs.fsync_us, partial(self._end, calls))

    def _end(self, calls: list[tuple[float, Then]]) -> None:
        self._is_busy = False
        for _, then in calls:
            then()
        if self._calls and not self._is_busy:
            self._begin()


class _Batch:
    """Sends calls of one kind together, as `libs.common.store.batch.Batch` does."""

    def __init__(
        self,
        events: _Events,
        redis: _Redis,
        item_us: float,
        most_flights: int = 1,
        worth_a_flight: int = batch.WORTH_A_FLIGHT,
    ) -> None:
        self._events = events
        self._redis = redis
        self._item_us = item_us
        self._most_flights = most_flights
        self._worth_a_flight = worth_a_flight
        self._queue: deque[tuple[float, Then]] = deque()
        self._aloft = 0

    def submit(self, then: Then, parts: int = 1) -> None:
        """Send one item, that takes Redis so many times the time of one."""
        self._queue.append((self._item_us * parts, then))
        self._leave()

    def _leave(self) -> None:
        while self._queue and (
            not self._aloft or (self._aloft < self._most_flights and len(self._queue) >= self._worth_a_flight)
        ):
            flight = [self._queue.popleft() for _ in range(min(MOST_ITEMS, len(self._queue)))]
            self._aloft += 1
            cost_us, landed = sum(cost for cost, _ in flight), [then for _, then in flight]
            call = partial(self._redis.call, cost_us, partial(self._return, landed))
            self._events.at(self._events.now_us + HOP_US, call)

    def _return(self, landed: list[Then]) -> None:
        self._events.at(self._events.now_us + HOP_US, partial(self._land, landed))

    def _land(self, landed: list[Then]) -> None:
        self._aloft -= 1
        for then in landed:
            then()
        self._leave()


class _Worker:
    def __init__(self, events: _Events, redis: _Redis, costs: Costs, slots: int) -> None:
        self.core = _Core(events)
        self.free = slots
        self.take, self.settle = (
            _Batch(events, redis, costs.step_us, orders.MOST_FLIGHTS, orders.WORTH_A_FLIGHT) for _ in range(2)
        )


@dataclass(slots=True)
class _Lane:
    received_us: deque[float] = field(default_factory=deque)
    """Of the alerts that wait or are executed, oldest first."""
    has_token: bool = False
    executed: int = 0
    taken_at_us: float = 0.0
    answered_at_us: float = 0.0
    """When the venue answered the last order."""


class _Bridge:
    def __init__(self, stage: Stage, costs: Costs) -> None:
        self.events = _Events()
        self.redis = _Redis(self.events, costs)
        self.outcome = Outcome()
        self.ingresses = [
            (_Core(self.events), _Batch(self.events, self.redis, costs.admission_us, most_flights=2))
            for _ in range(stage.ingresses)
        ]
        self.workers = [_Worker(self.events, self.redis, costs, stage.slots) for _ in range(stage.workers)]
        self.slots_us = 0.0
        self._ingress_us = costs.ingress_us * stage.primaries
        self._work_us = costs.work_us * stage.primaries / 3
        """Planning, before the order leaves, after its answer: a third each, taken on trust."""
        self._venue_us = stage.venue_ms * 1_000
        self._lanes: dict[int, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._free = deque(self.workers)

    def receive(self, number: int, lane: int) -> None:
        core, admissions = self.ingresses[number % len(self.ingresses)]
        admitted = partial(self._admitted, lane, self.events.now_us)
        core.do(self._ingress_us, partial(admissions.submit, admitted))

    def _admitted(self, number: int, received_us: float) -> None:
        self.outcome.answered_ms.append((self.events.now_us - received_us) / 1_000)
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = _Lane()
        lane.received_us.append(received_us)
        self.outcome.longest_lane = max(self.outcome.longest_lane, len(lane.received_us))
        if not lane.has_token:
            lane.has_token = True
            self._ready.append(lane)
            self._hand_out()

    def _hand_out(self) -> None:
        while self._ready and self._free:
            worker = self._free.popleft()
            worker.free -= 1
            if worker.free:
                self._free.append(worker)
            given = self._ready.popleft()
            given.executed, given.taken_at_us = 0, self.events.now_us
            taken = partial(self._begun, worker, given)
            worker.core.do(self._work_us, partial(worker.take.submit, taken))

    def _begun(self, worker: _Worker, lane: _Lane) -> None:
        worker.core.do(self._work_us, partial(self._send, worker, lane))

    def _send(self, worker: _Worker, lane: _Lane) -> None:
        now_us, received_us, outcome = self.events.now_us, lane.received_us[0], self.outcome
        outcome.ordered_ms.append((now_us - received_us) / 1_000)
        outcome.own_ms.append((now_us - max(received_us, lane.answered_at_us)) / 1_000)
        outcome.sent_at_ms.append(now_us / 1_000)
        self.events.at(now_us + self._venue_us, partial(self._answer, worker, lane))

    def _answer(self, worker: _Worker, lane: _Lane) -> None:
        lane.answered_at_us = self.events.now_us
        worker.core.do(self._work_us, partial(self._settle, worker, lane))

    def _settle(self, worker: _Worker, lane: _Lane) -> None:
        is_long = self.events.now_us - lane.taken_at_us >= ASK_AFTER_MS * 1_000
        goes_back = lane.executed + 1 >= HAND_BACK_AFTER or (is_long and bool(self._ready))
        if len(lane.received_us) > 1 and not goes_back:
            # What comes next is planned, and begun in the same call.
            begun = partial(self._ended, worker, lane, self._begun)
            worker.core.do(self._work_us, partial(worker.settle.submit, begun, 2))
        else:
            worker.settle.submit(partial(self._ended, worker, lane, self._let_go))

    def _ended(self, worker: _Worker, lane: _Lane, then: Callable[[_Worker, _Lane], None]) -> None:
        lane.received_us.popleft()
        lane.executed += 1
        then(worker, lane)

    def _let_go(self, worker: _Worker, lane: _Lane) -> None:
        """Hand a lane back, or close it where nothing has come meanwhile."""
        if lane.received_us:
            self._ready.append(lane)
        else:
            lane.has_token = False
        self._free_slot(worker, self.events.now_us - lane.taken_at_us)

    def _free_slot(self, worker: _Worker, held_us: float) -> None:
        self.slots_us += held_us
        if not worker.free:
            self._free.append(worker)
        worker.free += 1
        self._hand_out()


def simulate(stage: Stage, costs: Costs, received_ms: Iterable[float], seed: int = 1) -> Outcome:
    """Return what becomes of alerts.

    Args:
        stage: What they meet.
        costs: What they cost there.
        received_ms: When they come, in order; at least one. Those of the accounts of one primary.
        seed: Of their lanes.
    """
    bridge, dice = _Bridge(stage, costs), random.Random(seed)
    weights = list(accumulate(1 / rank for rank in range(1, stage.markets + 1)))
    markets, last_ms, count = range(stage.markets), 0.0, 0
    for count, last_ms in enumerate(received_ms, start=1):
        (market,) = dice.choices(markets, cum_weights=weights)
        lane = dice.randrange(stage.accounts) * stage.markets + market
        bridge.events.at(last_ms * 1_000, partial(bridge.receive, count, lane))
    bridge.events.run()
    outcome, whole_us = bridge.outcome, (last_ms or bridge.outcome.sent_at_ms[-1]) * 1_000
    outcome.ingress_share = sum(core.busy_us for core, _ in bridge.ingresses) / stage.ingresses / whole_us
    outcome.worker_share = sum(worker.core.busy_us for worker in bridge.workers) / stage.workers / whole_us
    outcome.redis_share = bridge.redis.busy_us / whole_us
    outcome.redis_us = bridge.redis.busy_us / count
    outcome.slots_share = bridge.slots_us / (stage.workers * stage.slots) / whole_us
    return outcome


def evenly_random_ms(per_s: float, until_ms: float, dice: random.Random) -> Iterator[float]:
    """Yield the moments of a Poisson stream, from 0 on."""
    at_ms = dice.expovariate(per_s) * 1_000
    while at_ms < until_ms:
        yield at_ms
        at_ms += dice.expovariate(per_s) * 1_000
