"""The figures of several shards as those of one."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import LaneName
from libs.common.store.figures import (
    LIVE_MS,
    BreakerFigures,
    LaneFigures,
    Snapshot,
    WorkerFigures,
    merge_snapshots,
)

COUNTS = st.integers(0, 1_000)
WORKERS = st.lists(
    st.builds(WorkerFigures, st.sampled_from(["a", "b", "c"]), COUNTS, st.integers(0, 20_000)),
    max_size=3,
    unique_by=lambda one: one.name,
).map(lambda found: tuple(sorted(found, key=lambda one: one.name)))
SNAPSHOTS = st.builds(
    Snapshot,
    now_ms=st.just(1_000_000),
    lanes_ready=COUNTS,
    lanes_held=COUNTS,
    lanes_parked=COUNTS,
    parked_for=st.dictionaries(st.sampled_from(["rate_limit", "resolving"]), COUNTS),
    waiting=COUNTS,
    oldest_waiting_ms=st.none() | COUNTS,
    dead_letters=COUNTS,
    workers=WORKERS,
    reaper_pass_ms=st.none() | COUNTS,
    breakers=st.just(()),
    longest_lane=st.none() | st.builds(LaneFigures, st.just(LaneName("a:X")), COUNTS),
    suspect_until_ms=st.none() | st.integers(1_000_001, 1_100_000),
    unserved=st.just(()),
)
PARTS = st.lists(SNAPSHOTS, min_size=1, max_size=4).map(lambda found: dict(enumerate(found)))

NOTHING = Snapshot(
    now_ms=5_000,
    lanes_ready=0,
    lanes_held=0,
    lanes_parked=0,
    parked_for={},
    waiting=0,
    oldest_waiting_ms=None,
    dead_letters=0,
    workers=(),
    reaper_pass_ms=None,
    breakers=(),
)


@given(SNAPSHOTS)
def test_one_shard_is_shown_as_it_is(snapshot: Snapshot) -> None:
    assert merge_snapshots({3: snapshot}) == snapshot


@given(PARTS)
def test_counts_add_up(parts: dict[int, Snapshot]) -> None:
    merged = merge_snapshots(parts)
    for name in ("lanes_ready", "lanes_held", "lanes_parked", "waiting", "dead_letters"):
        assert getattr(merged, name) == sum(getattr(part, name) for part in parts.values())
    assert sum(merged.parked_for.values()) == sum(sum(part.parked_for.values()) for part in parts.values())
    assert sum(one.pending for one in merged.workers) == sum(
        one.pending for part in parts.values() for one in part.workers
    )


@given(PARTS)
def test_each_worker_is_shown_once_with_its_last_sign_of_life(parts: dict[int, Snapshot]) -> None:
    everywhere = [one for part in parts.values() for one in part.workers]
    for worker in merge_snapshots(parts).workers:
        assert worker.idle_ms == min(one.idle_ms for one in everywhere if one.name == worker.name)
    names = [worker.name for worker in merge_snapshots(parts).workers]
    assert sorted({one.name for one in everywhere}) == names


@given(PARTS)
def test_of_times_the_worst_is_shown(parts: dict[int, Snapshot]) -> None:
    merged, several = merge_snapshots(parts), list(parts.values())
    ages = [part.oldest_waiting_ms for part in several if part.oldest_waiting_ms is not None]
    assert merged.oldest_waiting_ms == (max(ages) if ages else None)
    passes = [part.reaper_pass_ms for part in several]
    assert merged.reaper_pass_ms == (None if None in passes else max(at for at in passes if at is not None))


@given(PARTS)
def test_the_order_of_the_answers_does_not_matter(parts: dict[int, Snapshot]) -> None:
    turned = dict(reversed(parts.items()))
    assert merge_snapshots(turned) == dataclasses.replace(
        merge_snapshots(parts), longest_lane=merge_snapshots(turned).longest_lane
    )


def test_shards_without_a_live_worker_are_named_where_others_have_one() -> None:
    live = dataclasses.replace(NOTHING, workers=(WorkerFigures("a", 1, 10),))
    gone = dataclasses.replace(NOTHING, workers=(WorkerFigures("a", 1, LIVE_MS),))

    assert merge_snapshots({0: live, 1: gone, 2: NOTHING}).unserved == (1, 2)
    assert merge_snapshots({0: gone, 1: gone}).unserved == ()


def test_breakers_and_the_longest_lane_are_those_of_all_shards() -> None:
    one = dataclasses.replace(
        NOTHING,
        breakers=(BreakerFigures("z:X", "open", 1),),
        longest_lane=LaneFigures(LaneName("z:X"), 3),
    )
    other = dataclasses.replace(
        NOTHING,
        breakers=(BreakerFigures("a:X", "open", 1),),
        longest_lane=LaneFigures(LaneName("a:X"), 7),
    )

    merged = merge_snapshots({0: one, 1: other})

    assert [breaker.scope for breaker in merged.breakers] == ["a:X", "z:X"]
    assert merged.longest_lane == LaneFigures(LaneName("a:X"), 7)


def test_a_suspicion_lasts_as_long_as_the_longest_each_by_its_own_clock() -> None:
    ahead = dataclasses.replace(NOTHING, now_ms=9_000, suspect_until_ms=9_500)
    behind = dataclasses.replace(NOTHING, now_ms=1_000, suspect_until_ms=1_800)

    merged = merge_snapshots({0: ahead, 1: behind})

    assert merged.suspect_until_ms == merged.now_ms + 800
