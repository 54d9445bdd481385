"""Looks at a certificate, and handshakes with real servers."""

import ssl
from pathlib import Path

import pytest
from structlog.typing import EventDict

from libs.common.domain.clock import DAY_MS
from libs.common.policy.alarms import AlarmKind
from libs.common.policy.expiry import Look, NotValid, Seen, Unreachable
from libs.common.runtime.durations import DurationOrZeroMs
from libs.common.runtime.watchdog_settings import CertificateSettings
from services.reaper.certificate import Certificate, https_place
from services.reaper.handshake import look_at
from tests.integration.services.reaper.watchdog import HOUR_MS, Watchdog, said
from tests.support.certificates import Authority
from tests.support.clock import ManualClock
from tests.support.ports import free_port
from tests.support.upstream import Upstream


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
