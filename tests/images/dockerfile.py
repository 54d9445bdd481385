"""Reads the Dockerfile: its stages and their steps, as far as ours uses the language."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FROM: Final = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_KNOWN: Final = frozenset({"CMD", "COPY", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"})


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of a stage."""

    word: str
    rest: str
    """All behind the word, with its lines joined."""

    @property
    def pairs(self) -> dict[str, str]:
        """What an ENV or LABEL sets."""
        return dict(part.split("=", 1) for part in shlex.split(self.rest))

    @property
    def command(self) -> list[str]:
        """The arguments of a CMD or HEALTHCHECK."""
        return list(json.loads(self.rest[self.rest.index("[") :]))


@dataclass(slots=True)
class Stage:
    """What stands between one FROM and the next."""

    name: str
    base: str
    """An image, or another stage."""
    steps: list[Step] = field(default_factory=list)


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> Mapping[str, Stage]:
    """Return the stages by their names, in order.

    Raises:
        ValueError: There is something in it that this reader does not know.
    """
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for word, rest in _instructions(path.read_text(encoding="utf-8")):
        if word == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            found = _FROM.fullmatch(_VARIABLE.sub(lambda match: arguments[match[1]], rest))
            if found is None or found["name"] is None:
                raise ValueError(f"a FROM without a name: {rest}")
            stages[found["name"]] = Stage(found["name"], found["base"])
        elif word in _KNOWN and stages:
            next(reversed(stages.values())).steps.append(Step(word, rest))
        else:
            raise ValueError(f"an instruction that is not known here: {word} {rest}")
    return stages


def chain(stages: Mapping[str, Stage], target: str) -> list[Stage]:
    """Return a stage and those it stands on, the lowest first."""
    found = [stages[target]]
    while found[0].base in stages:
        found.insert(0, stages[found[0].base])
    return found


def steps_of(stages: Mapping[str, Stage], target: str) -> list[Step]:
    """Return all steps that an image is made by, those of the stages below it too."""
    return [step for stage in chain(stages, target) for step in stage.steps]


def last(stages: Mapping[str, Stage], target: str, word: str) -> Step:
    """Return the step of a kind that counts: the last one."""
    return next(step for step in reversed(steps_of(stages, target)) if step.word == word)


def environment(stages: Mapping[str, Stage], target: str) -> dict[str, str]:
    """Return what the ENV steps of an image set."""
    return {
        name: value
        for step in steps_of(stages, target)
        if step.word == "ENV"
        for name, value in step.pairs.items()
    }


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), rest.strip()) for word, rest in found]
