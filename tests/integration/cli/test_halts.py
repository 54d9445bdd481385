"""`bascule halt`, `resume` and `halts`; and what `status` and `doctor` say of what is halted."""

from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, Market
from libs.common.store.keys import Keys
from libs.common.store.markets import MarketStore
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

PAUSE = ("--mode", "pause", "--reason", "news")


async def at_work(store: FilledStore) -> None:
    await store.admit()
    await store.take()
    await store.upkeep.promote()
    await store.upkeep.reclaim(lease_ms=6_000)


def test_a_halt_is_set_listed_and_lifted(bascule: CommandLine, config: Path) -> None:
    scope = ("--account", "paper", "--strategy", "Trend; length=20")
    outcome = bascule("halt", *scope, "--mode", "close-only", "--reason", "bad fills", "--json")
    halt = outcome.json
    assert outcome.code == 0
    assert (halt["account"], halt["strategy"], halt["symbol"]) == ("paper", "Trend; length=20", None)
    assert (halt["mode"], halt["reason"]) == ("close-only", "bad fills")
    assert "exits go through" in halt.pop("stops")
    assert "@" in halt["by"]

    assert bascule("halts", "--json").json == [halt]

    resumed = bascule("resume", *scope, "--json")
    assert (resumed.code, resumed.json) == (0, halt | {"outcome": "resumed"})
    assert bascule("halts", "--json").json == []


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("pause", "alerts wait, and those that grow too old expire"),
        ("reject", "every alert ends REJECTED at once, exits too"),
        ("close-only", "exits go through; every other alert ends REJECTED at once"),
    ],
)
def test_without_a_scope_everything_stops_and_it_says_so(bascule: CommandLine, mode: str, words: str) -> None:
    outcome = bascule("halt", "--mode", mode, "--reason", "news")
    assert outcome.code == 0
    assert f"{mode} of everything is set" in outcome.out
    assert words in outcome.out
    assert "bascule flatten" in outcome.err
    with bascule.redis.client() as client:
        assert list(client.hgetall(Keys().halts)) == ["account=*;strategy=*;symbol=*"]


def test_people_see_halts_as_a_table(bascule: CommandLine) -> None:
    bascule("halt", *PAUSE)
    header, line = bascule("halts").out.splitlines()
    assert header.split() == ["ACCOUNT", "STRATEGY", "SYMBOL", "MODE", "SET", "BY", "REASON"]
    assert line.split()[:4] == ["*", "*", "*", "pause"]


def test_an_account_that_is_not_configured_is_refused_with_those_that_are(
    bascule: CommandLine, config: Path
) -> None:
    outcome = bascule("halt", "--account", "nobody", *PAUSE)
    assert outcome.code == 1
    assert "no account nobody: there are paper, desk" in outcome.err
    assert bascule("halts", "--json").json == []


def test_an_account_is_halted_by_the_name_that_orders_have(bascule: CommandLine, config: Path) -> None:
    assert bascule("halt", "--account", "DESK", *PAUSE, "--json").json["account"] == "desk"


@pytest.mark.parametrize("broken", [None, "accounts: {"])
def test_without_a_configuration_an_account_is_halted_as_it_is_named(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    if broken is None:
        monkeypatch.delenv("BASCULE_CONFIG")
    else:
        config.write_text(broken)
    outcome = bascule("halt", "--account", "desk", *PAUSE)
    assert outcome.code == 0
    assert "cannot be told" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--reason", "news"),
        ("--mode", "pause"),
        ("--mode", "stop", "--reason", "news"),
        ("--mode", "pause", "--reason", " "),
        ("--account", "", *PAUSE),
        ("--account", "*", *PAUSE),
        ("--strategy", "*", *PAUSE),
        ("--symbol", "BTC;symbol=ETH", *PAUSE),
        ("--mode", "pause", "--reason", "n" * 501),
        ("--strategy", "s" * 257, *PAUSE),
        ("--symbol", "B" * 65, *PAUSE),
    ],
)
def test_a_halt_that_could_mean_something_else_is_usage(
    bascule: CommandLine, arguments: tuple[str, ...]
) -> None:
    assert bascule("halt", *arguments).code == 2
    assert bascule("halts", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategy", "s" * 257), "--strategy: got 257 characters, expected at most 256"),
        (("--symbol", "B" * 65), "--symbol: got 65 characters, expected at most 64"),
    ],
)
def test_a_name_longer_than_any_is_not_halted_and_what_was_is_lifted(
    bascule: CommandLine, arguments: tuple[str, str], words: str
) -> None:
    assert words in bascule("halt", *arguments, *PAUSE).err
    kind, name = arguments
    scope = {
        "--strategy": f"account=*;strategy={name};symbol=*",
        "--symbol": f"account=*;strategy=*;symbol={name}",
    }
    with bascule.redis.client() as client:
        client.hset(Keys().halts, scope[kind], "pause|1|root|of an earlier version")
    assert bascule("resume", *arguments).code == 0
    assert bascule("halts", "--json").json == []


