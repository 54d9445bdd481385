"""Copies of the product with one rule broken, to see whether the sweep notices."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.support.tree import ROOT
from tests.sweep.cell import VENUE
from tests.sweep.steps import Scenario, Step
from tests.sweep.tap import Kind, Outcome


@dataclass(frozen=True)
class Mutation:
    """One change, and the scenario that it must break."""

    path: str
    old: str
    new: str
    scenario: Scenario
    is_slow: bool = False
    """Whether it shows by something that never comes."""


def _market(process: str, name: str, kind: Kind) -> Scenario:
    return Scenario(Step("market", process, name, 1), Outcome(kind))


MUTATIONS: Final[Mapping[str, Mutation]] = MappingProxyType(
    {
        "an order without an answer counts as never sent": Mutation(
            "services/worker/brokers/http.py",
            "    if has_left:\n",
            "    if has_left is None:\n",
            _market(VENUE, "POST /orders", Kind.CUT_AFTER),
        ),
        "a post that comes again is another alert": Mutation(
            "libs/common/store/lua/admit.lua",
            "    local seen = redis.call('GET', key)\n",
            "    local seen = nil\n",
            _market("ingress", "script admit", Kind.KILL_AFTER),
        ),
        "nobody reclaims": Mutation(
            "services/reaper/reclaim.py",
            "reclaim(lease_ms=self._lease_ms)",
            "reclaim(lease_ms=3_600_000)",
            _market("worker", "script take", Kind.KILL_AFTER),
            is_slow=True,
        ),
    }
)


def mutated(mutation: Mutation, directory: Path) -> Path:
    """Return a copy of what the services run with that one change.

    Raises:
        ValueError: The place to be changed is not there, or not only once.
    """
    unneeded = shutil.ignore_patterns("__pycache__")
    for part in ("services", "libs"):
        shutil.copytree(ROOT / part, directory / part, ignore=unneeded)
    changed = directory / mutation.path
    text = changed.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.path} holds {text.count(mutation.old)} times {mutation.old!r}")
    changed.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return directory
