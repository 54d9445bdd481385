import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.mutations import FUZZ, MUTATIONS, VARIABLE

ROOT = Path(__file__).parents[2]
SCRIPT_TESTS = "tests/integration/libs/common/store/lua"


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
    module = f"{SCRIPT_TESTS}/{MUTATIONS[name].noticed_by}.py"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", module, "-q", "-x", "-p", "no:cacheprovider", "--no-header"],
        cwd=ROOT,
        env={**os.environ, VARIABLE: name},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout[-2_000:]
