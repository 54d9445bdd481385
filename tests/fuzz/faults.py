"""Scripts whose calls get lost on the way there, on the way back, or arrive much later."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from redis.asyncio import Redis

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.copies import Copies
from libs.common.store.scripts import Script

Call = tuple[Script, Sequence[str], list[Any]]
Executed = Callable[[str, Sequence[str], Sequence[Any], Any], None]
"""Is told of every call that Redis executed: script, keys, arguments, reply."""


class Fate(Enum):
    """What becomes of a call."""

    ARRIVES = "it arrives"
    LOST = "it is lost on the way there"
    LATE = "it is under way for long"
    REPLY_LOST = "its reply is lost"


@dataclass
class Network:
    """What lies between the processes and Redis."""

    client: Redis
    rng: random.Random
    executed: Executed
    now_ms: Callable[[], int]
    loss: float = 0.04
    """The share of calls for each way of going wrong."""

    def __post_init__(self) -> None:
        self.late: list[tuple[int, Call]] = []
        """Calls that Redis executes later, by how many steps."""

    def attach(self, part: Any) -> Any:
        """Put this network under a part of the store."""
        for name, value in vars(part).items():
            if isinstance(value, Script):
                setattr(part, name, _Remote(value, self))
            elif isinstance(value, dict) and name == "_scripts":
                part._scripts = {key: _Remote(script, self) for key, script in value.items()}
        return part

    async def carry(self, script: Script, keys: Sequence[str], args: list[Any]) -> Any:
        """Make a call, or lose it somewhere."""
        fate = self.fate()
        if fate is Fate.LATE:
            self.hold_back((script, keys, args))
        if fate in {Fate.LOST, Fate.LATE}:
            raise StoreUnavailable(fate.value)
        reply = await self.execute(script, keys, args)
        if fate is Fate.REPLY_LOST:
            raise StoreUnavailable(fate.value)
        return reply

    def fate(self) -> Fate:
        """Decide what becomes of the next call."""
        dice = self.rng.random() / self.loss if self.loss else 9.0
        return (Fate.LOST, Fate.LATE, Fate.REPLY_LOST)[int(dice)] if dice < 3 else Fate.ARRIVES

    def hold_back(self, call: Call) -> None:
        """Keep a call for later."""
        self.late.append((self.rng.randint(1, 120), call))

    async def deliver_late(self) -> None:
        """Let a step pass, and execute the calls that arrive now."""
        due = [call for steps, call in self.late if steps <= 1]
        self.late = [(steps - 1, call) for steps, call in self.late if steps > 1]
        for script, keys, args in due:
            await self.execute(script, keys, args)

    async def execute(self, script: Script, keys: Sequence[str], args: list[Any]) -> Any:
        """Have Redis execute a call, at the time that it is by now."""
        args = [str(self.now_ms()), *args[1:]]
        reply = await script.run(self.client, keys, args)
        self.executed(script.name, keys, args, reply)
        return reply


class _Remote(Script):
    """A script at the other end of a network."""

    def __init__(self, script: Script, network: Network) -> None:
        self.name, self.source, self.sha = script.name, script.source, script.sha
        self._script = script
        self._network = network

    async def run(  # type: ignore[override]  # by what is handed on to it here alone
        self, client: Redis, keys: Sequence[str], args: Sequence[Any], *, copies: Copies | None = None
    ) -> Any:
        assert copies is None, "there are no replicas here"
        return await self._network.carry(self._script, keys, list(args))
