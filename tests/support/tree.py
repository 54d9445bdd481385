"""Where the files are that the tests run and read."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
"""The tree's own directory."""