def test_a_market_that_nobody_trades_is_halted_and_remarked_on(bascule: CommandLine, config: Path) -> None:
    async def listed(store: FilledStore) -> None:
        markets = [Market("BTC/USDT:USDT"), Market("ETH/USDT:USDT")]
        await MarketStore(store.client, store.keys).publish(AccountName("desk"), markets, 1)

    bascule.fill(listed)
    outcome = bascule("halt", "--symbol", "BTCUSDT", *PAUSE)
    assert outcome.code == 0
    assert "no account is known to trade a market BTCUSDT" in outcome.err
    assert "there are BTC/USDT:USDT" in outcome.err
    assert "known to trade" not in bascule("halt", "--symbol", "BTC/USDT:USDT", *PAUSE).err


def test_what_is_not_halted_cannot_be_resumed_and_it_says_what_is(bascule: CommandLine, config: Path) -> None:
    bascule("halt", "--account", "desk", *PAUSE)
    outcome = bascule("resume")
    assert outcome.code == 1
    assert "there is no halt of everything; set are: pause of account desk" in outcome.err


def test_resuming_one_scope_says_what_is_still_set(bascule: CommandLine, config: Path) -> None:
    bascule("halt", "--account", "desk", *PAUSE)
    bascule("halt", *PAUSE)
    outcome = bascule("resume")
    assert outcome.code == 0
    assert "resumed: everything (it was pause)" in outcome.out
    assert "still set: pause of account desk" in outcome.err


def test_the_halt_of_an_account_that_left_the_configuration_is_lifted(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BASCULE_CONFIG")
    bascule("halt", "--account", "gone", *PAUSE)
    monkeypatch.setenv("BASCULE_CONFIG", str(config))
    assert bascule("resume", "--account", "gone").code == 0


def test_a_record_that_cannot_be_read_is_shown_and_lifted(bascule: CommandLine) -> None:
    with bascule.redis.client() as client:
        client.hset(Keys().halts, "account=*;strategy=*;symbol=*", "junk")
    assert "cannot be read" in bascule("halts").err
    status = bascule("status", "--json").json
    assert any("workers refuse everything in its scope" in reason for reason in status["reasons"])
    assert bascule("resume").code == 0
    assert bascule("halts").err == "none\n"


def test_a_status_shows_halts_and_is_no_worse_for_them(bascule: CommandLine, config: Path) -> None:
    bascule.fill(at_work)
    before = bascule("status")
    bascule("halt", "--account", "desk", *PAUSE)
    outcome = bascule("status")
    assert outcome.code == before.code
    assert "pause of account desk: news" in outcome.out
    [halt] = bascule("status", "--json").json["halts"]
    assert (halt["account"], halt["mode"]) == ("desk", "pause")


def test_a_doctor_names_halts_and_is_no_worse_for_them(bascule: CommandLine, config: Path) -> None:
    before = bascule("doctor").code
    bascule("halt", *PAUSE)
    outcome = bascule("doctor", "--json")
    assert outcome.code == before
    [finding] = [one for one in outcome.json["findings"] if one["subject"] == "halt"]
    assert finding["verdict"] == "ok"
    assert "pause of everything: news" in finding["detail"]
