"""How `bascule` is called again from here, for hints that can be pasted."""

import shlex
import shutil
import sys
from pathlib import Path


def own_command() -> str:
    """Return the words that run this very `bascule` from the working directory."""
    script = Path(sys.executable).with_name("bascule")
    found = shutil.which("bascule")
    if found is not None and Path(found) == script:
        return "bascule"
    if script.exists():
        return shlex.quote(str(short(script)))
    return f"{shlex.quote(sys.executable)} -m cli"


def short(path: Path) -> Path:
    """Return the path as seen from the working directory, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
