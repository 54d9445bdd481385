"""What is told: each alarm and dead letter once, over every restart."""

from collections.abc import AsyncIterator

import pytest

from libs.common.policy.alarms import AlarmKind, Change
from libs.common.store.alarms import Alarms
from libs.common.store.told import Told, Untold
from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.redis_server import RedisServer

LETTER = {
    "alert": "A1",
    "account": "desk",
    "lane": "desk:BTC",
    "state": "EXPIRED",
    "reason": "too_old",
    "detail": "waited",
    "attempts": "2",
    "version": "1",
    "deadline": "5",
}
BODY = '{"alert_id":"A1","account":"desk","market":"BTC","action":"buy","quantity":"1.50","strategy":"trend"}'


@pytest.fixture
async def rig(redis_server: RedisServer) -> AsyncIterator[Rig]:
    rig = Rig(redis_server)
    await rig.start()
    yield rig
    await rig.stop()


def told(rig: Rig, target: str = "url", receiver: str = "first") -> Told:
    return Told(rig.client, rig.keys, shard=0, target=target, receiver=receiver)


def bury(rig: Rig, body: str = BODY) -> str:
    return str(rig.redis.xadd(rig.keys.dead, {**LETTER, "body": body}))


async def ids(told: Told) -> list[str]:
    return [one.message.id for one in await told.untold()]


def now_ms(rig: Rig) -> int:
    seconds, microseconds = rig.redis.time()
    return int(seconds) * 1_000 + int(microseconds) // 1_000


async def alarm(rig: Rig, subject: str, change: Change = Change.RAISED) -> None:
    await Alarms(rig.client, rig.keys).note(AlarmKind.SILENCE, subject, change, "quiet")
    noted_ms = now_ms(rig)
    # What comes next is of another millisecond.
    while now_ms(rig) == noted_ms:
        pass


async def hears(told: Told, most: int | None = None) -> list[tuple[str, str]]:
    """Tell what there is, or so many; return what alarms were told of, and how."""
    heard: list[tuple[str, str]] = []
    while waiting := await told.untold():
        for one in waiting:
            if len(heard) == most:
                return heard
            heard.append((one.message.subject, one.message.state))
            assert await told.note(one)
    return heard


async def test_nothing_from_before_the_first_asking_is_told(rig: Rig) -> None:
    bury(rig)

    assert await told(rig).untold() == []
    letter_id = bury(rig)
    assert await ids(told(rig)) == [f"s0-dead-{letter_id}"]


async def test_what_was_noted_is_not_told_again_by_anybody(rig: Rig) -> None:
    await told(rig).untold()
    letters = [bury(rig) for _ in range(3)]
    first, second, _ = await told(rig).untold()

    assert await told(rig).note(first)
    assert await told(rig).note(second)

    assert await ids(told(rig)) == [f"s0-dead-{letters[2]}"]
    # Somebody who read the same earlier finds that others were faster.
    assert not await told(rig).note(first)


async def test_each_receiver_is_told_everything(rig: Rig) -> None:
    url, command = told(rig), told(rig, "command")
    await url.untold()
    await command.untold()
    bury(rig)

    (one,) = await url.untold()
    await url.note(one)

    assert await ids(url) == []
    assert await ids(command) == [one.message.id]


async def test_a_dead_letter_says_what_was_not_traded_and_no_body(rig: Rig) -> None:
    await told(rig).untold()
    bury(rig)

    (one,) = await told(rig).untold()

    assert isinstance(one, Untold)
    message = one.message
    assert (message.type, message.state, message.reason, message.alert_id) == (
        "dead_letter",
        "EXPIRED",
        "too_old",
        "A1",
    )
    assert (message.account, message.market, message.strategy) == ("desk", "BTC", "trend")
    assert (message.action, message.quantity, message.attempts) == ("buy", "1.50", 2)
    assert message.text == "Bascule: desk did not trade (EXPIRED, too_old): buy 1.50 BTC; waited"


