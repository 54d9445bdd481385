"""A sender that posts each alert until it is taken, as TradingView and patient users do."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.http_client import Answer

LONGEST_S = 30.0


@dataclass
class Sent:
    """What became of one alert."""

    answers: list[Answer]
    """One per post; the last one says 200."""

    @property
    def alert_id(self) -> str:
        found: str = self.answers[-1].body["alert_id"]
        return found


async def send_until_taken(
    bridge: Bridge,
    alerts: Sequence[Mapping[str, Any]],
    connections: int = 16,
    *,
    rate_per_s: float,
    sent: list[Sent] | None = None,
) -> list[Sent]:
    """Post every alert until it is answered 200, those of one symbol one after the other.

    Args:
        bridge: Its first ingress is posted to.
        alerts: See `Bridge.alert`.
        connections: How many senders.
        rate_per_s: The pace of first posts.
        sent: Filled as the posts go out, for those who watch.
    """
    done = [Sent([]) for _ in alerts]
    if sent is not None:
        sent.extend(done)
    places: dict[str, int] = {}
    own: list[list[int]] = [[] for _ in range(connections)]
    for index, alert in enumerate(alerts):
        own[places.setdefault(alert["symbol"], len(places) % connections)].append(index)
    started_s = time.monotonic()

    async def run(indices: list[int]) -> None:
        for index in indices:
            await asyncio.sleep(max(0.0, started_s + index / rate_per_s - time.monotonic()))

            async def is_taken(index: int = index) -> bool:
                answer = await bridge.post(alerts[index])
                done[index].answers.append(answer)
                return answer.status == 200

            await eventually(is_taken, LONGEST_S, 0.05, f"alert {index} is taken")

    await asyncio.gather(*(run(indices) for indices in own))
    return done
