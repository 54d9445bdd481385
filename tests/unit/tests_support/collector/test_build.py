from pathlib import Path

import pytest

from tests.support.collector import build
from tests.support.tree import ROOT


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of the PATH; nothing was built."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build, "BUILT", tmp_path / "built")
    return tmp_path


def put(path: Path, name: str, says: str, code: int = 0) -> Path:
    """Put a program there that says its version, and ends so when it is to validate."""
    program = path / name
    program.write_text(f'#!/bin/sh\ncase "$1" in validate) exit {code};; esac\necho "{says}"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("name", ["otelcol", "otelcol-contrib"])
def test_a_collector_of_the_machine_is_taken_where_it_is_new_enough(path: Path, name: str):
    program = put(path, name, f"{name} version 9.0.1")
    assert build.find_collector() == program


@pytest.mark.parametrize(
    ("says", "code"), [("otelcol version 0.99.0", 0), ("otelcol", 0), ("otelcol version 9.0.0", 1)]
)
def test_one_that_is_too_old_or_lacks_a_part_is_not(path: Path, says: str, code: int):
    put(path, "otelcol", says, code)
    assert build.find_collector() is None


def test_what_was_built_from_another_manifest_does_not_count(path: Path):
    build.BUILT.mkdir()
    (build.BUILT / "otelcol-0123456789abcdef").touch()
    assert build.find_collector() is None
    build._built().touch()
    assert build.find_collector() == build._built()


@pytest.mark.parametrize("has_go", [False, True])
def test_go_comes_from_the_lock_where_the_machine_has_none_that_is_new_enough(path: Path, has_go: bool):
    asked = path / "asked"
    make = path / "make"
    make.write_text(f'#!/bin/sh\necho "$@" > {asked}\n')
    make.chmod(0o755)
    if has_go:
        put(path, "go", "go version go1.21.3 linux/amd64")
    assert build._find_go() == str(ROOT / ".venv" / "go" / "bin" / "go")
    assert ".venv/.stamp-go" in asked.read_text()


def test_go_of_the_machine_is_taken_where_it_is_new_enough(path: Path):
    program = put(path, "go", "go version go1.26.8 linux/amd64")
    assert build._find_go() == str(program)