async def test_a_dead_letter_that_nobody_can_read_is_told_too(rig: Rig) -> None:
    await told(rig).untold()
    bury(rig, "\\xff junk")
    rig.redis.xadd(rig.keys.dead, {"by": "hand"})

    first, second = await told(rig).untold()

    assert (first.message.market, first.message.action) == ("BTC", "")
    assert second.message.type == "dead_letter"


async def test_alarms_are_told_before_dead_letters(rig: Rig) -> None:
    await told(rig).untold()
    bury(rig)
    alarms = Alarms(rig.client, rig.keys)
    await alarms.note(AlarmKind.CERTIFICATE, "example.com", Change.RAISED, "it has expired")

    alarm, letter = (one.message for one in await told(rig).untold())

    assert letter.type == "dead_letter"
    assert (alarm.type, alarm.kind, alarm.state, alarm.subject) == (
        "alarm",
        "certificate",
        "raised",
        "example.com",
    )
    assert alarm.text == "Bascule: certificate of example.com raised: it has expired"


async def test_a_letter_that_was_taken_away_meanwhile_is_not_missed(rig: Rig) -> None:
    await told(rig).untold()
    taken, left = bury(rig), bury(rig)
    (one, _) = await told(rig).untold()
    rig.redis.xdel(rig.keys.dead, taken)

    assert await told(rig).note(one)
    assert await ids(told(rig)) == [f"s0-dead-{left}"]


async def test_whoever_is_told_for_the_first_time_is_told_once_what_stands(rig: Rig) -> None:
    await alarm(rig, "over")
    await alarm(rig, "over", Change.CLEARED)
    await alarm(rig, "b")
    await alarm(rig, "a, näher ✓|:")

    assert await hears(told(rig)) == [("b", "raised"), ("a, näher ✓|:", "raised")]
    assert await hears(told(rig)) == []
    await alarm(rig, "b", Change.CLEARED)
    await alarm(rig, "c")
    assert await hears(told(rig)) == [("b", "cleared"), ("c", "raised")]


async def test_another_receiver_is_told_once_what_stands_and_then_what_comes(rig: Rig) -> None:
    await hears(told(rig))
    await alarm(rig, "a")
    await alarm(rig, "b")
    await alarm(rig, "b", Change.CLEARED)
    assert len(await hears(told(rig))) == 3

    assert await hears(told(rig, receiver="second")) == [("a", "raised")]
    assert await hears(told(rig, receiver="second")) == []
    await alarm(rig, "a", Change.CLEARED)
    assert await hears(told(rig, receiver="second")) == [("a", "cleared")]


async def test_what_the_receiver_before_was_not_told_yet_another_one_is_told_once(rig: Rig) -> None:
    await hears(told(rig))
    await alarm(rig, "told")
    await hears(told(rig))
    await alarm(rig, "untold")

    assert await hears(told(rig, receiver="second")) == [("told", "raised"), ("untold", "raised")]


async def test_what_stands_is_told_on_from_where_another_reaper_stopped(rig: Rig) -> None:
    for subject in ("a", "b", "c"):
        await alarm(rig, subject)

    assert await hears(told(rig), most=2) == [("a", "raised"), ("b", "raised")]
    await alarm(rig, "d")
    assert await hears(told(rig)) == [("c", "raised"), ("d", "raised")]


async def test_each_try_to_tell_what_stands_has_one_id_and_says_since_when(rig: Rig) -> None:
    await alarm(rig, "trend")
    (stands,) = await Alarms(rig.client, rig.keys).raised()

    (one,), (again,) = await told(rig).untold(), await told(rig).untold()

    assert one.is_standing
    assert one.message == again.message
    assert one.message.id.isascii()
    assert one.message.at_ms == stands.raised_at_ms


async def test_what_is_cleared_before_it_could_be_told_is_not_told_as_standing(rig: Rig) -> None:
    await alarm(rig, "a")
    assert len(await told(rig).untold()) == 1

    await alarm(rig, "a", Change.CLEARED)

    assert await hears(told(rig)) == [("a", "cleared")]
