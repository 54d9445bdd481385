"""The names of log events: declared once, used, and in the words that users read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from libs.common.telemetry.events import EVENTS, OF_ALERTS, OF_POSTS, OF_SERVICES
from tests.support.tree import ROOT

LEVELS = {"debug", "info", "warning", "error", "exception"}
DOCUMENT = ROOT / "docs" / "logs.md"


def logged() -> Iterator[tuple[Path, int, ast.expr]]:
    """Yield the name in every log call of services and libraries."""
    for top in ("libs", "services"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and re.search(r"\blog\b|_log\b|get_logger\(", ast.unparse(node.func.value))
                ):
                    yield path, node.lineno, node.args[0]


def names(expression: ast.expr) -> list[str]:
    """Return the texts that an expression may be."""
    if isinstance(expression, ast.IfExp):
        return [*names(expression.body), *names(expression.orelse)]
    assert isinstance(expression, ast.Constant), (
        f"a name that nobody can read here: {ast.unparse(expression)}"
    )
    return [str(expression.value)]


def test_every_event_that_is_logged_is_declared_and_none_else():
    found = {name for _, _, expression in logged() for name in names(expression)}
    assert found == EVENTS.keys()


def test_every_event_is_of_one_kind_and_named_as_a_noun_and_a_verb():
    assert len(EVENTS) == len(OF_ALERTS) + len(OF_POSTS) + len(OF_SERVICES)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in EVENTS)


def test_the_document_shows_every_event_as_it_is_declared():
    rows = dict(
        re.findall(r"(?m)^\| `([a-z_]+)` \| (.*) \|$", DOCUMENT.read_text().partition("## Events")[2])
    )
    assert rows == dict(EVENTS)
