import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.guards import find_guards
from tests.fuzz.mutations import FUZZ, MUTATIONS, VARIABLE

ROOT = Path(__file__).parents[2]
SCRIPT_TESTS = "tests/integration/libs/common/store/lua"
TESTS_OF = {
    "admit": ("test_admit", "test_room"),
    "audit": ("test_audit", "test_doubt"),
    "intent": (
        "test_begin",
        "test_limits",
        "test_report",
        "test_budgets",
        "test_halts",
        "test_legs",
        "test_doubt",
        "test_settle_and_begin",
    ),
    "incarnate": ("test_incarnate", "../test_layout"),
    "layout": ("../test_layout",),
    "settle": ("test_settle", "test_settle_and_begin", "test_doubt"),
    "paper_fill": ("../test_paper_books",),
    "report": ("test_report", "test_halts"),
    "resolve": ("test_resolve", "test_legs"),
    "prelude: if type(info) ~= 'string' then return 0, 0 end": ("test_room",),
    "prelude: if limit > 0 then return used - figure('mem_not_counted_for_evict'), limit end": ("test_room",),
    "prelude: if not newer then": ("test_refuse",),
    "prelude: if not HAS_HALTS then return nil end": ("test_halts",),
}
"""By script, or by check: where it is not the module of the script's own name, or of the prelude not all of them."""


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_a_mutation_takes_out_is_there(name: str):
    mutation = MUTATIONS[name]
    for script in {mutation.script, *(MUTATIONS[other].script for other in mutation.also)}:
        assert mutation.read(script)


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", [one.name for one in MUTATIONS.values() if one.noticed_by != FUZZ])
def test_a_rule_taken_out_of_a_script_fails_its_tests(name: str):
    assert_noticed(name, [f"{SCRIPT_TESTS}/{MUTATIONS[name].noticed_by}.py"])


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", find_guards())
def test_a_check_taken_out_of_a_script_fails_its_tests(name: str):
    script = find_guards()[name].script
    modules = TESTS_OF.get(name) or TESTS_OF.get(script, (f"test_{script}",))
    is_anywhere = script == "prelude" and name not in TESTS_OF
    assert_noticed(name, [SCRIPT_TESTS] if is_anywhere else [f"{SCRIPT_TESTS}/{one}.py" for one in modules])


def test_every_check_that_has_tests_of_its_own_is_there():
    assert {name for name in TESTS_OF if ": " in name} <= set(find_guards())


def assert_noticed(name: str, tests: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *tests, "-q", "-x", "-p", "no:cacheprovider", "--no-header"],
        cwd=ROOT,
        env={**os.environ, VARIABLE: name},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout[-2_000:]
