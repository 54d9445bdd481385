"""Plans what one instruction does at its venue: mapping -> readings -> size -> risk. Nothing is sent here."""

from dataclasses import dataclass, replace
from typing import Final

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.ids import client_order_id
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.order import OrderPlan, Plan
from libs.common.domain.reasons import Reason
from libs.common.policy.readings import Need, Readings, needs_of
from libs.common.policy.risk import judge, risk_needs
from libs.common.policy.risk_rules import NO_RISK, RiskRules
from libs.common.policy.sizing import NothingToDo, Planned, Refused, plan_order
from libs.common.store.head import Head
from libs.common.wire import codec
from services.worker.mapping import MappingCheck
from services.worker.persistence import persist
from services.worker.questions import ASKED_RARELY, Questions
from services.worker.work import Ended, Leg, Unread, Work


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, with all that led to it."""

    plan: Plan
    mapping: str = ""
    sizing: str = ""
    risk: tuple[str, ...] = ()
    """The verdict of each risk rule that was looked at."""
    budgets: bytes = b""
    """Account-wide risk limits, JSON; empty where there are none."""
    read_at_ms: int = 0
    """Redis' time before the venue was asked."""
    asked_nobody: bool = False
    """Whether no question was needed; mostly none is for the instruction behind it either."""

    @property
    def is_one_order(self) -> bool:
        """Whether an order is all that it names."""
        return len(self.plan.legs) == 1 and not self.plan.cancels

    def leg(self, head: Head, index: int) -> Leg:
        """Return one order of the plan, which is the head's."""
        plan, is_one_order = self.plan, self.is_one_order
        return Leg(
            index=index,
            plan=plan.legs[index],
            client_order_id=client_order_id(head.account, head.alert_id, index),
            whole=None if is_one_order else plan,
            led_to_it=self.led_to_it(),
            budgets=self.budgets if index == len(plan.legs) - 1 else b"",
            read_at_ms=self.read_at_ms,
            wants_successor=is_one_order and self.asked_nobody,
        )

    def led_to_it(self) -> bytes:
        """Return what led to the plan, as a JSON object for the journal; empty where there is nothing to say."""
        if not (self.mapping or self.sizing or self.risk):
            return b""
        return _ENCODE(_Steps(mapping=self.mapping, sizing=self.sizing, risk=self.risk))


class _Steps(msgspec.Struct, omit_defaults=True):
    mapping: str = ""
    sizing: str = ""
    risk: tuple[str, ...] = ()


_ENCODE: Final = msgspec.json.Encoder().encode


class Planner:
    """Makes plans, with no more questions than they need."""

    def __init__(self, *, mapping: MappingCheck, questions: Questions, clock: Clock) -> None:
        self._mapping = mapping
        self._questions = questions
        self._clock = clock

    async def plan(self, work: Work) -> Made | Ended | Unread:
        """Plan an instruction.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        planned = self.plan_without_asking(work)
        return await self._plan_by_asking(work) if planned is None else planned

    def plan_without_asking(self, work: Work) -> Made | Ended | None:
        """Plan an instruction for which nobody has to be asked; None where somebody has."""
        if not self._mapping.confirms(work.instruction, work.account):
            return None
        rules = _rules_of(work)
        if _needs_of(work, rules):
            return None
        return self._make(work, rules, Readings(read_at_ms=work.now_ms(self._clock)), asked_nobody=True)

    async def _plan_by_asking(self, work: Work) -> Made | Ended | Unread:
        instruction, account = work.instruction, work.account
        refused = await persist(lambda: self._mapping.refusal(instruction, account), work.lease)
        if refused is not None:
            return _refusal(refused)
        rules = _rules_of(work)
        own_needs = needs_of(instruction, account.broker.capabilities.orders)
        turns_on_position = Need.POSITION in own_needs or (rules is not None and rules.limits_positions)
        readings = await self._questions.ask(
            work, _needs_of(work, rules), turns_on_position=turns_on_position
        )
        return readings if isinstance(readings, Unread) else self._make(work, rules, readings)

    def _make(
        self, work: Work, rules: RiskRules | None, readings: Readings, *, asked_nobody: bool = False
    ) -> Made | Ended:
        """Plan an instruction by what is known."""
        instruction, account = work.instruction, work.account
        planned = plan_order(
            instruction, readings, account.default_quantity, account.broker.capabilities.orders
        )
        match planned:
            case Refused():
                return _refusal(planned)
            case NothingToDo(reason, detail):
                return Ended(InstructionState.SKIPPED, reason, detail)
        made = Made(
            planned.plan,
            _mapped(instruction),
            planned.sizing,
            read_at_ms=readings.read_at_ms,
            asked_nobody=asked_nobody,
        )
        return made if rules is None else self._judge(work, rules, made, readings)

    async def judge(self, work: Work, plan: Plan) -> Made | Ended | Unread:
        """Judge a plan again that was made before, since what the risk limits are held against has moved on.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        rules = _rules_of(work)
        if rules is None:
            return Made(plan)
        needs = risk_needs(rules, work.instruction)
        readings = await self._questions.ask(work, needs, turns_on_position=rules.limits_positions)
        if isinstance(readings, Unread):
            return readings
        return self._judge(work, rules, Made(plan, read_at_ms=readings.read_at_ms), readings)

    async def remake(self, work: Work) -> OrderPlan | None:
        """Return the order that an instruction comes to whenever it is planned; None where that depends, or is nothing.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        abilities = work.account.broker.capabilities.orders
        needs = needs_of(work.instruction, abilities)
        if needs - ASKED_RARELY:
            return None
        readings = await self._questions.read(work, needs)
        planned = plan_order(work.instruction, readings, work.account.default_quantity, abilities)
        return planned.plan.legs[0] if isinstance(planned, Planned) and len(planned.plan.legs) == 1 else None

    def _judge(self, work: Work, rules: RiskRules, made: Made, readings: Readings) -> Made | Ended:
        judgement = judge(rules, work.instruction, made.plan, readings, work.now_ms(self._clock))
        if judgement.breach is not None:
            breach = judgement.breach
            detail = f"{breach.rule}: {breach.value}, limit {breach.limit}"
            return Ended(InstructionState.REJECTED, Reason.RISK, detail)
        budgets = codec.BUDGETS.encode(judgement.budgets) if judgement.budgets else b""
        return replace(made, risk=judgement.verdicts, budgets=budgets)


def _mapped(instruction: Instruction) -> str:
    """Return what to say of a symbol that still means its market."""
    return "" if instruction.symbol is None else f'"{instruction.symbol}" is {instruction.market}'


def _needs_of(work: Work, rules: RiskRules | None) -> frozenset[Need]:
    needs = needs_of(work.instruction, work.account.broker.capabilities.orders)
    return needs if rules is None else needs | risk_needs(rules, work.instruction)


def _rules_of(work: Work) -> RiskRules | None:
    book = work.account.risk
    if book is NO_RISK:
        return None
    return book.rules_for(work.instruction.strategy, work.instruction.market)


def _refusal(refused: Refused) -> Ended:
    return Ended(InstructionState.REJECTED, refused.reason, refused.detail)
