import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "make-venv"


@pytest.fixture
def make(tmp_path):
    """Run the tool with nothing but these programs on the PATH; each is `(version, has venv)`."""

    def make_with(**pythons):
        programs = tmp_path / "bin"
        programs.mkdir()
        for name in ("sh", "tail", "mkdir"):
            (programs / name).symlink_to(
                next(p for d in ("/bin", "/usr/bin") if (p := Path(d, name)).exists())
            )
        for name, (version, has_venv) in pythons.items():
            path = programs / name.replace("_", ".")
            path.write_text(
                "#!/bin/sh\ncase $2 in\n"
                f"  *version_info*) echo {version} ;;\n"
                f"  *ensurepip*) exit {0 if has_venv else 1} ;;\n"
                f'  *) [ "$1 $2 $3" = "-m venv --clear" ] && mkdir -p "$4" && echo {version} >"$4/made" ;;\nesac\n'
            )
            path.chmod(0o755)
        target = tmp_path / "venv"
        environ = {"PATH": str(programs)}
        done = subprocess.run([TOOL, target], capture_output=True, text=True, env=environ, check=False)
        assert done.stderr.count("\n") == (1 if done.returncode else 0), done.stderr
        made = (target / "made").read_text().strip() if done.returncode == 0 else None
        return made, done.stderr

    return make_with


def test_python3_is_taken_where_it_is_new_enough(make):
    assert make(python3=("3.11", True), python3_13=("3.13", True))[0] == "3.11"


def test_the_newest_is_taken_where_python3_is_too_old(make):
    assert make(python3=("3.9", True), python3_11=("3.11", True), python3_13=("3.13", True))[0] == "3.13"


def test_another_is_taken_where_python3_lacks_venv(make):
    assert make(python3=("3.12", False), python3_11=("3.11", True))[0] == "3.11"


def test_missing_venv_is_one_line_with_the_package(make):
    made, said = make(python3=("3.12", False))
    assert made is None
    assert "apt install python3.12-venv" in said


def test_a_python_too_old_or_too_new_is_one_line_with_what_was_found(make):
    made, said = make(python3=("3.9", True), python3_14=("3.15", True))
    assert made is None
    assert "3.11 to 3.14 is needed; python3 is 3.9; python3.14 is 3.15;" in said


def test_no_python_is_one_line(make):
    assert "3.11 to 3.14 is needed; none was found" in make()[1]


def test_a_real_environment_is_made(tmp_path):
    environ = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([TOOL, tmp_path / "venv"], env=environ, check=True)
    assert (tmp_path / "venv" / "bin" / "pip").exists()
