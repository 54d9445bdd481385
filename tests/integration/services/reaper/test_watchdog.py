"""Passes of the watchdog's duties over what a test brings about, on one shard and on several."""

import ssl
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from structlog.typing import EventDict

from libs.common.domain.alert import Action, Alert, AlertContent
from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.policy.alarms import AlarmKind
from libs.common.policy.expiry import Look, NotValid, Seen, Unreachable
from libs.common.policy.silence import LEAST_ALERTS, heard
from libs.common.runtime.durations import DurationMs, DurationOrOffMs, DurationOrZeroMs
from libs.common.runtime.watchdog_settings import CertificateSettings, SilenceSettings
from libs.common.store.alarms import Alarms
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard, Shards
from libs.common.store.streams import PAGE
from libs.common.store.turns import Turn
from libs.common.store.watch import Watch
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from libs.common.wire import codec
from services.reaper import silence as silence_module
from services.reaper.certificate import Certificate, https_place
from services.reaper.handshake import look_at
from services.reaper.raising import Raising
from services.reaper.silence import Silence
from services.reaper.skew import GONE_MS, Skew
from services.reaper.unwatched import Unwatched
from tests.integration.services.reaper.rig import ReaperRig
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.upstream import Upstream

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


@pytest.fixture
async def watchdog(rig: ReaperRig) -> Watchdog:
    return Watchdog(rig)


def said(events: list[EventDict]) -> list[tuple[str, str]]:
    return [(one["event"], one["subject"]) for one in events if one["event"].startswith("alarm_")]


async def hourly(watchdog: Watchdog, *, until_ms: int, shards: int = 1) -> None:
    for n in range(8 * 24, 0, -1):
        watchdog.admitted(at_ms=until_ms - (n - 1) * HOUR_MS, shard=n % shards)


@pytest.mark.parametrize("shards", [1, 2])
async def test_whoever_was_heard_each_hour_for_a_week_and_is_no_more_is_silent(
    watchdog: Watchdog, events: list[EventDict], shards: int
) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - 5 * HOUR_MS, shards=shards)
    one, other = watchdog.silence("one"), watchdog.silence("other")

    for _ in range(3):
        await one.run_once()
        await other.run_once()

    assert "not heard for 5 h" in (await watchdog.raised())["trend"]
    assert said(events) == [("alarm_raised", "trend")]

    watchdog.admitted(at_ms=await watchdog.now_ms() + 1, shard=shards - 1)
    await one.run_once()

    assert await watchdog.raised() == {}
    assert said(events) == [("alarm_raised", "trend"), ("alarm_cleared", "trend")]


async def test_a_clock_that_stepped_back_makes_nobody_deaf(watchdog: Watchdog) -> None:
    # Redis goes on from the time before the step, until that has come again.
    watchdog.admitted(at_ms=await watchdog.now_ms() + HOUR_MS)
    silence = watchdog.silence(trend=300)
    await silence.run_once()
    assert await watchdog.raised() == {}

    async def is_raised() -> bool:
        await silence.run_once()
        return list(await watchdog.raised()) == ["trend"]

    await eventually(is_raised)


async def test_whoever_takes_over_goes_on_where_the_other_one_was(watchdog: Watchdog) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - HOUR_MS)
    one = watchdog.silence("one")
    await one.run_once()
    await one._turn.give_back()
    other = watchdog.silence("other")
    await eventually(other._turn.take)
    watchdog.admitted(at_ms=now_ms)
    await other.run_once()

    habits = await watchdog.watch.habits()

    assert habits["trend"].alerts == 8 * 24 + 1
    assert await one.run_once() == silence_module.LISTEN_S


async def test_what_an_operator_sends_says_nothing_of_a_strategy(watchdog: Watchdog) -> None:
    watchdog.admitted(at_ms=await watchdog.now_ms(), webhook="operator")
    await watchdog.silence().run_once()

    assert await watchdog.watch.habits() == {}


async def test_alerts_without_a_strategy_are_their_webhooks(watchdog: Watchdog) -> None:
    watchdog.admitted(at_ms=await watchdog.now_ms(), strategy="", webhook="btc")
    await watchdog.silence().run_once()

    assert set(await watchdog.watch.habits()) == {"webhook:btc"}


async def test_a_strategy_whose_time_is_set_is_waited_for_before_it_was_ever_heard(
    watchdog: Watchdog,
) -> None:
    silence = watchdog.silence(asleep=1)
    await silence.run_once()

    async def is_raised() -> bool:
        silence._judged_at_s = float("-inf")
        await silence.run_once()
        return set(await watchdog.raised()) == {"asleep"}

    await eventually(is_raised)


