"""Plans the instruction behind a head, so that it is begun with the end of that head: one round trip for both."""

from collections.abc import Mapping

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.store.head import Successor
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.intents import Intents
from services.worker.planning import Made, Planner
from services.worker.recall import Recall
from services.worker.work import Prepared, Work


class Ahead:
    """Prepares what needs no question to anybody; all else waits until it is the head."""

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

    def prepare(self, work: Work) -> Prepared | None:
        """Plan the instruction behind a head that is about to end, as far as Redis told of one.

        It is planned as if nothing were on record of it: Redis begins it only if that is so.
        """
        successor, work.lease.successor = work.lease.successor, None
        if successor is None or self._recall.is_on or successor.version > SCHEMA_VERSION:
            return None
        try:
            return self._plan(work, successor)
        except Exception:  # noqa: BLE001 - it would count against a head that was executed, whose end would not be noted
            # Once it is the head it fails again, and counts against itself.
            return None

    def _plan(self, work: Work, successor: Successor) -> Prepared | None:
        account = self._accounts.get(successor.account)
        now_ms = work.now_ms(self._clock)
        if account is None or now_ms >= successor.deadline_ms:
            return None
        instruction = codec.INSTRUCTION.decode(successor.body)
        head = successor.as_head(now_ms=now_ms)
        next_work = Work(work.held, work.lease, head, instruction, account, self._clock.monotonic_ms())
        made = self._planner.plan_without_asking(next_work)
        if not isinstance(made, Made) or not made.is_one_order:
            return None
        leg = made.leg(head, 0)
        return Prepared(next_work, leg, self._intents.of(next_work, leg, 1, is_new=True))
