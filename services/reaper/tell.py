"""Tells alarms and dead letters to whoever is to know, each until it was taken."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.policy.alarms import Message
from libs.common.policy.retry import Uniform, backoff_ms
from libs.common.runtime.alarm_targets import Delivered, Delivery, Failed, Target
from libs.common.store.told import Told, Untold
from libs.common.store.turns import Turn
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.subject import ACCOUNT, ALERT_ID, STRATEGY
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics

INTERVAL_S: Final = 1.0
PASS_MS: Final = 2_000
"""How long one pass goes on telling; the next follows at once."""
BACKOFF_BASE_MS: Final = 1_000
BACKOFF_CAP_MS: Final = 30_000
REFUSED_AT_LEAST: Final = 5
"""Times that a target must answer that it does not want a message, until that is given up."""
REFUSED_FOR_MS: Final = 300_000
"""The same, from the first try on: what stands before a target that is just being replaced says so too."""

log = get_logger()


@dataclass(slots=True)
class Tries:
    """Of a message that could not be told yet."""

    message_id: str
    first_at_ms: int
    """Monotonic."""
    count: int = 0
    refused: int = 0
    reason: str = ""
    """Why the last one failed."""


class Tell:
    """One message at a time, in order: one that cannot be told holds up those behind it, and none is lost."""

    def __init__(
        self,
        told: Told,
        target: Target,
        turn: Turn,
        clock: Clock,
        metrics: WatchdogMetrics,
        *,
        stopping: asyncio.Event,
        keep_trying_ms: int,
        uniform: Uniform = random.uniform,
    ) -> None:
        """Args:
        told: What is to be told, of one shard.
        target: Whom.
        turn: One reaper tells.
        clock: What ages are counted by.
        metrics: Count what became of it.
        stopping: Ends a delivery that is under way; it is made again.
        keep_trying_ms: What is older and cannot be told is given up.
        uniform: Spreads the tries.
        """
        self.name = f"tell_{target.name}"
        self._told = told
        self._target = target
        self._turn = turn
        self._clock = clock
        self._metrics = metrics
        self._stopping = stopping
        self._keep_trying_ms = keep_trying_ms
        self._uniform = uniform
        self._again_at_ms = 0
        self._tries: Tries | None = None
        """Of the message that was last tried in vain."""
        self._taken = ""
        """The message that was told last: where Redis did not note it, it is not told again."""
        metrics.declare_deliveries()

    async def run_once(self) -> float:
        """Tell what there is, for a while."""
        began_ms = self._clock.monotonic_ms()
        # A target that is away is no reason to call the reaper unwell, so no pass fails for it.
        if not await self._turn.take():
            self._told.forget()
            return INTERVAL_S
        if began_ms < self._again_at_ms:
            return INTERVAL_S
        waiting = await self._told.untold()
        if skipped := self._told.take_skipped():
            self._metrics.delivery("skipped", skipped)
            log.warning("alarms_skipped", target=self._target.shown, messages=skipped)
        for untold in waiting:
            if not await self._tell(untold):
                return INTERVAL_S
            if self._clock.monotonic_ms() - began_ms >= PASS_MS:
                return 0.0
            if not await self._turn.take():
                return INTERVAL_S
        return INTERVAL_S

    async def _tell(self, untold: Untold) -> bool:
        """Tell one message; return whether to go on with the next."""
        message_id = untold.message.id
        if message_id != self._taken:
            delivery = await self._deliver(untold)
            if delivery is None:
                return False
            if isinstance(delivery, Delivered):
                self._note_delivery(untold.message)
            elif not self._is_given_up(untold, delivery):
                return False
        self._taken = message_id
        self._tries, self._again_at_ms = None, 0
        return await self._told.note(untold)

    def _note_delivery(self, message: Message) -> None:
        self._metrics.delivery("delivered")
        tries = self._tries
        if tries is not None and tries.message_id == message.id:
            log.info("alarm_delivered", target=self._target.shown, tries=tries.count + 1, **_named(message))

    async def _deliver(self, untold: Untold) -> Delivery | None:
        """Make one try; return None where the process is to end first."""
        delivering = asyncio.ensure_future(self._target.deliver(untold.message))
        ending = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((delivering, ending), return_when=asyncio.FIRST_COMPLETED)
            return delivering.result() if delivering.done() else None
        finally:
            ending.cancel()
            if not delivering.done():
                delivering.cancel()
                await asyncio.wait((delivering,))

    def _is_given_up(self, untold: Untold, failed: Failed) -> bool:
        """Note one more try in vain; return whether it was the last."""
        message_id, now_ms = untold.message.id, self._clock.monotonic_ms()
        tries = self._tries
        if tries is None or tries.message_id != message_id:
            tries = self._tries = Tries(message_id, now_ms)
        tries.count += 1
        tries.refused += failed.is_refused
        age_ms = self._clock.now_ms() - untold.message.at_ms
        # What stands is news for as long as it does.
        is_old = age_ms > self._keep_trying_ms and not untold.is_standing
        is_refused = tries.refused >= REFUSED_AT_LEAST and now_ms - tries.first_at_ms >= REFUSED_FOR_MS
        if is_old or is_refused:
            self._metrics.delivery("given_up")
            log.error(
                "alarm_given_up",
                target=self._target.shown,
                tries=tries.count,
                error=failed.reason,
                **_named(untold.message),
            )
            return True
        self._metrics.delivery("retried")
        if failed.reason != tries.reason:
            log.warning(
                "alarm_not_delivered",
                target=self._target.shown,
                error=failed.reason,
                **_named(untold.message),
            )
        tries.reason = failed.reason
        pause_ms = backoff_ms(
            tries.count, base_ms=BACKOFF_BASE_MS, cap_ms=BACKOFF_CAP_MS, uniform=self._uniform
        )
        self._again_at_ms = self._clock.monotonic_ms() + pause_ms
        return False


def _named(message: Message) -> dict[str, str]:
    """Return which message it is, and of a dead letter which alert it is about."""
    about = {ALERT_ID: message.alert_id, ACCOUNT: message.account, STRATEGY: message.strategy}
    return {"message_id": message.id} | {name: value for name, value in about.items() if value}