async def test_what_is_switched_off_is_cleared(watchdog: Watchdog, events: list[EventDict]) -> None:
    await hourly(watchdog, until_ms=await watchdog.now_ms() - 5 * HOUR_MS)
    await watchdog.silence().run_once()
    assert set(await watchdog.raised()) == {"trend"}

    await watchdog.silence(trend=0).run_once()

    assert await watchdog.raised() == {}
    assert events[-1]["detail"] == "not waited for any more"


async def test_who_was_not_heard_for_weeks_is_forgotten(watchdog: Watchdog) -> None:
    old = heard(None, await watchdog.now_ms() - 40 * DAY_MS)
    await watchdog.watch.learn_habits("journal:0", None, "1-0", {"old": old, "kept": old})

    await watchdog.silence(kept=10**12).run_once()

    assert set(await watchdog.watch.habits()) == {"kept"}


async def test_past_the_bound_a_fleeting_strategy_makes_room_and_a_known_one_does_not(
    watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch, events: list[EventDict]
) -> None:
    monkeypatch.setattr(silence_module, "STRATEGIES_AT_MOST", 2)
    now_ms = await watchdog.now_ms()
    for n in range(LEAST_ALERTS):
        watchdog.admitted(at_ms=now_ms - 1_000 + n, strategy="known")
    for n, name in enumerate(("first", "second", "third")):
        watchdog.admitted(at_ms=now_ms - 500 + n, strategy=name)
    await watchdog.silence().run_once()

    assert set(await watchdog.watch.habits()) == {"known", "third"}
    assert [one["event"] for one in events] == ["strategies_unwatched"]


async def test_a_long_journal_is_read_in_pages_and_nobody_is_judged_before_its_end(
    watchdog: Watchdog,
) -> None:
    now_ms = await watchdog.now_ms()
    await hourly(watchdog, until_ms=now_ms - 5 * HOUR_MS)
    with watchdog.rig.redis.pipeline() as pipeline:
        for _ in range(PAGE):
            pipeline.xadd(watchdog.rig.keys.journal, {"event": "PARKED"})
        pipeline.execute()
    silence = watchdog.silence()

    assert await silence.run_once() == silence_module.BEHIND_S
    assert await watchdog.raised() == {}
    await silence.run_once()
    assert set(await watchdog.raised()) == {"trend"}


async def test_while_a_shard_is_away_nobody_is_called_silent_and_the_others_are_heard(
    watchdog: Watchdog,
) -> None:
    await hourly(watchdog, until_ms=await watchdog.now_ms() - 5 * HOUR_MS)
    away: Redis = connect("redis://127.0.0.1:1/0", timeout_s=0.2)
    watchdog.shards = Shards([watchdog.shards.first, Shard(1, Keys(1), away)])
    silence = watchdog.silence()
    # Its cursors are with the first shard, so that it begins although another one is away.
    with pytest.raises(StoreUnavailable):
        await silence.run_once()
    await away.aclose()

    assert await watchdog.raised() == {}
    assert (await watchdog.watch.habits())["trend"].alerts == 8 * 24


# Certificate.


class Looks:
    """Shows one certificate after the other, the last for ever."""

    def __init__(self, *looks: Look) -> None:
        self.looks = list(looks)
        self.count = 0

    async def __call__(self, host: str, port: int) -> Look:
        assert (host, port) == ("hooks.example.com", 443)
        self.count += 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def certificate(watchdog: Watchdog, clock: ManualClock, looks: Looks, holder: str = "one") -> Certificate:
    place = https_place("https://hooks.example.com/tv")
    assert place is not None
    return Certificate(
        place,
        watchdog.watch,
        watchdog.raising(AlarmKind.CERTIFICATE),
        watchdog.turn(holder),
        clock,
        watchdog.metrics,
        CertificateSettings(every_ms=DurationOrZeroMs(HOUR_MS)),
        look=looks,
    )


async def test_one_reaper_looks_and_all_show_what_it_saw(watchdog: Watchdog) -> None:
    clock = ManualClock()
    looks = Looks(Seen(clock.now_ms(), clock.now_ms() + 90 * DAY_MS))
    one, other = certificate(watchdog, clock, looks), certificate(watchdog, clock, looks, "other")
    for _ in range(2):
        await one.run_once()
        await other.run_once()

    assert looks.count == 1
    assert watchdog.registry.get_sample_value("bascule_certificate_share_left") == 1
    expires_s = watchdog.registry.get_sample_value("bascule_certificate_expires_timestamp_seconds")
    assert expires_s == (clock.now_ms() + 90 * DAY_MS) / 1_000
    clock.advance(HOUR_MS)
    await one.run_once()
    assert looks.count == 2


