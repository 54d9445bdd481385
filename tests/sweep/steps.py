"""What happens on each path, found by walking it once, and what may go wrong there."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from tests.sweep.cell import VENUE
from tests.sweep.tap import Fault, Kind, Outcome
from tests.sweep.wire import WHOLE, Language, http_language, redis_language

ORDINALS: Final = 2
"""A request that comes again and again on a path is struck this often."""

PLAIN: Final = tuple(Outcome(kind) for kind in Kind if kind is not Kind.REFUSED)

_REDIS: Final = redis_language({})
_VENUE: Final = http_language()


@dataclass(frozen=True, order=True)
class Step:
    """One request on a path."""

    flow: str
    process: str
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.flow} | {self.process} | {self.name} | {self.nth}"

    @property
    def outcomes(self) -> Iterator[Outcome]:
        """Return all that may become of it."""
        yield from PLAIN
        language: Language = _VENUE if self.process == VENUE else _REDIS
        for word in language.refusals:
            if language.applies(self.name, word):
                yield Outcome(Kind.REFUSED, word)


@dataclass(frozen=True)
class Scenario:
    """One step and what becomes of it."""

    step: Step
    outcome: Outcome

    def __str__(self) -> str:
        return f"{self.step} | {self.outcome}"

    @property
    def fault(self) -> Fault:
        step = self.step
        return Fault(step.process, step.name, step.nth, self.outcome, any_reply=step.flow == "idle")


def with_whole_scripts(steps: Iterable[Step]) -> list[Step]:
    """Return the steps, in order, and for each script the one at which it is sent whole, once for each process."""
    found = sorted(steps)
    whole: dict[tuple[str, str], Step] = {}
    for step in found:
        if step.name.startswith("script "):
            whole.setdefault((step.process, step.name), replace(step, name=step.name + WHOLE, nth=1))
    return sorted([*found, *whole.values()])


def scenarios(steps: Iterable[Step]) -> list[Scenario]:
    """Return every step with all that may become of it."""
    return [Scenario(step, outcome) for step in steps for outcome in step.outcomes]


def choose(everything: Sequence[Scenario], count: int, seed: int) -> list[Scenario]:
    """Return some scenarios by a seed, of each process and kind of fault alike."""
    dice = random.Random(seed)
    groups: dict[tuple[str, str], list[Scenario]] = {}
    for scenario in everything:
        groups.setdefault((scenario.step.process, scenario.outcome.kind), []).append(scenario)
    piles = [dice.sample(group, len(group)) for group in groups.values()]
    dice.shuffle(piles)
    dealt = [scenario for turn in zip_longest(*piles) for scenario in turn if scenario is not None]
    return dealt[:count]
