"""Plans instructions before they are the head, so that the call which makes them that begins them too."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.policy.risk_rules import NO_RISK
from libs.common.store.head import Queued
from libs.common.store.order_answers import BegunNext, Settled
from libs.common.store.orders import Intent
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.intents import Intents, as_of_now
from services.worker.leases import Lease
from services.worker.persistence import persist
from services.worker.planning import Made, Planner
from services.worker.recall import Recall
from services.worker.work import BegunHead, Next, Prepared, Work


class Ahead:
    """Prepares what needs no question to anybody; all else waits until it is the head.

    It is planned as if nothing were on record of it: Redis begins it only if that is so.
    """

    def __init__(
        self,
        *,
        accounts: Mapping[AccountName, Account],
        planner: Planner,
        intents: Intents,
        recall: Recall,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._planner = planner
        self._intents = intents
        self._recall = recall
        self._clock = clock

    def prepare_first(self, lease: Lease) -> Prepared | None:
        """Plan what is likely the head of a lane that is about to be taken, as far as its token told."""
        expected, lease.expected = lease.expected, None
        if expected is None:
            return None
        account = self._accounts.get(expected.account)
        # Rules may turn on the time, and Redis has not told it yet.
        if account is None or account.risk is not NO_RISK:
            return None
        return self._prepare(lease, expected, account, now_ms=0)

    def prepare_next(self, work: Work) -> Prepared | None:
        """Plan the instruction behind a head that is about to end, as far as Redis told of one."""
        lease = work.lease
        expected, lease.expected = lease.expected, None
        if expected is None:
            return None
        account, now_ms = self._accounts.get(expected.account), work.now_ms(self._clock)
        if account is None or now_ms >= expected.deadline_ms:
            return None
        return self._prepare(lease, expected, account, now_ms)

    def _prepare(self, lease: Lease, expected: Queued, account: Account, now_ms: int) -> Prepared | None:
        if self._recall.is_on or expected.version > SCHEMA_VERSION:
            return None
        try:
            return self._plan(lease, expected, account, now_ms)
        except Exception:  # noqa: BLE001 - it would count against a head that was executed, whose end would not be noted
            # Once it is the head it fails again, and counts against itself.
            return None

    def _plan(self, lease: Lease, expected: Queued, account: Account, now_ms: int) -> Prepared | None:
        instruction = codec.INSTRUCTION.decode(expected.body)
        head = expected.as_head(now_ms=now_ms)
        work = Work(lease.held, lease, head, instruction, account, self._clock.monotonic_ms())
        made = self._planner.plan_without_asking(work)
        if not isinstance(made, Made) or not made.is_one_order:
            return None
        leg = made.leg(head, 0)
        return Prepared(work, leg, self._intents.of(work, leg, 1, is_new=True))

    async def begin_with(self, prepared: Prepared, call: Callable[[Intent], Awaitable[Settled]]) -> Next:
        """Make a call that begins what was prepared; return what comes next in its lane.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
        """
        work, intent, asked_at_ms = prepared.work, prepared.intent, 0

        def ask() -> Awaitable[Settled]:
            nonlocal asked_at_ms, intent
            asked_at_ms = self._clock.monotonic_ms()
            intent = as_of_now(intent, work.lease)
            return call(intent)

        answer = await persist(ask, work.lease)
        if not isinstance(answer, BegunNext):
            return answer
        begun = replace(work, head=answer.confirmed(work.head), begun_at_ms=self._clock.monotonic_ms())
        intent = replace(intent, entry_id=answer.entry_id)
        return BegunHead(begun, prepared.leg, intent, answer.begun, asked_at_ms)
