"""Senders that post each alert until it is taken, and write down every answer."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from tests.chaos.world import HASTY_TOKEN, LIMITED, World, now_ms
from tests.support.bridge_config import SECRET
from tests.support.http_client import Connection, send_on

ANSWER_S: Final = 4.0
"""How long a sender waits for an answer: longer than the deadline within which there must be one."""

PAUSE_S: Final = (0.05, 0.4)
"""Between a refusal and the next try."""

RESENT: Final = 0.04
"""The share of alerts that are sent once more although they were taken."""

GIVE_UP_S: Final = 90.0

SLOWEST_S: Final = {"limited": 0.5, "target": 2.5}
"""Between two alerts of such a symbol at least, so that their lanes keep up: limits let no more through, and after a fill
the position is not believed for as long as look-ups lag."""


@dataclass(frozen=True)
class Symbol:
    """What is sent for one symbol."""

    name: str
    kind: str
    """`plain`: one order each. `limited`: the same behind a rate limit. `target`: whatever leads to a position.
    `hasty`: old after seconds."""


PLAIN: Final = 36
"""So many that a worker often has enough waiting for several flights of intents, and of settlements."""

SYMBOLS: Final[Sequence[Symbol]] = (
    *(Symbol(f"S{number:02}", "plain") for number in range(1, PLAIN + 1)),
    *(Symbol(name, "limited") for name in LIMITED),
    *(Symbol(f"T{number:02}", "target") for number in range(1, 5)),
    *(Symbol(f"H{number:02}", "hasty") for number in range(1, 4)),
)


@dataclass
class Try:
    """One post."""

    sent_ms: int
    status: int
    elapsed_s: float


@dataclass
class Sent:
    """An alert and what became of posting it."""

    symbol: Symbol
    body: dict[str, Any]
    alert_id: str = ""
    """Empty until it was taken."""
    tries: list[Try] = field(default_factory=list)
    resent: list[tuple[int, str]] = field(default_factory=list)
    """Status and alert id of posts after it was taken."""


class Load:
    """Sends alerts at a pace, those of one symbol one after the other.

    Args:
        world: Whose ingresses get them.
        seed: Decides what is sent.
        per_s: Alerts a second in all, while the bridge takes them.
    """

    def __init__(self, world: World, seed: int, per_s: float) -> None:
        self._world = world
        self._seed = seed
        self._every_s = len(SYMBOLS) / per_s
        self.sent: list[Sent] = []
        self.is_over = asyncio.Event()

    async def run(self) -> None:
        """Send until `is_over`; then each sender still gets its last alert taken."""
        await asyncio.gather(*(self._send(symbol) for symbol in SYMBOLS))

    async def _send(self, symbol: Symbol) -> None:
        rng = random.Random(f"{self._seed}-{symbol.name}")
        connections: dict[str, Connection | None] = {}
        due_s = time.monotonic() + rng.random() * self._every_s
        number = 0
        while True:
            await self._wait_until(due_s)
            if self.is_over.is_set():
                break
            number += 1
            one = Sent(symbol, _alert(symbol, f"{self._seed}-{symbol.name}-{number}", rng))
            self.sent.append(one)
            await self._post_until_taken(one, connections, rng)
            if rng.random() < RESENT:
                status, alert_id = await self._post(one, connections, rng)
                one.resent.append((status, alert_id))
            due_s += max(self._every_s, SLOWEST_S.get(symbol.kind, 0.0)) * rng.uniform(0.5, 1.5)
        for connection in connections.values():
            if connection is not None:
                connection.close()

    async def _wait_until(self, due_s: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                await self.is_over.wait()
        except TimeoutError:
            return

    async def _post_until_taken(
        self, one: Sent, connections: dict[str, Connection | None], rng: random.Random
    ) -> None:
        give_up_s = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_s:
            status, alert_id = await self._post(one, connections, rng)
            if status == 200:
                one.alert_id = alert_id
                return
            await asyncio.sleep(rng.uniform(*PAUSE_S))

    async def _post(
        self, one: Sent, connections: dict[str, Connection | None], rng: random.Random
    ) -> tuple[int, str]:
        ingress = rng.choice(self._world.bridge.ingresses)
        path = f"/hooks/{HASTY_TOKEN}" if one.symbol.kind == "hasty" else "/webhook"
        sent_ms = now_ms()
        answer, connections[ingress.label] = await send_on(
            connections.get(ingress.label),
            f"{ingress.url}{path}",
            orjson.dumps(one.body),
            timeout_s=ANSWER_S,
        )
        one.tries.append(Try(sent_ms, answer.status, answer.elapsed_s))
        alert_id = answer.body.get("alert_id", "") if isinstance(answer.body, dict) else ""
        return answer.status, alert_id


def _alert(symbol: Symbol, sender_id: str, rng: random.Random) -> dict[str, Any]:
    alert: dict[str, Any] = {"id": sender_id, "symbol": symbol.name}
    if symbol.kind != "hasty":
        alert["secret"] = SECRET
    if symbol.kind != "target":
        return {**alert, "action": rng.choice(("buy", "sell"))}
    position = rng.choice(("long", "short", "flat"))
    size = {} if position == "flat" else {"quantity": str(rng.randint(1, 5))}
    return {**alert, "bascule": 1, "action": "target", "position": position, **size}
