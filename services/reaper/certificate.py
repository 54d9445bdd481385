"""Watches the certificate of the public address, as seen from outside."""

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from libs.common.domain.clock import Clock
from libs.common.policy.expiry import Look, Sighting, problem_of, sighted
from libs.common.runtime.watchdog_settings import CertificateSettings
from libs.common.store.turns import Turn
from libs.common.store.watch import LOOKED, Watch
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from services.reaper.handshake import look_at
from services.reaper.raising import Raising

INTERVAL_S: Final = 10.0
AGAIN_MS: Final = 60_000
"""Until the next look where the last one found nobody, or something wrong."""


def https_place(public_url: str | None) -> tuple[str, int] | None:
    """Return the host and port that show a certificate; None where there is none to watch."""
    parts = urlsplit(public_url or "")
    if parts.scheme != "https" or not parts.hostname:
        return None
    return parts.hostname, parts.port or 443


class Certificate:
    """One reaper looks, all show what it saw."""

    name = "certificate"

    def __init__(
        self,
        place: tuple[str, int],
        watch: Watch,
        raising: Raising,
        turn: Turn,
        clock: Clock,
        metrics: WatchdogMetrics,
        settings: CertificateSettings,
        *,
        look: Callable[[str, int], Awaitable[Look]] = look_at,
    ) -> None:
        """Args:
        place: Host and port.
        watch: Where it is kept what was seen.
        raising: Of certificates.
        turn: One reaper looks.
        clock: What certificates are measured by.
        metrics: Show it.
        settings: How often, and what is too late.
        look: Makes a handshake.
        """
        self._host, self._port = place
        self._watch = watch
        self._raising = raising
        self._turn = turn
        self._clock = clock
        self._metrics = metrics
        self._every_ms = int(settings.every_ms)
        self._share = settings.share
        self._look = look

    async def run_once(self) -> float:
        """Look if it is time, and show and judge what is known."""
        sighting = await self._watch.sighting()
        if await self._turn.take():
            if sighting is None or self._clock.now_ms() - sighting.at_ms >= self._pause_ms(sighting):
                sighting = await self._look_again(sighting)
            await self._judge(sighting)
        if sighting is not None:
            expires_ms, now_ms = sighting.not_after_ms, self._clock.now_ms()
            self._metrics.certificate(
                None if expires_ms is None else expires_ms / 1_000,
                sighting.share_left(now_ms),
                is_valid=sighting.is_believed(now_ms),
            )
        return min(INTERVAL_S, self._every_ms / 1_000)

    def _pause_ms(self, sighting: Sighting) -> int:
        if sighting.missed or problem_of(sighting, self._clock.now_ms(), share=self._share) is not None:
            return min(self._every_ms, AGAIN_MS)
        return self._every_ms

    async def _look_again(self, before: Sighting | None) -> Sighting:
        cursor = await self._watch.cursor(LOOKED)
        found = sighted(before, await self._look(self._host, self._port), self._clock.now_ms())
        await self._watch.note_sighting(cursor, found)
        return found

    async def _judge(self, sighting: Sighting) -> None:
        raised = await self._raising.raised()
        problem = problem_of(sighting, self._clock.now_ms(), share=self._share)
        if problem is not None and self._host not in raised:
            await self._raising.raise_(self._host, problem)
        for host in raised:
            if host != self._host:
                await self._raising.clear(host, "not the public address any more")
            elif problem is None:
                await self._raising.clear(host, "valid, and young enough")
