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
    "begin": (
        "test_begin",
        "test_limits",
        "test_report",
        "test_budgets",
        "test_halts",
        "test_legs",
        "test_doubt",
    ),
    "incarnate": ("test_incarnate", "../test_layout"),
    "layout": ("../test_layout",),
    "settle": ("test_settle", "test_doubt"),
    "paper_fill": ("../test_paper_books",),
}
"""Where it is not the module of the script's own name; all of them for the prelude."""


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
    modules = [f"{SCRIPT_TESTS}/{module}.py" for module in TESTS_OF.get(script, (f"test_{script}",))]
    assert_noticed(name, modules if script != "prelude" else [SCRIPT_TESTS])


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
