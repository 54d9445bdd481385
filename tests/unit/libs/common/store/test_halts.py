"""The halts of several shards as one table."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import AccountName
from libs.common.policy.halts import EVERYTHING, Halt, HaltMode, Scope
from libs.common.store.halts import HaltTable, Partial, merge_tables

DESK: Final = 2
"""The shard of the account of these halts, of four."""

HALTS = st.builds(
    Halt,
    scope=st.sampled_from([EVERYTHING, Scope(AccountName("desk"))]),
    mode=st.sampled_from(HaltMode),
    at_ms=st.integers(0, 5),
    by=st.just("me"),
    reason=st.sampled_from(["news", "bad fills"]),
)
TABLES = st.dictionaries(
    st.integers(0, 3),
    st.lists(HALTS, max_size=2, unique_by=lambda one: one.scope).map(lambda found: HaltTable(tuple(found))),
    min_size=2,
)


def same(one: Halt) -> tuple[Scope, HaltMode, str]:
    return one.scope, one.mode, one.reason


@given(TABLES)
def test_every_halt_is_in_the_table_once_and_where_it_lacks_is_told(tables: dict[int, HaltTable]) -> None:
    merged = merge_tables(tables, of=4)

    kinds = [same(one) for one in merged.halts]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {same(one) for table in tables.values() for one in table.halts}
    told = {same(one.halt): one.missing for one in merged.partial}
    for halt in merged.halts:
        missing = {
            number
            for number, table in tables.items()
            if (halt.scope == EVERYTHING or number == DESK)
            and same(halt) not in [same(one) for one in table.halts]
        }
        assert set(told.get(same(halt), ())) == missing


def test_a_halt_that_holds_everywhere_has_the_time_when_it_was_set_first() -> None:
    merged = merge_tables(
        {
            number: HaltTable((Halt(EVERYTHING, HaltMode.PAUSE, 100 - number, "me", "news"),))
            for number in range(3)
        },
        of=3,
    )

    assert [one.at_ms for one in merged.halts] == [98]
    assert merged.partial == ()


def test_a_halt_that_another_took_the_place_of_on_one_shard_is_shown_beside_it() -> None:
    old = Halt(EVERYTHING, HaltMode.PAUSE, 1, "me", "news")
    new = Halt(EVERYTHING, HaltMode.REJECT, 2, "me", "worse news")

    merged = merge_tables({0: HaltTable((new,)), 1: HaltTable((old,))}, of=2)

    assert set(merged.halts) == {old, new}
    assert set(merged.partial) == {Partial(new, (1,)), Partial(old, (0,))}


def test_what_cannot_be_read_is_told_once() -> None:
    junk = HaltTable((), ("scope: junk",))
    assert merge_tables({0: junk, 1: junk}, of=2).unreadable == ("scope: junk",)
