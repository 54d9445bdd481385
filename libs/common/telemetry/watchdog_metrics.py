"""The metrics of the watchdog, which is a part of the reaper."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from libs.common.telemetry.unlocked import LabelledCounter

OUTCOMES = ("delivered", "retried", "given_up", "skipped")


class WatchdogMetrics:
    """What is raised, and what became of telling it. Several reapers show the same gauges: take the greatest."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._silent = Gauge(
            "bascule_strategies_silent", "Strategies that are quiet for longer than usual.", registry=registry
        )
        self._watched = Gauge(
            "bascule_strategies_watched", "Strategies whose alerts are waited for.", registry=registry
        )
        self._rising = Gauge(
            "bascule_refusals_rising",
            "Whether many more posts are refused than usual, 0 or 1.",
            registry=registry,
        )
        self._skew = Gauge(
            "bascule_redis_clock_skew_seconds",
            "How far the clock of Redis is from this machine's, of the shard where that is the most; below 0 where ours is ahead.",
            registry=registry,
        )
        self._skews: dict[int, float] = {}
        self._raised = Gauge(
            "bascule_alarms_raised", "Alarms that are raised now.", ("kind",), registry=registry
        )
        self._alarms = LabelledCounter(registry, "bascule_alarms_total", "Alarms that were raised.", "kind")
        self._deliveries = LabelledCounter(
            registry,
            "bascule_alarm_deliveries_total",
            "What became of telling alarms and dead letters.",
            "outcome",
        )
        self._certificate: tuple[Gauge, Gauge, Gauge] | None = None

    def declare_deliveries(self) -> None:
        """Show them before the first, where anybody is told."""
        for outcome in OUTCOMES:
            self._deliveries.of(outcome).inc(0)

    def declare_alarms(self, kind: str) -> None:
        """Show those of a kind before the first."""
        self._alarms.of(kind).inc(0)

    def strategies(self, *, watched: int, silent: int) -> None:
        """Show how many strategies are watched, and how many of them are silent."""
        self._watched.set(watched)
        self._silent.set(silent)

    def refusals(self, *, is_rising: bool) -> None:
        """Show whether refusals are rising."""
        self._rising.set(is_rising)

    def raised(self, alarms: Mapping[str, int]) -> None:
        """Show how many alarms of each kind are raised; kinds are a fixed set, and those without any are named too."""
        for kind, count in alarms.items():
            self._raised.labels(kind).set(count)

    def certificate(
        self, expires_at_s: float | None, share_left: float | None, *, is_valid: bool | None
    ) -> None:
        """Show a certificate: when it expires, how much of its lifetime is left, and whether clients believe it.

        Nothing is shown of what was never known.

        Args:
            expires_at_s: Seconds since the epoch.
            share_left: 0 to 1.
            is_valid: False also where it cannot be seen.
        """
        if self._certificate is None:
            if expires_at_s is None and share_left is None and is_valid is None:
                return
            self._certificate = (
                Gauge(
                    "bascule_certificate_expires_timestamp_seconds",
                    "When the certificate of the public URL expires, seconds since the epoch.",
                    registry=self._registry,
                ),
                Gauge(
                    "bascule_certificate_share_left",
                    "How much of the lifetime of the certificate of the public URL is left, 0 to 1; 0 where it is not valid.",
                    registry=self._registry,
                ),
                Gauge(
                    "bascule_certificate_valid",
                    "Whether clients believe the certificate of the public URL, 0 or 1; 0 also where it cannot be seen.",
                    registry=self._registry,
                ),
            )
        unknown = float("nan")
        self._certificate[0].set(unknown if expires_at_s is None else expires_at_s)
        self._certificate[1].set(unknown if share_left is None else share_left)
        self._certificate[2].set(unknown if is_valid is None else is_valid)

    def skew(self, shard: int, skew_s: float) -> None:
        """Show by how much the clock of a shard's Redis is ahead of ours, seconds."""
        self._skews[shard] = skew_s
        self._skew.set(max(self._skews.values(), key=abs))

    def alarm(self, kind: str) -> None:
        """Count an alarm that was raised."""
        self._alarms.of(kind).inc()

    def delivery(self, outcome: str, count: int = 1) -> None:
        """Count what became of telling, one of `OUTCOMES`."""
        self._deliveries.of(outcome).inc(count)
