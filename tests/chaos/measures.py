"""How long things took: take-overs of dead workers' lanes, answers, and the first 200 after Redis was back."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.invariants import Evidence
from tests.chaos.load import Sent
from tests.chaos.world import Kill, Trouble
from tests.e2e.ledger import Event

DISTURBING: Final = ("venue", "Redis", "group", "ready")
"""Faults that keep a lane still by themselves."""

WATCHED_MS: Final = 15_000


@dataclass
class Measures:
    """Of one stretch; times in ms."""

    takeovers: list[int] = field(default_factory=list)
    """Of lanes whose worker was killed while neither Redis nor the venue was ill, until they traded again."""
    takeovers_in_trouble: list[int] = field(default_factory=list)
    """Of the others."""
    back: list[int] = field(default_factory=list)
    """From Redis' first answer after it was killed to the first 200."""
    answers: list[int] = field(default_factory=list)
    """How long a 200 took."""


def measure(
    evidence: Evidence,
    events: Sequence[Event],
    kills: Sequence[Kill],
    troubles: Sequence[Trouble],
    redis_back_ms: Sequence[int],
) -> Measures:
    """Return all of them."""
    found = Measures()
    moves = _moves(evidence, events)
    for kill in kills:
        is_troubled = any(
            one.name.startswith(DISTURBING)
            and one.began_ms < kill.at_ms + WATCHED_MS
            and (one.healed_ms is None or one.healed_ms > kill.at_ms - WATCHED_MS)
            for one in troubles
        )
        for lane in kill.lanes:
            later = [at_ms for at_ms in moves[lane] if at_ms >= kill.at_ms]
            if later:
                took_ms = min(later) - kill.at_ms
                (found.takeovers_in_trouble if is_troubled else found.takeovers).append(took_ms)
    taken = sorted(_taken_ms(one) for one in evidence.sent if one.alert_id)
    for back_ms in redis_back_ms:
        first = next((at_ms for at_ms in taken if at_ms >= back_ms), None)
        if first is not None:
            found.back.append(first - back_ms)
    found.answers = [round(one.tries[-1].elapsed_s * 1_000) for one in evidence.sent if one.alert_id]
    return found


def share(times: Sequence[int], part: float) -> int | None:
    """Return a percentile; None of nothing."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))] if times else None


def _taken_ms(one: Sent) -> int:
    answered = next(each for each in one.tries if each.status == 200)
    return answered.sent_ms + round(answered.elapsed_s * 1_000)


def _moves(evidence: Evidence, events: Sequence[Event]) -> dict[str, list[int]]:
    """Return when each lane went on: an order that left and was executed, or an instruction that ended."""
    executed: dict[str, list[int]] = defaultdict(list)
    for entry in evidence.ledger:
        executed[f"{entry['account']}:{entry['symbol']}"].append(entry["executed_at_ms"])
    for event in events:
        if event.event in {"EXECUTED", "SKIPPED", "EXPIRED"}:
            executed[event.lane].append(event.at_ms)
    return executed
