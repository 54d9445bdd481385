import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from libs.common.domain.ids import LaneName
from libs.common.policy.room import Room
from libs.common.store.checks import ServerFacts
from libs.common.telemetry.ingress_metrics import IngressMetrics
from services.ingress.door import LANE_LOGGED_EVERY_MS, Door
from tests.support.clock import ManualClock

BTC = LaneName("desk:BTC")


class Doorway:
    def __init__(self, clock: ManualClock) -> None:
        self.registry = CollectorRegistry()
        self.clock = clock
        self.door = Door(Room(memory=0.8, backlog=3), IngressMetrics(self.registry), clock)

    def shown(self, name: str) -> float | None:
        return self.registry.get_sample_value(name)


@pytest.fixture
def doorway(clock: ManualClock) -> Doorway:
    return Doorway(clock)


def facts(used: int, *, limit: int = 1_000, machine: int = 0) -> ServerFacts:
    return ServerFacts(
        product="Redis",
        version=(7, 0, 15),
        eviction="noeviction",
        durability="always",
        used_bytes=used,
        limit_bytes=limit,
        machine_bytes=machine,
    )


def test_alerts_are_taken_while_redis_is_fit_and_has_room(doorway: Doorway):
    door, found = doorway.door, [doorway.shown("bascule_door_open")]
    for step in (
        door.open,
        lambda: door.weigh(facts(900)),
        lambda: door.weigh(facts(100)),
        lambda: door.judge("evicts"),
        lambda: door.weigh(facts(900)),
        lambda: door.judge(None),
        lambda: door.weigh(facts(100)),
    ):
        step()
        found.append(doorway.shown("bascule_door_open"))
    assert found == [0, 1, 0, 1, 0, 0, 0, 1]


def test_the_share_of_memory_is_shown_of_its_limit_else_of_its_machine(doorway: Doorway):
    doorway.door.weigh(facts(500, machine=10_000))
    assert doorway.shown("bascule_redis_memory_share") == 0.5
    doorway.door.weigh(facts(500, limit=0, machine=10_000))
    assert doorway.shown("bascule_redis_memory_share") == 0.05


def test_a_full_memory_is_logged_once_and_so_is_that_there_is_room_again(doorway: Doorway):
    with capture_logs() as lines:
        for used in (100, 850, 900, 870, 100, 100):
            doorway.door.weigh(facts(used))
            doorway.door.memory_refusal()
    assert [line["event"] for line in lines] == ["memory_full", "memory_free"]
    assert "85.0%" in lines[0]["reason"]


def test_a_full_lane_is_logged_once_a_minute_with_how_many_alerts_it_refused(doorway: Doorway):
    with capture_logs() as lines:
        for _ in range(5):
            doorway.door.lane_refusal(BTC, 3)
        doorway.door.lane_refusal(LaneName("desk:ETH"), 4)
        doorway.clock.advance(LANE_LOGGED_EVERY_MS)
        doorway.door.lane_refusal(BTC, 3)
    assert [(line["event"], line["lane"], line["count"]) for line in lines] == [
        ("lane_full", "desk:BTC", 1),
        ("lane_full", "desk:ETH", 1),
        ("lane_full", "desk:BTC", 5),
    ]


def test_refusals_name_the_limit_the_figure_and_the_bound_and_when_to_come_back(doorway: Doorway):
    doorway.door.weigh(facts(850))
    memory, lane = doorway.door.memory_refusal(), doorway.door.lane_refusal(BTC, 3)
    assert (memory.status, memory.code, memory.retry_after_s) == (503, "memory_full", 5)
    assert "85.0% of its memory" in memory.detail
    assert "below 76.0%" in memory.detail
    assert (lane.status, lane.code, lane.retry_after_s) == (503, "lane_full", 5)
    assert lane.detail.startswith("3 instructions wait in lane desk:BTC, and at most 3 may")
