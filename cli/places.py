"""Where files may lie."""

from pathlib import Path


def is_there(path: Path) -> bool:
    """Return whether something lies there, as far as we may look: what is in a directory of somebody else is not ours."""
    try:
        return path.exists()
    except OSError:
        return False
