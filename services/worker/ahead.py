"""Plans instructions before they are the head, so that they are begun by the call that makes them that."""

from collections.abc import Awaitable, Callable, Mapping

from msgspec.structs import replace

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.policy.risk_rules import NO_RISK
from libs.common.store.head import Head, Successor
from libs.common.store.order_answers import BegunNext, Settled
from libs.common.store.orders import Intent
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.attempts import Attempts
from services.worker.leases import Lease
from services.worker.persistence import persist
from services.worker.planning import Made, Planner, leg_of
from services.worker.recall import Recall
from services.worker.work import Continued, Next, Prepared, Work


class Ahead:
    """Prepares what needs no question to anybody; all else waits until it is the head.

    It is planned as if nothing were on record of it: Redis begins it only if that is so.
    """

    def __init__(
        self,
        *,
        accounts: Mapping[AccountName, Account],
        planner: Planner,
        attempts: Attempts,
        recall: Recall,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._planner = planner
        self._attempts = attempts
        self._recall = recall
        self._clock = clock

    def prepare_next(self, work: Work) -> Prepared | None:
        """Plan the instruction behind a head that is about to end, as far as Redis told of one."""
        successor, work.lease.successor = work.lease.successor, None
        if successor is None:
            return None
        now_ms = work.head.now_ms + work.passed_ms(self._clock)
        if now_ms >= successor.deadline_ms:
            return None
        return self._prepare(work.lease, successor, now_ms)

    def prepare_first(self, lease: Lease) -> Prepared | None:
        """Plan what is likely the head of a lane that is about to be taken, as far as its token told."""
        head, lease.successor = lease.successor, None
        if head is None:
            return None
        account = self._accounts.get(head.account)
        if account is None or account.risk is not NO_RISK:
            # Rules may turn on the time, and Redis has not told it yet.
            return None
        return self._prepare(lease, head, 0)

    def _prepare(self, lease: Lease, queued: Successor, now_ms: int) -> Prepared | None:
        account = self._accounts.get(queued.account)
        if account is None or queued.version > SCHEMA_VERSION or self._recall.is_on:
            return None
        try:
            return self._plan(lease, queued, account, now_ms)
        except Exception:  # noqa: BLE001 - it comes again once this is the head, and counts against it and no other
            return None

    def _plan(self, lease: Lease, queued: Successor, account: Account, now_ms: int) -> Prepared | None:
        instruction = codec.INSTRUCTION.decode(queued.body)
        head = Head(
            entry_id=queued.entry_id,
            alert_id=queued.alert_id,
            account=queued.account,
            version=queued.version,
            body=queued.body,
            deadline_ms=queued.deadline_ms,
            now_ms=now_ms,
            plan=b"",
            lost_holders=0,
            admitted_at_ms=0,
            orders=(),
        )
        work = Work(lease.held, lease, head, instruction, account, self._clock.monotonic_ms())
        made = self._planner.plan_at_once(work)
        if not isinstance(made, Made) or len(made.plan.legs) != 1 or made.plan.cancels:
            return None
        leg = leg_of(head, made, 0)
        return Prepared(work, leg, self._attempts.intent(work, leg, 1, is_new=True))

    async def begin_with(self, prepared: Prepared, call: Callable[[Intent], Awaitable[Settled]]) -> Next:
        """Make a call that begins what was prepared; return what comes next in its lane.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
        """
        work, intent, asked_at_ms = prepared.work, prepared.intent, 0

        def ask() -> Awaitable[Settled]:
            nonlocal asked_at_ms, intent
            asked_at_ms = self._clock.monotonic_ms()
            intent = self._attempts.as_of_now(intent, work.lease)
            return call(intent)

        answer = await persist(ask, work.lease)
        if not isinstance(answer, BegunNext):
            return answer
        head = replace(
            work.head,
            entry_id=answer.entry_id,
            now_ms=answer.now_ms,
            admitted_at_ms=answer.admitted_at_ms,
            is_first=answer.is_first,
        )
        intent = replace(intent, entry_id=answer.entry_id)
        begun = Prepared(replace(work, head=head), prepared.leg, intent)
        return Continued(begun, answer.begun, asked_at_ms)
