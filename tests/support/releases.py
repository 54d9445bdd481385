"""An earlier release of this tree, to be run beside it."""

import io
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.tools import MISSING
from tests.support.tree import ROOT

LOCKS: Final = ("build.txt", "run.txt")
"""What its services run with, in `requirements/`."""

_CONSEQUENCE: Final = "the upgrade from it"

_IMPORTS: Final = "import services.ingress.__main__, services.worker.__main__, services.reaper.__main__"


@dataclass(frozen=True)
class Release:
    """A tree, and the interpreter that runs it."""

    tag: str
    root: Path
    python: Path


def earlier_release(directory: Path) -> Release:
    """Unpack the newest tag that is not what is checked out, and return it; skip the test where there is none.

    It runs in this environment, where its services can be imported in it; else in one of its own, made from its locks.
    """
    tag = _newest_tag()
    if tag is None:
        tool = "a tag of an earlier release (git fetch --tags)"
        MISSING[tool] = _CONSEQUENCE
        pytest.skip(f"missing: {tool} ({_CONSEQUENCE})")  # a shallow clone has no release to come from
    root = directory / tag
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", tag))) as archive:
        archive.extractall(root, filter="data")
    ours = Path(sys.executable)
    return Release(tag, root, ours if _runs(root, ours) else _own_python(tag, root))


def _newest_tag() -> str | None:
    try:
        head = _git("rev-parse", "HEAD").strip()
        tags = _git("tag", "--list", "v[0-9]*", "--sort=-version:refname").decode().split()
        return next((tag for tag in tags if _git("rev-list", "-n", "1", tag).strip() != head), None)
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository: an unpacked archive
        return None


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, timeout=60, check=True).stdout


def _runs(root: Path, python: Path) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run(
        [python, "-c", _IMPORTS], cwd=root, env=environment, capture_output=True, timeout=60, check=False
    )
    return ended.returncode == 0


def _own_python(tag: str, root: Path) -> Path:
    """Make an environment from its locks, once; it stays beside ours."""
    made = ROOT / ".venv" / f"release-{tag}"
    python = made / "bin" / "python"
    if not (made / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", made], check=True, timeout=120)
        requirements = [word for lock in LOCKS for word in ("--requirement", root / "requirements" / lock)]
        install = ["-m", "pip", "--quiet", "install", "--require-hashes", *requirements]
        subprocess.run([python, *install], check=True, timeout=600)
        (made / ".made").touch()
    return python
