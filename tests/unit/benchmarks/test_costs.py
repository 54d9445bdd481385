from typing import Any

import pytest

from benchmarks.costs import FULL_FLIGHT, MEASURED, Costs, renewed


def document(*figures: tuple[str, float]) -> dict[str, Any]:
    return {
        "figures": [
            {"what": what, "value": {"median": median, "low": 0.0, "high": 9e9}} for what, median in figures
        ]
    }


def test_a_file_replaces_the_costs_that_it_measures_and_no_others() -> None:
    newest = {
        "worker": document(
            ("worker, 200 lanes", 8_000.0),
            ("  processor time", 41.0),
            ("  of Redis", 81.0),
            ("worker, 1 lane", 900.0),
            ("  processor time", 250.0),
        ),
        "ingress": document(
            ("ingress", 15_000.0), ("ingress, processor time", 33.0), ("  of Redis", 22.0), ("bare ASGI", 1.0)
        ),
    }

    costs = renewed(Costs(), newest)

    assert (costs.work_log_us, costs.execute_us) == (41.0, 81.0)
    assert (costs.ingress_us, costs.admit_us) == (33.0, 22.0)
    assert costs.execute_alone_us == Costs().execute_alone_us


def test_every_cost_that_a_file_may_replace_is_one() -> None:
    assert {field for field, *_ in MEASURED} <= set(Costs.__dataclass_fields__)


def test_passes_and_steps_add_up_to_what_was_measured() -> None:
    costs = Costs()

    assert 2 * costs.step_us + costs.pass_us == pytest.approx(costs.execute_alone_us)
    assert 2 * costs.step_us + costs.pass_us / FULL_FLIGHT == pytest.approx(costs.execute_us)
    assert costs.admission_us + costs.pass_us / FULL_FLIGHT == pytest.approx(costs.admit_us)
