"""What lies between the machine's processes and Redis: each call fares as a rule has said, and no zombie may write."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis as sync_redis
from redis.asyncio import Redis

from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from tests.fuzz.faults import Call, Executed, Fate, Network
from tests.fuzz.promises import items_of, settlements_of
from tests.fuzz.venue import Report

_FENCED: Final = {
    "begin": (4, 3),
    "resolve": (1, 1),
    "park": (1, 1),
    "yield": (1, 1),
}
"""Scripts of whoever holds a lane, besides `settle`: keys of an item, arguments before the first."""

_UNOPENED_TOO: Final = frozenset({"park", "yield"})
"""Those that take a token which was read but not opened."""


class Wire(Network):
    """A network whose faults are rules of the machine."""

    def __init__(
        self,
        client: Redis,
        direct: sync_redis.Redis,
        keys: Keys,
        executed: Executed,
        report: Report,
        now_ms: Callable[[], int],
    ) -> None:
        super().__init__(client, random.Random(0), executed, now_ms, 0)
        self.next_fate = Fate.ARRIVES
        self.held_back: list[Call] = []
        """Calls that come late, oldest first."""
        self.last: tuple[Call, Any] | None = None
        """What Redis executed last, and what it answered."""
        self._direct = direct
        self._keys = keys
        self._tell = report

    def fate(self) -> Fate:
        fate, self.next_fate = self.next_fate, Fate.ARRIVES
        return fate

    def hold_back(self, call: Call) -> None:
        self.held_back.append(call)

    async def execute(self, script: Script, keys: Sequence[str], args: list[Any]) -> Any:
        is_zombie = self._is_zombie(script.name, keys, args)
        before = self._writes() if is_zombie else 0
        reply = await super().execute(script, keys, args)
        if is_zombie and (self._writes() != before or any(answer[0] != b"STALE" for answer in reply)):
            self._tell("A ZOMBIE WROTE", (script.name, reply))
        self.last = ((script, keys, args), reply)
        return reply

    def _is_zombie(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> bool:
        """Tell whether a call comes from somebody who lost all the lanes that it is about."""
        if name == "settle":
            items = settlements_of(args)
        elif name in _FENCED:
            keys_each, args_before = _FENCED[name]
            items = items_of(keys, args, keys_each=keys_each, args_before=args_before)
        else:
            return False
        fences = self._direct.hmget(self._keys.lanes, [item[0] for item in items])
        for item, fence in zip(items, fences, strict=True):
            if fence == f"{item[1]}|{item[2]}" or (name in _UNOPENED_TOO and fence == f"{item[1]}|"):
                return False
        return True

    def _writes(self) -> int:
        """Return how often Redis' data changed since it was last saved, which it never is."""
        return int(self._direct.info("persistence")["rdb_changes_since_last_save"])
