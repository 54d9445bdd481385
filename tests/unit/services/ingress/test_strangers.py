from services.ingress.strangers import (
    ALL_RECORDED_AT_ONCE,
    MAX_SOURCES,
    RECORDED_AT_ONCE,
    RECORDED_EVERY_MS,
    Strangers,
)
from tests.support.clock import ManualClock


def test_failures_are_counted_by_source() -> None:
    strangers = Strangers(ManualClock())
    assert [strangers.fail(source) for source in ("a", "b", "a", "a")] == [1, 1, 2, 3]


def test_a_flood_from_one_source_is_recorded_up_to_a_bound_and_costs_others_nothing() -> None:
    strangers = Strangers(ManualClock())
    recorded = sum(strangers.may_record("flood") for _ in range(10 * RECORDED_AT_ONCE))
    assert recorded == RECORDED_AT_ONCE
    assert strangers.may_record("other")


def test_after_a_while_one_more_is_recorded() -> None:
    clock = ManualClock()
    strangers = Strangers(clock)
    while strangers.may_record("flood"):
        pass
    clock.advance(RECORDED_EVERY_MS)
    assert strangers.may_record("flood")
    assert not strangers.may_record("flood")


def test_no_number_of_sources_takes_more_than_so_much_memory() -> None:
    strangers = Strangers(ManualClock())
    for number in range(3 * MAX_SOURCES):
        strangers.fail(str(number))
    assert len(strangers._sources) == MAX_SOURCES


def test_no_number_of_sources_has_more_than_so_much_recorded() -> None:
    strangers = Strangers(ManualClock())
    recorded = sum(strangers.may_record(str(number)) for number in range(10 * ALL_RECORDED_AT_ONCE))
    assert recorded == ALL_RECORDED_AT_ONCE
