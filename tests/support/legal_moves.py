"""Holds what happened to orders and instructions between two looks against the tables of `domain/lifecycle.py`."""

from collections.abc import Mapping
from typing import Any

import redis

from libs.common.domain.lifecycle import INSTRUCTION_MOVES, ORDER_MOVES, InstructionState, OrderState


class LegalMoves:
    """Looks at every record, and remembers what it was."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._states: dict[str, str] = {}

    def check(self) -> None:
        """Fail where a record is in a state that no moves lead to from where it was."""
        for kind, moves, state_of in (
            ("order", ORDER_MOVES, OrderState),
            ("instruction", INSTRUCTION_MOVES, InstructionState),
        ):
            for key in self._client.scan_iter(match=f"{self._prefix}{kind}:*", count=1_000):
                if self._client.type(key) != "hash":
                    continue
                state = str(self._client.hget(key, "state") or "")
                if not state:
                    continue
                before = self._states.get(key)
                reached = _reachable(moves, None if before is None else state_of(before))
                assert before == state or state_of(state) in reached, f"{key}: {before} -> {state}"
                self._states[key] = state


def _reachable(moves: Mapping[Any, frozenset[Any]], start: Any) -> set[Any]:
    found: set[Any] = set()
    waiting = [start]
    while waiting:
        for state in moves[waiting.pop()] - found:
            found.add(state)
            waiting.append(state)
    return found
