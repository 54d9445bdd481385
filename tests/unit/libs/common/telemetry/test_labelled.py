from prometheus_client import CollectorRegistry

from libs.common.telemetry.labelled import labelled_counter


def test_each_combination_of_values_has_a_counter_of_its_own() -> None:
    registry = CollectorRegistry()
    ended = labelled_counter(registry, "ended_total", "What ended.", "state", "reason")
    ended("DEAD", "poison").inc()
    ended("DEAD", "poison").inc()
    ended("poison", "DEAD").inc()
    assert registry.get_sample_value("ended_total", {"state": "DEAD", "reason": "poison"}) == 2
    assert registry.get_sample_value("ended_total", {"state": "poison", "reason": "DEAD"}) == 1
