"""The queries of the Grafana dashboard, as Prometheus would get them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.support.tree import ROOT

DASHBOARD: Final = ROOT / "monitoring/grafana/dashboards/bascule.json"

VARIABLES: Final = {"$__rate_interval": "1m", "$namespace": ".*"}
"""What Grafana puts in their place, where nothing is chosen."""


def dashboard() -> dict[str, Any]:
    """Return the whole document."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return document


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something: all but the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Return title of the panel and expression of each query."""
    for panel in panels():
        for target in panel["targets"]:
            expression: str = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression
