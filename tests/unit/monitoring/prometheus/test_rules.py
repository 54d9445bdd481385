"""The alert rules: promtool says that they are sound, and when they fire; each is explained."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cli.main import bascule
from cli.ports import port_uses
from libs.common.runtime.load_settings import load_settings
from services.relay.settings import relay_settings
from tests.support.prometheus import CONFIGURATION, alert_rules, promtool_binary
from tests.support.tree import ROOT

RULES = alert_rules()
TESTS = yaml.safe_load((CONFIGURATION / "rules.test.yaml").read_text())["tests"]


def promtool(*arguments: str | Path) -> None:
    ended = subprocess.run(
        [promtool_binary(), *arguments], cwd=CONFIGURATION, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def fired(check: dict[str, Any]) -> set[str]:
    """Return the alerts that a check expects."""
    return {
        name for sample in check["exp_samples"] for name in re.findall(r'alertname="(\w+)"', sample["labels"])
    }


def told_commands() -> list[list[str]]:
    """Return the words behind `bascule` of every command in the runbook."""
    text = (ROOT / "docs/runbook.md").read_text()
    commands = re.findall(r"(?:`|^ {4})bascule ([^`\n#]+)", text, re.MULTILINE)
    return [list(words) for words in sorted({tuple(shlex.split(command)) for command in commands})]


def test_the_configuration_and_the_rules_are_sound() -> None:
    promtool("check", "config", "prometheus.yml")


@pytest.mark.timeout(300)
def test_every_rule_fires_when_its_test_says_and_not_before() -> None:
    promtool("test", "rules", "rules.test.yaml")


@pytest.mark.parametrize("name", [rule["alert"] for rule in RULES])
def test_a_rule_has_a_test_in_which_it_first_is_silent_and_then_fires(name: str) -> None:
    for group in TESTS:
        expected = [name in fired(check) for check in group["promql_expr_test"]]
        if any(expected):
            assert not expected[0]
            return
    pytest.fail("no test lets it fire")


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_says_how_urgent_it_is_what_it_means_and_where_to_read_what_to_do(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    chapters = re.findall(r"^## (\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in chapters


def test_rules_have_names_of_their_own_and_the_runbook_tells_of_no_other() -> None:
    names = [rule["alert"] for rule in RULES]
    chapters = re.findall(r"^## (Bascule\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert len(set(names)) == len(names)
    assert chapters == names


@pytest.mark.parametrize("words", told_commands(), ids=" ".join)
def test_the_runbook_tells_of_commands_and_options_that_there_are(words: list[str]) -> None:
    found: click.Command = bascule
    with click.Context(found) as context:
        while isinstance(found, click.Group) and words and found.get_command(context, words[0]) is not None:
            found = found.get_command(context, words[0]) or found
            words = words[1:]
    assert found is not bascule
    options = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_target_that_stands_as_a_comment_is_where_a_relay_shows_its_figures() -> None:
    commented = (
        (CONFIGURATION / "targets.yaml").read_text().partition("# Where a relay runs")[2].partition("\n")[2]
    )
    [group] = yaml.safe_load(re.sub(r"^# ", "", commented, flags=re.MULTILINE))
    relay = relay_settings(
        {"RELAY_UPSTREAM": "http://127.0.0.1:8080/webhook", "RELAY_SIGNING_KEY": "sixteen characters"}
    )
    assert group == {
        "targets": [f"{relay.ops_host}:{relay.ops_port}"],
        "labels": {"job": "bascule-relay"},
    }


def test_the_targets_are_those_of_the_bridge_that_is_brought_up_here() -> None:
    groups = yaml.safe_load((CONFIGURATION / "targets.yaml").read_text())
    told = {target: group["labels"]["job"] for group in groups for target in group["targets"]}
    uses = port_uses(load_settings(ROOT / "config/demo.yaml", {}))
    assert told == {
        f"{use.host}:{use.port}": f"bascule-{use.process.partition('-')[0]}"
        for use in uses
        if use.key != "ingress.port"
    }
