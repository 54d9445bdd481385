"""What the watchdog raises, and who is told of it and of dead letters, by running bridges."""

import json
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.ledger import PREFIX, accepted_ids
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.upstream import OK, Upstream
from tests.support.venue import Venue

QUICK: Final = {"watchdog": {"skew": "0s", "silence": {"least": "1s", "learn_for": "1s", "factor": 2}}}
TELLING: Final = {"timeout": "1s", "url": "ALARMS_URL"}

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def receiver() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def messages(receiver: Upstream, kind: str) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, bodies(receiver)) if one["type"] == kind]


def bodies(receiver: Upstream) -> list[bytes]:
    return [request.body for request in receiver.received]


def journal(bridge: Bridge) -> list[tuple[str, str]]:
    entries = bridge.client.xrange(f"{PREFIX}journal")
    return [(one["reason"], one["detail"]) for _, one in entries if one["event"] == "ALARM"]


def logged(bridge: Bridge, event: str) -> list[dict[str, Any]]:
    return [one for reaper in bridge.reapers for one in reaper.log() if one.get("event") == event]


def metric(reapers: list[Service], name: str, **labels: str) -> float:
    return sum(reaper.metric(name, **labels) for reaper in reapers)


async def test_two_reapers_tell_each_dead_letter_once_also_where_the_receiver_fails_first_and_one_is_killed(
    private_redis: RedisServer, venue: Venue, receiver: Upstream, bridge_factory: Callable[..., Bridge]
) -> None:
    venue.control(symbols={"BAD": {"reject": "no_funds"}})
    bridge = bridge_factory(
        private_redis,
        venue=venue,
        reapers=2,
        config={**QUICK, "alarms": TELLING},
        environment={"ALARMS_URL": f"{receiver.url}/hooks/very-secret-path"},
    )

    def told() -> Counter[str]:
        return Counter(one["alert_id"] for one in messages(receiver, "dead_letter"))

    async def reject(count: int) -> set[str]:
        answers = await bridge.send_many(
            [bridge.alert(symbol="BAD", bascule=1, strategy="trend") for _ in range(count)]
        )
        return set(accepted_ids(answers))

    receiver.answers(503)
    lost = await reject(3)
    await eventually(lambda: metric(bridge.reapers, "bascule_alarm_deliveries_total", outcome="retried") >= 1)
    receiver.received.clear()
    receiver.answer = OK
    await eventually(lambda: set(told()) == lost, 40)
    lost |= await reject(3)
    await eventually(lambda: set(told()) == lost)

    assert set(told().values()) == {1}
    # Counted once the answer is back, which is after it was received.
    await eventually(
        lambda: metric(bridge.reapers, "bascule_alarm_deliveries_total", outcome="delivered") == 6
    )
    first = messages(receiver, "dead_letter")[0]
    assert (first["state"], first["account"], first["strategy"]) == ("REJECTED", ACCOUNT, "trend")
    assert receiver.received[0].values("idempotency-key") == [first["id"]]

    telling = next(
        one for one in bridge.reapers if one.metric("bascule_alarm_deliveries_total", outcome="delivered")
    )
    telling.kill()
    lost |= await reject(2)
    await eventually(lambda: set(told()) == lost, 40)

    assert set(told().values()) == {1}
    assert not [one for one in bridge.reapers if "very-secret-path" in one.log_tail(10_000)]


