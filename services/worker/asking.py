"""Asks venues, within a time and whatever their adapters do."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from libs.common.domain.errors import BridgeError, LookUpUnavailable
from libs.common.domain.ids import AccountName
from libs.common.telemetry.worker_metrics import WorkerMetrics

ANSWER_WITHIN_S: Final = 5.0
"""Bound on one call to a venue, whatever the adapter's own."""

T = TypeVar("T")


class Asker:
    """Asks, and counts what was not answered."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics

    async def ask_or_note(
        self, name: AccountName, call: Awaitable[T], failures: list[LookUpUnavailable]
    ) -> T | None:
        """Return a venue's answer; None, and one failure more, where it gave none."""
        try:
            return await self.ask(name, call)
        except LookUpUnavailable as error:
            failures.append(error)
            return None

    async def ask(self, name: AccountName, call: Awaitable[T]) -> T:
        """Return a venue's answer.

        Raises:
            LookUpUnavailable: It gave none.
        """
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await call
        except BridgeError as error:
            words: BaseException | str = str(error)
        except TimeoutError:
            words = f"no answer within {ANSWER_WITHIN_S:g} s"
        except Exception as error:  # noqa: BLE001 - an adapter's fault is no answer
            words = repr(error)
        self._metrics.look_up_failed(name)
        raise LookUpUnavailable(words)
