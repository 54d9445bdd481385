"""How long things took: take-overs of dead workers' lanes, answers, and the first 200 after Redis was back."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.invariants import Evidence
from tests.chaos.load import Sent
from tests.chaos.world import Kill
from tests.e2e.ledger import Event


@dataclass
class Measures:
    """Of one stretch; times in ms."""

    takeovers: list[int] = field(default_factory=list)
    """Of lanes whose worker was killed, and nothing else was wrong, until they traded again."""
    takeovers_amid: list[int] = field(default_factory=list)
    """The same while anything may have been wrong."""
    back: list[int] = field(default_factory=list)
    """From Redis' first answer after it was killed to the first 200."""
    answers: list[int] = field(default_factory=list)
    """How long a 200 took."""


def measure(
    evidence: Evidence,
    events: Sequence[Event],
    kills: Sequence[Kill],
    redis_back_ms: Sequence[int],
    *,
    is_calm: bool,
) -> Measures:
    """Return all of them.

    Args:
        evidence: Of the stretch.
        events: Its journal.
        kills: Of workers that held lanes.
        redis_back_ms: When Redis answered again.
        is_calm: Whether killed workers were all that was wrong.
    """
    found = Measures()
    moves = _moves(evidence, events)
    for number, kill in enumerate(kills):
        for lane in kill.lanes:
            moved_ms = min((at_ms for at_ms in moves[lane] if at_ms >= kill.at_ms), default=None)
            # Where its next holder died too before it moved, it counts from that one's death.
            died_again = any(
                lane in other.lanes and other.at_ms <= (moved_ms or 0) for other in kills[number + 1 :]
            )
            if moved_ms is not None and not died_again:
                took = found.takeovers if is_calm else found.takeovers_amid
                took.append(moved_ms - kill.at_ms)
    taken = sorted(_taken_ms(one) for one in evidence.sent if one.alert_id)
    for back_ms in redis_back_ms:
        first = next((at_ms for at_ms in taken if at_ms >= back_ms), None)
        if first is not None:
            found.back.append(first - back_ms)
    found.answers = [round(one.tries[-1].elapsed_s * 1_000) for one in evidence.sent if one.alert_id]
    return found


def percentile(times: Sequence[int], part: float) -> int | None:
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
