"""What `bascule check` says of the replicas of a server."""

import dataclasses

import pytest

from cli.check import replica_findings
from tests.unit.cli.test_status import SERVER


@pytest.mark.parametrize(
    ("following", "least", "wanted", "verdicts"),
    [
        (0, None, 0, []),
        # What a fail-over may lose is nobody's mistake, but somebody should know.
        (1, None, 0, ["warning"]),
        (1, 1, 1, ["ok", "ok"]),
        (0, 1, 1, ["wrong", "ok"]),
        (1, 0, 1, ["ok", "warning"]),
        (1, None, 1, ["ok"]),
    ],
)
def test_replicas_are_held_against_what_is_configured(
    following: int, least: int | None, wanted: int, verdicts: list[str]
) -> None:
    facts = dataclasses.replace(SERVER, replicas=following, least_replicas=least)

    found = replica_findings("", facts, wanted)

    assert [one.verdict.value for one in found] == verdicts
    assert all(one.remedy for one in found if one.verdict.value != "ok")
