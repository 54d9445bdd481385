"""What the tests of the watchdog's duties share: two shards, the places of alarms, and what admissions leave."""

from decimal import Decimal

from prometheus_client import CollectorRegistry
from structlog.typing import EventDict

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.policy.alarms import AlarmKind
from libs.common.runtime.durations import DurationMs, DurationOrOffMs
from libs.common.runtime.watchdog_settings import SilenceSettings
from libs.common.store.alarms import Alarms
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard, Shards
from libs.common.store.turns import Turn
from libs.common.store.watch import Watch
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from libs.common.wire import codec
from services.reaper.raising import Raising
from services.reaper.silence import Silence
from tests.integration.services.reaper.rig import ReaperRig

HOUR_MS = 3_600_000


class Watchdog:
    """Two shards on the rig's Redis, at Redis' own time."""

    def __init__(self, rig: ReaperRig) -> None:
        self.rig = rig
        rig.upkeep._now = ""
        self.shards = Shards([Shard(number, Keys(number), rig.client) for number in range(2)])
        self.watch = Watch(rig.client, rig.keys)
        self.alarms = Alarms(rig.client, rig.keys)
        self.registry = CollectorRegistry()
        self.metrics = WatchdogMetrics(self.registry)

    def raising(self, kind: AlarmKind) -> Raising:
        return Raising(self.alarms, self.metrics, kind)

    def turn(self, holder: str) -> Turn:
        return Turn(self.rig.client, self.rig.keys, "duty", holder=holder, lasts_ms=60_000)

    def silence(self, holder: str = "one", *, learn: bool = True, **strategies: int) -> Silence:
        settings = SilenceSettings(
            learn=learn,
            least_ms=DurationMs(1_000),
            strategies={name: DurationOrOffMs(ms) for name, ms in strategies.items()},
        )
        raising = self.raising(AlarmKind.SILENCE)
        return Silence(self.shards, self.watch, raising, self.turn(holder), settings)

    def admitted(self, *, at_ms: int, strategy: str = "trend", shard: int = 0, webhook: str = "w") -> None:
        """Leave what an admission leaves, at a time of the past."""
        keys = Keys(shard)
        alert = AlertId(f"{strategy}-{at_ms}")
        content = AlertContent(
            dialect="bascule", action=Action.BUY, symbol="B", quantity=Decimal(1), strategy=strategy or None
        )
        body = codec.ALERT.encode(
            Alert(
                alert_id=alert,
                webhook=WebhookName(webhook),
                content=content,
                received_at_ms=at_ms,
                accounts=(AccountName("a"),),
                raw="",
            )
        )
        fields = {"event": "QUEUED", "alert": alert, "account": "a", "lane": "a:B", "reason": "admitted"}
        with self.rig.redis.pipeline() as pipeline:
            pipeline.hset(keys.alert(alert), "alert", body)
            pipeline.expire(keys.alert(alert), 600)
            pipeline.xadd(keys.journal, {**fields, "detail": webhook}, id=f"{at_ms}-1")
            pipeline.execute()

    async def now_ms(self) -> int:
        return await self.rig.upkeep.time_ms()

    async def raised(self) -> dict[str, str]:
        return {one.subject: one.detail for one in await self.alarms.raised()}


def said(events: list[EventDict]) -> list[tuple[str, str]]:
    return [(one["event"], one["subject"]) for one in events if one["event"].startswith("alarm_")]