async def test_a_certificate_that_is_not_renewed_is_told_and_its_renewal_within_a_minute(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    clock = ManualClock()
    now_ms = clock.now_ms()
    looks = Looks(Seen(now_ms, now_ms + 10 * HOUR_MS), Seen(now_ms, now_ms + 90 * DAY_MS))
    duty = certificate(watchdog, clock, looks)
    await duty.run_once()
    assert await watchdog.raised() == {}
    clock.advance(9 * HOUR_MS)
    looks.looks.insert(0, Seen(now_ms, now_ms + 10 * HOUR_MS))
    await duty.run_once()
    assert set(await watchdog.raised()) == {"hooks.example.com"}
    clock.advance(60_000)
    await duty.run_once()

    assert await watchdog.raised() == {}
    assert said(events) == [("alarm_raised", "hooks.example.com"), ("alarm_cleared", "hooks.example.com")]


async def test_a_certificate_that_cannot_be_seen_shows_as_not_valid_whatever_is_left_of_it(
    watchdog: Watchdog,
) -> None:
    clock = ManualClock()
    now_ms = clock.now_ms()
    looks = Looks(Unreachable("refused"), Seen(now_ms, now_ms + 90 * DAY_MS), Unreachable("refused"))
    duty = certificate(watchdog, clock, looks)

    async def shown() -> tuple[float | None, float | None]:
        await duty.run_once()
        clock.advance(HOUR_MS)
        value = watchdog.registry.get_sample_value
        return value("bascule_certificate_valid"), value("bascule_certificate_share_left")

    assert await shown() == (None, None)
    assert [valid for valid, _ in [await shown() for _ in range(4)]] == [1, 1, 1, 0]
    _, left = await shown()
    assert left is not None
    assert left > 0.9


@pytest.mark.parametrize(
    ("public_url", "place"),
    [
        (None, None),
        ("http://hooks.example.com", None),
        ("https://hooks.example.com", ("hooks.example.com", 443)),
        ("https://[::1]:8443/x", ("::1", 8443)),
    ],
)
def test_only_an_https_address_has_a_certificate(public_url: str | None, place: object) -> None:
    assert https_place(public_url) == place


async def test_a_handshake_tells_a_valid_certificate_from_others_and_from_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))

    async def look(name: str, alternative: str, days: int = 2) -> Look:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*authority.issue(name, "/CN=x", alternative, days=days))
        async with Upstream(tls=tls) as server:
            return await look_at("127.0.0.1", server.port)

    seen = await look("good", "IP:127.0.0.1")
    assert isinstance(seen, Seen)
    assert seen.not_after_ms - seen.not_before_ms == 2 * DAY_MS
    for name, alternative, days, words in (
        ("expired", "IP:127.0.0.1", -1, "expired"),
        ("other", "IP:127.0.0.2", 2, "mismatch"),
    ):
        found = await look(name, alternative, days)
        assert isinstance(found, NotValid)
        assert words in found.reason
    async with Upstream() as plain:
        assert isinstance(await look_at("127.0.0.1", plain.port, timeout_s=0.3), Unreachable)
    assert isinstance(await look_at("127.0.0.1", free_port()), Unreachable)


# Clock skew.


def skew(watchdog: Watchdog, clock: ManualClock, machine: str) -> Skew:
    return Skew(
        watchdog.rig.upkeep,
        watchdog.raising(AlarmKind.SKEW),
        clock,
        watchdog.metrics,
        shard=0,
        machine=machine,
        most_ms=60_000,
    )


async def test_a_machine_whose_clock_is_off_is_told_and_another_one_does_not_clear_it(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    now_ms = await watchdog.now_ms()
    slow, right = ManualClock(now_ms - 600_000), ManualClock(now_ms)
    await skew(watchdog, slow, "slow").run_once()
    await skew(watchdog, right, "right").run_once()

    assert set(await watchdog.raised()) == {"slow"}
    slow.step_wall(600_000)
    await skew(watchdog, slow, "slow").run_once()

    assert said(events) == [("alarm_raised", "slow"), ("alarm_cleared", "slow")]
    found_s = watchdog.registry.get_sample_value("bascule_redis_clock_skew_seconds")
    assert found_s is not None
    assert abs(found_s) < 60


async def test_the_alarm_of_a_machine_that_is_gone_is_cleared_by_another(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    now_ms = await watchdog.now_ms()
    long_ago = f"{now_ms - GONE_MS - 1}|{now_ms - GONE_MS - 1}|words"
    watchdog.rig.redis.hset(watchdog.rig.keys.alarms, "skew:gone", long_ago)

    await skew(watchdog, ManualClock(now_ms), "right").run_once()

    assert said(events) == [("alarm_cleared", "gone")]


async def test_an_alarm_of_what_is_watched_no_more_is_cleared(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    raising = {kind: watchdog.raising(kind) for kind in AlarmKind}
    await raising[AlarmKind.SKEW].raise_("here", "2 s ahead")
    await raising[AlarmKind.SILENCE].raise_("trend", "not heard for 5 h")
    del raising[AlarmKind.SILENCE]

    await Unwatched(watchdog.alarms, raising).run_once()

    assert list(await watchdog.raised()) == ["trend"]
    assert said(events)[-1] == ("alarm_cleared", "here")
