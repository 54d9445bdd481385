import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.halts import (
    EVERYTHING,
    Effect,
    Halt,
    HaltMode,
    Scope,
    author,
    find_stop,
    parse_halt,
    parse_scope,
)

DESK, BTC = AccountName("desk"), Market("BTC/USDT:USDT")
TREND = "Trend; length=20, *"
NARROWEST = Scope(DESK, TREND, BTC)
COVERING = [
    Scope(account, strategy, symbol)
    for account in (None, DESK)
    for strategy in (None, TREND)
    for symbol in (None, BTC)
]
names = st.text(min_size=1).filter(lambda name: name != "*" and name.isprintable())
plain_names = names.filter(lambda name: ";" not in name)


def halt(mode: HaltMode, scope: Scope = EVERYTHING) -> Halt:
    return Halt(scope, mode, 1, "me", f"{mode} of {scope}")


def effect(*halts: Halt, is_exit: bool) -> Effect | None:
    stop = find_stop(halts, account=DESK, strategy=TREND, symbol=BTC, is_exit=is_exit)
    return None if stop is None else stop.effect


@given(st.none() | plain_names, st.none() | names, st.none() | plain_names)
def test_a_scope_is_read_as_it_was_stored(account: str | None, strategy: str | None, symbol: str | None):
    scope = Scope(
        None if account is None else AccountName(account),
        strategy,
        None if symbol is None else Market(symbol),
    )
    assert parse_scope(scope.encode()) == scope


@given(st.lists(st.tuples(st.none() | plain_names, st.none() | names, st.none() | plain_names), max_size=5))
def test_no_two_scopes_are_stored_alike(parts: list[tuple[str | None, str | None, str | None]]):
    scopes = {Scope(*part) for part in parts}  # type: ignore[arg-type]
    assert len({scope.encode() for scope in scopes}) == len(scopes)


def test_the_scope_of_everything_is_stored_as_three_stars():
    assert EVERYTHING.encode() == "account=*;strategy=*;symbol=*"
    assert NARROWEST.encode() == f"account=desk;strategy={TREND};symbol=BTC/USDT:USDT"


@pytest.mark.parametrize(
    "names",
    [
        {"account": ""},
        {"account": "*"},
        {"account": "a;b"},
        {"strategy": ""},
        {"strategy": "*"},
        {"strategy": "\udcff"},
        {"symbol": ""},
        {"symbol": "*"},
        {"symbol": "BTC;symbol=ETH"},
    ],
)
def test_a_name_that_reads_as_another_scope_is_refused(names: dict[str, str]):
    with pytest.raises(ValueError, match=next(iter(names))):
        Scope(**names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "account=*", "account=*;strategy=*", "account=;strategy=*;symbol=*", "junk"]
)
def test_what_is_no_scope_is_told(text: str):
    with pytest.raises(StoreCorrupt):
        parse_scope(text)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (EVERYTHING, "everything"),
        (Scope(DESK), "account desk"),
        (Scope(DESK, "Trend", Market("BTC")), "account desk, strategy Trend, symbol BTC"),
    ],
)
def test_a_scope_is_told_in_words(scope: Scope, words: str):
    assert str(scope) == words


@pytest.mark.parametrize("scope", COVERING, ids=str)
def test_a_halt_stops_what_its_scope_covers(scope: Scope):
    assert effect(halt(HaltMode.REJECT, scope), is_exit=False) is Effect.REFUSED


@pytest.mark.parametrize(
    "scope",
    [
        Scope(AccountName("fund")),
        Scope(strategy="other"),
        Scope(symbol=Market("ETH")),
        Scope(DESK, "other"),
        Scope(DESK, TREND, Market("BTC")),
        Scope(AccountName("DESK")),
    ],
    ids=str,
)
def test_a_halt_leaves_alone_what_its_scope_does_not_cover(scope: Scope):
    assert effect(halt(HaltMode.REJECT, scope), is_exit=False) is None


def test_a_halt_of_a_strategy_leaves_alerts_alone_that_name_none():
    halts = [halt(HaltMode.REJECT, Scope(strategy="Trend"))]
    assert find_stop(halts, account=DESK, strategy=None, symbol=BTC, is_exit=False) is None


@pytest.mark.parametrize(
    ("mode", "entry", "exit_"),
    [
        (HaltMode.PAUSE, Effect.PUT_OFF, Effect.PUT_OFF),
        (HaltMode.REJECT, Effect.REFUSED, Effect.REFUSED),
        (HaltMode.CLOSE_ONLY, Effect.REFUSED, None),
    ],
)
def test_each_mode_stops_what_it_says(mode: HaltMode, entry: Effect, exit_: Effect | None):
    assert effect(halt(mode), is_exit=False) is entry
    assert effect(halt(mode), is_exit=True) is exit_


@pytest.mark.parametrize(
    ("modes", "is_exit", "ruling"),
    [
        ({HaltMode.PAUSE, HaltMode.REJECT}, False, HaltMode.REJECT),
        ({HaltMode.PAUSE, HaltMode.REJECT}, True, HaltMode.REJECT),
        ({HaltMode.PAUSE, HaltMode.CLOSE_ONLY}, False, HaltMode.CLOSE_ONLY),
        ({HaltMode.PAUSE, HaltMode.CLOSE_ONLY}, True, HaltMode.PAUSE),
        ({HaltMode.REJECT, HaltMode.CLOSE_ONLY}, True, HaltMode.REJECT),
    ],
)
def test_of_several_halts_the_strictest_rules_whatever_its_scope(
    modes: set[HaltMode], is_exit: bool, ruling: HaltMode
):
    for first, second in ((EVERYTHING, NARROWEST), (NARROWEST, EVERYTHING)):
        halts = [halt(mode, scope) for mode, scope in zip(sorted(modes), (first, second), strict=True)]
        for order in (halts, halts[::-1]):
            stop = find_stop(order, account=DESK, strategy=TREND, symbol=BTC, is_exit=is_exit)
            assert stop is not None
            assert stop.halt.mode is ruling


@pytest.mark.parametrize("reason", ["maintenance", "a|b|c", ""])
def test_a_record_is_read_with_whatever_reason_it_has(reason: str):
    found = parse_halt("account=desk;strategy=*;symbol=*", f"close-only|1780000000000|me@host|{reason}")
    assert found == Halt(Scope(DESK), HaltMode.CLOSE_ONLY, 1_780_000_000_000, "me@host", reason)


@pytest.mark.parametrize("record", ["", "pause", "stop|1|me|x", "pause|soon|me|x", "pause||me|x"])
def test_a_record_that_is_none_is_told(record: str):
    with pytest.raises(StoreCorrupt):
        parse_halt("account=*;strategy=*;symbol=*", record)


@pytest.mark.parametrize(
    ("name", "stands"),
    [("me@host", "me@host"), ("a|b", "a/b"), ("a\n b", "a b"), ("", "unknown"), (" ", "unknown")],
)
def test_a_name_stands_in_a_record_on_one_line(name: str, stands: str):
    assert author(name) == stands
