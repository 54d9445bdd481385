"""Programs that a test needs and the machine may lack."""

import os
from typing import NoReturn

import pytest

MISSING: dict[str, str] = {}
"""Tool -> what was left out without it, for the end of the run."""


def is_ci() -> bool:
    """Return whether a missing tool is a failure here."""
    return os.environ.get("CI", "").lower() in {"true", "1", "yes"}


def missing_tool(tool: str, consequence: str) -> NoReturn:
    """Skip the test and note the tool for the end of the run; fail instead with `CI=true`."""
    MISSING[tool] = consequence
    text = f"missing tool: {tool} ({consequence})"
    if is_ci():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
