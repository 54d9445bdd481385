"""The Grafana dashboard: as much of it as can be told without Grafana."""

import json
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.dashboard import DASHBOARD, VARIABLES, dashboard, panels, queries
from tests.support.prometheus import promtool_binary
from tests.support.tree import ROOT

WIDTH = 24
UNITS = {"none", "s", "percentunit", "bytes", "cpm"}
PROVISIONING = ROOT / "monitoring/grafana/provisioning"


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the places of the grid that a panel covers."""
    at = panel["gridPos"]
    return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}


def test_panels_have_ids_of_their_own_and_lie_side_by_side() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for panel in every:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= WIDTH, panel["title"]
    for one, other in combinations(every, 2):
        assert not cells(one) & cells(other), f"{one['title']} lies on {other['title']}"


@pytest.mark.parametrize("panel", panels(), ids=[panel["title"] for panel in panels()])
def test_a_panel_says_what_it_shows_in_which_unit_from_the_chosen_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_query_parses_and_is_about_the_chosen_namespace(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": expression} for n, (_, expression) in enumerate(queries())]
    assert not any("$" in rule["expr"] for rule in rules), f"variables beside {set(VARIABLES)}"
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    ended = subprocess.run(
        [promtool_binary(), "check", "rules", "--lint=none", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for panel in panels():
        for target in panel["targets"]:
            assert 'namespace=~"$namespace"' in target["expr"], panel["title"]


def test_what_grafana_chooses_from_is_declared() -> None:
    variables = {variable["name"]: variable["type"] for variable in dashboard()["templating"]["list"]}
    assert variables == {"datasource": "datasource", "namespace": "query"}


def test_it_is_found_by_its_name_and_not_by_a_number_that_some_grafana_gave_it() -> None:
    assert dashboard()["uid"] == "bascule"
    assert "id" not in dashboard()


def test_the_file_is_written_as_grafana_exports_it() -> None:
    assert DASHBOARD.read_text() == json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def test_grafana_is_told_of_the_source_and_of_the_directory_by_variables() -> None:
    [source] = yaml.safe_load((PROVISIONING / "datasources/prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((PROVISIONING / "dashboards/bascule.yaml").read_text())["providers"]
    assert (source["type"], source["url"]) == ("prometheus", "$PROMETHEUS_URL")
    assert (provider["type"], provider["options"]["path"]) == ("file", "$BASCULE_DASHBOARDS")
    scraped = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
