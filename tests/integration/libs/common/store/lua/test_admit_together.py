"""What a flight says once of its alerts holds for each of them: together they are admitted as they would be one by one."""

import re
from random import Random
from typing import Any, Final

import msgspec
import pytest

from libs.common.domain.ids import LaneName, WebhookName
from libs.common.policy.limits import Limit
from libs.common.store.admission import Admission
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

ACCOUNTS: Final = ("desk", "fund", "prop")
DECLINES: Final = (("REJECTED", "not_allowed", "words"), ("SKIPPED", "not_allowed", ""))

_ENTRY_ID: Final = re.compile(r"\d{13}-\d+")


def base_of(rig: Rig, random: Random) -> Admission:
    accounts = random.sample(ACCOUNTS, random.choice((1, 1, 2, 3)))
    return rig.admission(
        accounts=tuple(accounts),
        declined={name: random.choice(DECLINES) for name in accounts if random.random() < 0.2},
        limit=random.choice((None, Limit(60_000_000, 3))),
        is_sender_id=random.random() < 0.5,
    )


def one_like(base: Admission, rig: Rig, random: Random) -> Admission:
    """Return one with the same terms, or with others in one word."""
    change: dict[str, Any] = random.choice(
        (
            {},
            {},
            {"webhook": WebhookName("1")},
            {"dedup_window_ms": 900_000_000},
            {"is_sender_id": not base.is_sender_id},
            {"is_part": True},
            {"limit": Limit(60_000_000, 5)},
            {"limit": Limit(90_000_000, 3)},
            {"max_age_ms": base.max_age_ms // 2},
            {"clock_skew_ms": 0},
            {"routed": tuple(msgspec.structs.replace(to, version=to.version + 1) for to in base.routed)},
            {"routed": tuple(reversed(base.routed))},
            {"routed": base.routed[:1]},
            {"routed": tuple(msgspec.structs.replace(to, state="SKIPPED") for to in base.routed)},
        )
    )
    own = rig.admission(
        random.choice(("BTC", "ETH", "JUNK")),
        accounts=tuple(to.account for to in base.routed),
        dedup_keys=tuple(f"key:{random.randrange(60)}" for _ in range(random.choice((1, 1, 1, 2)))),
        digest=random.choice(("one", "other")),
        fired_at_ms=random.choice((None, START_MS - 1_000, START_MS + 1_000)),
    )
    lanes = {to.account: (to.market, to.lane) for to in own.routed}
    admission = msgspec.structs.replace(base, **change)
    routed = [(to, *lanes[to.account]) for to in admission.routed]
    return msgspec.structs.replace(
        admission,
        alert_id=own.alert_id,
        dedup_keys=own.dedup_keys,
        digest=own.digest,
        fired_at_ms=own.fired_at_ms,
        routed=tuple(msgspec.structs.replace(to, market=market, lane=lane) for to, market, lane in routed),
    )


def place_of(entry_id: str, stream: list[tuple[str, Any]]) -> str:
    return str([one for one, _ in stream].index(entry_id))


def contents(rig: Rig) -> dict[str, Any]:
    """Return what there is; ids of entries, which hold Redis' time, as their places in their streams."""
    found: dict[str, Any] = {}
    ready, journal = rig.redis.xrange(rig.keys.ready), rig.redis.xrange(rig.keys.journal)
    for key in sorted(rig.redis.keys("*")):
        match rig.redis.type(key):
            case "stream":
                value: Any = [fields for _, fields in rig.redis.xrange(key)]
            case "hash":
                stream = ready if key == rig.keys.lanes else journal
                value = {
                    name: _ENTRY_ID.sub(lambda one, of=stream: place_of(one[0], of), text)  # type: ignore[misc]
                    for name, text in rig.redis.hgetall(key).items()
                }
            case "list":
                value = rig.redis.lrange(key, 0, -1)
            case _:
                value = rig.redis.get(key)
        # Windows and rates are minutes apart at least.
        found[key] = (value, round(rig.redis.pttl(key), -5))
    return found


def spoil_some(rig: Rig) -> None:
    """Have some fail in the middle of a flight: where their lanes are read, and before that."""
    for account in ACCOUNTS:
        rig.redis.set(rig.keys.lane(LaneName(f"{account}:JUNK")), "junk")
    key = rig.keys.seen(WebhookName("default"), "key:0")
    rig.redis.rpush(key, "junk")
    rig.redis.pexpire(key, 600_000)


@pytest.mark.parametrize("seed", range(20))
async def test_a_flight_admits_its_alerts_as_so_many_flights_would(rig: Rig, seed: int):
    random = Random(seed)
    bases = [base_of(rig, random) for _ in range(3)]
    admissions = [one_like(random.choice(bases), rig, random) for _ in range(60)]

    found = []
    for flights in ([admissions], [[one] for one in admissions]):
        rig.redis.flushall()
        await rig.start()
        spoil_some(rig)
        verdicts = [repr(one) for flight in flights for one in await rig.intake._send_admissions(flight)]
        found.append((verdicts, contents(rig)))

    together, one_by_one = found
    assert together[0] == one_by_one[0]
    assert together[1] == one_by_one[1]
    # What was not tried was not shown.
    assert {text.split("(")[0] for text in together[0]} >= {"Admitted", "Duplicate", "StoreCorrupt"}
