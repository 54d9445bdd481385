"""Fixtures of the tests with a real collector."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector.build import find_collector
from tests.support.collector.running import Collector
from tests.support.tools import missing_tool


@pytest.fixture(scope="session")
def program() -> Path:
    """The collector's program."""
    return find_collector() or missing_tool(
        "otelcol", "tests with a real collector: `make test-collector` builds one"
    )


@pytest.fixture
def collector(program: Path, tmp_path: Path) -> Iterator[Collector]:
    """One that runs with the configuration that we ship, and writes what comes to a file."""
    with Collector(program, tmp_path) as running:
        yield running
