"""Which shard is asked for what, and when."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from libs.common.domain.errors import AdmissionError, BridgeError, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, Market, WebhookName, lane_name
from libs.common.policy.limits import Limit
from libs.common.policy.room import Room
from libs.common.store.admission import Admission, Routed
from libs.common.store.intake import Admitted, Conflict, Duplicate, LaneFull, MemoryFull, Throttled, Verdict
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.web.health import Degraded, Healthy
from services.ingress.door import Door
from services.ingress.gates import Gate, admit_to_each, health_of, readiness_of, started_of
from tests.support.clock import ManualClock

ONE, FIRST = AlertId("fresh"), AlertId("first")
# On shards 2, 0, 1 and 2 of four.
ACCOUNTS = tuple(AccountName(name) for name in ("desk", "main", "gamma", "pool"))


class StubIntake:
    """Answers what a test says."""

    def __init__(self, answer: Verdict | BridgeError | None) -> None:
        self.answer = answer
        self.asked: list[Admission] = []
        self.admissions: Any = self

    def submit(self, admission: Admission) -> asyncio.Future[Verdict]:
        self.asked.append(admission)
        future = asyncio.get_running_loop().create_future()
        answer = Admitted(admission.alert_id) if self.answer is None else self.answer
        if isinstance(answer, BridgeError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    async def probe(self) -> None:
        if isinstance(self.answer, BridgeError):
            raise self.answer


class House:
    def __init__(self, clock: ManualClock, answers: Mapping[int, Verdict | BridgeError]) -> None:
        metrics = IngressMetrics(CollectorRegistry())
        self.intakes = [StubIntake(answers.get(number)) for number in range(4)]
        self.gates = []
        for intake in self.intakes:
            door = Door(Room(memory=0.8, backlog=3), metrics, clock)
            door.open()
            self.gates.append(Gate(door, intake))  # type: ignore[arg-type]

    async def admit(self) -> Verdict:
        whole = admission()
        return await admit_to_each(
            self.gates, whole, lambda alert_id: msgspec.structs.replace(whole, alert_id=alert_id)
        )

    @property
    def asked(self) -> dict[int, list[Admission]]:
        return {number: intake.asked for number, intake in enumerate(self.intakes) if intake.asked}


def admission() -> Admission:
    return Admission(
        alert_id=ONE,
        webhook=WebhookName("default"),
        dedup_keys=("id:x",),
        dedup_window_ms=60_000,
        digest="digest",
        is_sender_id=True,
        limit=Limit(1_000, 5),
        alert=b"{}",
        fired_at_ms=None,
        max_age_ms=60_000,
        clock_skew_ms=5_000,
        routed=tuple(
            Routed(name, Market("BTC"), lane_name(name, Market("BTC")), b"{}", 1) for name in ACCOUNTS
        ),
    )


async def test_the_first_accounts_shard_owns_the_id_and_the_others_get_their_part_under_it(
    clock: ManualClock,
):
    house = House(clock, {})
    assert await house.admit() == Admitted(ONE)
    [own], [main], [gamma] = (house.asked[number] for number in (2, 0, 1))
    assert [to.account for to in own.routed] == ["desk", "pool"]
    assert (own.dedup_keys, own.is_part, own.limit) == (("id:x",), False, Limit(1_000, 5))
    for part, account in ((main, "main"), (gamma, "gamma")):
        assert [to.account for to in part.routed] == [account]
        assert (part.alert_id, part.dedup_keys, part.is_part, part.limit) == (
            ONE,
            ("part:fresh",),
            True,
            None,
        )
        assert part.dedup_window_ms > own.dedup_window_ms
    assert 3 not in house.asked


@pytest.mark.parametrize(
    "verdict",
    [
        Conflict(FIRST),
        Throttled(5),
        MemoryFull(),
        LaneFull(lane_name(ACCOUNTS[0], Market("BTC")), 3),
        Duplicate(FIRST, is_same_body=False),
    ],
)
async def test_what_the_owner_does_not_take_goes_nowhere(clock: ManualClock, verdict: Verdict):
    house = House(clock, {2: verdict})
    assert await house.admit() == verdict
    assert list(house.asked) == [2]


async def test_a_resend_goes_to_the_others_under_the_id_that_the_first_post_got(clock: ManualClock):
    house = House(clock, {2: Duplicate(FIRST)})
    assert await house.admit() == Admitted(FIRST)
    assert [house.asked[number][0].alert_id for number in (0, 1)] == [FIRST, FIRST]
    assert house.asked[0][0].dedup_keys == ("part:first",)


async def test_only_what_every_shard_had_is_a_duplicate(clock: ManualClock):
    house = House(clock, {number: Duplicate(FIRST) for number in range(4)})
    assert await house.admit() == Duplicate(FIRST)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (StoreUnavailable("away"), StoreUnavailable),
        (MemoryFull(), AdmissionError),
        (LaneFull(lane_name(ACCOUNTS[1], Market("BTC")), 3), AdmissionError),
    ],
)
async def test_what_one_shard_does_not_take_is_not_taken_and_the_others_have_their_part(
    clock: ManualClock, answer: Verdict | BridgeError, error: type[Exception]
):
    house = House(clock, {0: answer})
    with pytest.raises(error):
        await house.admit()
    assert sorted(house.asked) == [0, 1, 2]


async def test_nothing_is_asked_while_the_door_of_one_of_its_shards_is_closed(clock: ManualClock):
    house = House(clock, {})
    house.gates[1].door.judge("evicts")
    with pytest.raises(StoreUnavailable, match="evicts"):
        await house.admit()
    assert not house.asked


async def test_health_names_the_shards_that_refuse_and_readiness_waits_for_the_last(clock: ManualClock):
    house = House(clock, {0: StoreUnavailable("away"), 3: StoreUnavailable("frozen")})
    assert await health_of(house.gates, clock)() == Degraded("shard 0: away; shard 3: frozen")
    assert await readiness_of(house.gates, clock)() == Healthy()
    house = House(clock, {number: StoreUnavailable("away") for number in range(4)})
    assert isinstance(await readiness_of(house.gates, clock)(), Degraded)


async def test_with_one_shard_health_and_readiness_say_the_same(clock: ManualClock):
    house = House(clock, {0: StoreUnavailable("away")})
    for check in (health_of(house.gates[:1], clock), readiness_of(house.gates[:1], clock)):
        assert await check() == Degraded("away")


async def test_what_was_found_fit_once_has_started_for_good(clock: ManualClock) -> None:
    house = House(clock, {})
    for gate in house.gates:
        gate.door.is_open = gate.door.has_opened = False
    started = started_of(house.gates)
    assert await started() == Degraded(house.gates[0].door.reason)

    house.gates[1].door.open()
    assert await started() == Healthy()
    house.gates[1].door.judge("it forgets")
    assert await started() == Healthy()
