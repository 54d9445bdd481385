"""Where alerts enter Redis: a gate for each shard, and the way of those that take several."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, StoreUnavailable
from libs.common.domain.ids import AlertId
from libs.common.store.admission import Admission, parts_of
from libs.common.store.intake import (
    Admitted,
    Conflict,
    Duplicate,
    Intake,
    LaneFull,
    MemoryFull,
    Throttled,
    Verdict,
)
from libs.common.web.health import CachedCheck, Check, Degraded, Health, Healthy
from services.ingress.door import Door


@dataclass(frozen=True, slots=True)
class Gate:
    """Of one shard."""

    door: Door
    intake: Intake


async def admit_to_each(
    gates: Sequence[Gate], admission: Admission, again: Callable[[AlertId], Admission]
) -> Verdict:
    """Make an alert durable on every shard that has accounts of it; return what became of it.

    The owner of its id comes first: what it refuses is refused, and nothing is written anywhere. Then each other admits
    its part under the id that the owner answered. Where one does not, the sender is told to send again, and the owner's
    accounts trade meanwhile; the resend completes what is missing, and queues nothing twice.

    Args:
        gates: All, by the numbers of their shards.
        admission: Of all accounts.
        again: Returns it under another id, that of the alert which it repeats.

    Raises:
        StoreUnavailable: Not all of it is durable.
        StoreCorrupt: The same, and not for a reason that passes.
        AdmissionError: 503, a shard is too full for its part.
    """
    (owner, own), *others = parts_of(admission, len(gates)).items()
    for number in (owner, *(number for number, _ in others)):
        if not gates[number].door.is_open:
            raise StoreUnavailable(gates[number].door.reason)
    verdict = await gates[owner].intake.admissions.submit(own)
    match verdict:
        case Admitted():
            pass
        case Duplicate(first, is_same_body):
            if not is_same_body:
                return verdict
            others = list(parts_of(again(first), len(gates)).items())[1:]
        case Conflict() | Throttled() | MemoryFull() | LaneFull():
            return verdict
        case _:
            assert_never(verdict)
    answers = await asyncio.gather(
        *(_admit_part(gates[number], part) for number, part in others), return_exceptions=True
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    is_new = isinstance(verdict, Admitted) or any(isinstance(answer, Admitted) for answer in answers)
    return Admitted(verdict.alert_id) if is_new else verdict


async def _admit_part(gate: Gate, part: Admission) -> Verdict:
    verdict = await gate.intake.admissions.submit(part)
    match verdict:
        case MemoryFull():
            raise gate.door.memory_refusal()
        case LaneFull(lane, waiting):
            raise gate.door.lane_refusal(lane, waiting)
    return verdict


def health_of(gates: Sequence[Gate], clock: Clock) -> CachedCheck:
    """Return the check whether every alert posted now would become durable."""
    return _check(gates, clock, is_enough=lambda problems: not problems)


def readiness_of(gates: Sequence[Gate], clock: Clock) -> CachedCheck:
    """Return the check whether any alert posted now would: of several shards one that is away stops only its own."""
    return _check(gates, clock, is_enough=lambda problems: len(problems) < len(gates))


def started_of(gates: Sequence[Gate]) -> Check:
    """Return the check whether any shard's Redis was ever found fit: it never fails again."""

    async def started() -> Health:
        if any(gate.door.has_opened for gate in gates):
            return Healthy()
        return Degraded(gates[0].door.reason)

    return started


def _check(
    gates: Sequence[Gate], clock: Clock, *, is_enough: Callable[[dict[int, BridgeError]], bool]
) -> CachedCheck:
    async def look_up() -> None:
        answers = await asyncio.gather(*map(_probe, gates), return_exceptions=True)
        problems: dict[int, BridgeError] = {}
        for number, answer in enumerate(answers):
            if isinstance(answer, BridgeError):
                problems[number] = answer
            elif isinstance(answer, BaseException):
                raise answer
        if not is_enough(problems):
            if len(gates) == 1:
                raise problems[0]
            words = "; ".join(f"shard {number}: {problem}" for number, problem in problems.items())
            raise StoreUnavailable(words)

    return CachedCheck(look_up, clock, subject="Redis")


async def _probe(gate: Gate) -> None:
    if not gate.door.is_open:
        raise StoreUnavailable(gate.door.reason)
    await gate.intake.probe()
