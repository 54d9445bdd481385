"""What several servers promise together."""

import dataclasses

import pytest

from libs.common.store.checks import ALWAYS_BUT_IN_REWRITES, UNKNOWN, ServerFacts
from libs.common.store.servers import Answering, Server, group_servers, weakest

GOOD = ServerFacts(
    product="Redis",
    version=(7, 2, 4),
    eviction="noeviction",
    durability="always",
    used_bytes=10,
    limit_bytes=100,
    machine_bytes=1_000,
    restores_all=True,
)


def test_shards_on_one_server_are_one_server() -> None:
    found = group_servers({number: Answering("same", GOOD) for number in range(4)})
    assert found == [Server((0, 1, 2, 3), GOOD)]


def test_servers_come_by_their_first_shards() -> None:
    found = group_servers({2: Answering("b", GOOD), 0: Answering("a", GOOD), 1: Answering("b", GOOD)})
    assert [one.shards for one in found] == [(0,), (1, 2)]


def test_servers_that_do_not_name_their_start_are_not_taken_for_one() -> None:
    assert len(group_servers({0: Answering("", GOOD), 1: Answering("", GOOD)})) == 2


@pytest.mark.parametrize(
    ("durability", "other", "holds"),
    [
        ("always", "everysec", "everysec"),
        ("everysec", "none", "none"),
        ("always", UNKNOWN, UNKNOWN),
        ("none", UNKNOWN, "none"),
        (ALWAYS_BUT_IN_REWRITES, "always", ALWAYS_BUT_IN_REWRITES),
    ],
)
def test_the_weakest_durability_is_what_holds(durability: str, other: str, holds: str) -> None:
    one, two = (
        Server((number,), dataclasses.replace(GOOD, durability=word))
        for number, word in enumerate((durability, other))
    )
    assert weakest([one, two]).durability == weakest([two, one]).durability == holds


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"version": (6, 2)}, "version"),
        ({"eviction": "allkeys-lru"}, "eviction"),
        ({"used_bytes": 90}, "memory_share"),
        ({"restores_all": False}, "restores_all"),
        ({"restores_all": None}, "restores_all"),
    ],
)
def test_what_is_worst_on_one_server_counts(change: dict[str, object], name: str) -> None:
    worse = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
    for facts in ([GOOD, worse], [worse, GOOD]):
        found = weakest([Server((number,), one) for number, one in enumerate(facts)])
        assert getattr(found, name) == getattr(worse, name)