async def test_a_strategy_that_falls_silent_is_told_once_and_once_more_when_it_is_heard_again(
    private_redis: RedisServer, receiver: Upstream, tmp_path: Path, bridge_factory: Callable[..., Bridge]
) -> None:
    notes = tmp_path / "notes"
    script = f"import sys; open({str(notes)!r}, 'a').write(sys.stdin.read())"
    silence = {**QUICK["watchdog"]["silence"], "strategies": {"asleep": "2s"}}  # type: ignore[dict-item]
    config = {
        "watchdog": {"skew": "0s", "silence": silence},
        "alarms": {**TELLING, "command": [sys.executable, "-c", script]},
    }
    bridge = bridge_factory(private_redis, reapers=2, config=config, environment={"ALARMS_URL": receiver.url})

    def silences(subject: str) -> list[str]:
        return [one["state"] for one in messages(receiver, "alarm") if one.get("subject") == subject]

    alerts = [bridge.alert(symbol=f"S{number}", bascule=1, strategy="trend") for number in range(12)]
    await bridge.send_many(alerts, rate_per_s=6)
    await eventually(lambda: silences("trend") == ["raised"])
    await eventually(lambda: silences("asleep") == ["raised"])
    await eventually(lambda: all(one.metric("bascule_strategies_silent") == 2 for one in bridge.reapers))
    assert all(one.metric("bascule_strategies_watched") == 2 for one in bridge.reapers)
    for reaper in bridge.reapers:
        assert reaper.terminate().code == 0
    bridge.start()

    async def is_heard_again() -> bool:
        await bridge.post(bridge.alert(bascule=1, strategy="trend"))
        return silences("trend") == ["raised", "cleared"]

    await eventually(is_heard_again, 30, 0.1)

    assert silences("asleep") == ["raised"]
    assert journal(bridge)[2:] == [("cleared", "silence:trend: heard again")]
    assert len(logged(bridge, "alarm_raised")) == 2
    assert len(logged(bridge, "alarm_cleared")) == 1
    told = {one["id"] for one in messages(receiver, "alarm")}
    await eventually(lambda: told <= {json.loads(line)["id"] for line in notes.read_text().splitlines()})


async def test_whoever_is_to_be_told_from_now_on_is_told_what_stands(
    private_redis: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    watchdog = {"skew": "0s", "silence": {"strategies": {"asleep": "100ms"}}}
    parts = {"ingresses": 0, "workers": 0}
    bridge = bridge_factory(private_redis, **parts, config={"watchdog": watchdog})
    await eventually(lambda: [state for state, _ in journal(bridge)] == ["raised"])
    assert bridge.reapers[0].terminate().code == 0

    for _ in range(2):
        async with Upstream() as receiver:
            alarms = {"alarms": {"url": receiver.url}}
            config = {"watchdog": watchdog, **alarms}
            bridge = bridge_factory(private_redis, **parts, config=config, is_started=False)
            bridge.reapers[0].start()
            await eventually(lambda: messages(receiver, "alarm"))
            assert bridge.reapers[0].terminate().code == 0
            assert [one["subject"] for one in messages(receiver, "alarm")] == ["asleep"]


async def test_a_rise_of_refused_posts_is_told_and_so_is_its_end(
    private_redis: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    config = {"watchdog": {"skew": "0s", "refusals": {"window": "2s", "least": 5}}}
    bridge = bridge_factory(private_redis, config=config)

    await bridge.send_many([bridge.alert(action="nonsense") for _ in range(8)])
    await eventually(lambda: [state for state, _ in journal(bridge)] == ["raised", "cleared"])

    (raised,) = logged(bridge, "alarm_raised")
    assert (raised["kind"], raised["level"]) == ("refusals", "warning")
    assert "invalid" in raised["detail"]
    assert metric(bridge.reapers, "bascule_alarms_total", kind="refusals") == 1


async def test_a_certificate_is_watched_by_a_real_handshake(
    private_redis: RedisServer, tmp_path: Path, bridge_factory: Callable[..., Bridge]
) -> None:
    authority = Authority(tmp_path, "authority")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.issue("server", "/CN=here", "IP:127.0.0.1"))
    async with Upstream(tls=tls) as server:
        bridge = bridge_factory(
            private_redis,
            ingresses=0,
            workers=0,
            config={
                "ingress": {"public_url": server.url},
                "watchdog": {"skew": "0s", "certificate": {"every": "200ms"}},
            },
            environment={"SSL_CERT_FILE": str(authority.certificate)},
        )
        (reaper,) = bridge.reapers
        await eventually(lambda: reaper.metric("bascule_certificate_share_left") > 0.9)
        assert reaper.metric("bascule_certificate_expires_timestamp_seconds") > 1_700_000_000
        assert reaper.metric("bascule_certificate_valid") == 1
        assert journal(bridge) == []

        tls.load_cert_chain(*authority.issue("expired", "/CN=here", "IP:127.0.0.1", days=-1))
        await eventually(lambda: [state for state, _ in journal(bridge)] == ["raised"])
        assert reaper.metric("bascule_certificate_share_left") == 0
        assert reaper.metric("bascule_certificate_valid") == 0
        assert "expired" in journal(bridge)[0][1]
