"""`bascule symbols`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, Market
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.policy.symbols import SymbolEntry, Unmapped
from libs.common.store.keys import Keys
from libs.common.store.markets import MarketStore
from libs.common.store.tables import TableStore
from tests.integration.cli.conftest import CommandLine, Outcome
from tests.support.filled_store import FilledStore

CONFIG = """
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [desk]}}
accounts:
  desk: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET, symbols: strict}
  paper: {broker: paper, lane_by: strategy, symbol_rules: [strip-exchange, strip-perpetual]}
symbols:
  - {symbol: BTCUSDT, market: BTC/USDT}
  - {symbol: ETHUSDT, market: ETH/USDT, account: desk}
  - {symbol: SBIN, market: SBIN-EQ, account: desk, exchange: NSE}
"""
MARKETS = ["BTC/USDT", "BTC/USDT:USDT", "SOL/USDT", "SOL/USDT:USDT", "XRP/USD:XRP", "XRP/USD:USD"]


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, bascule: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))


def publish(bascule: CommandLine, markets: Sequence[str] = MARKETS, account: str = "desk") -> None:
    async def step(store: FilledStore) -> None:
        names = [Market(name) for name in markets]
        await MarketStore(store.client, store.keys).publish(AccountName(account), names, 1_700_000_000_000)

    bascule.fill(step)


def confirmed(bascule: CommandLine) -> dict[str, str]:
    """Return the entries in Redis: place -> market."""

    async def step(store: FilledStore) -> dict[str, str]:
        tables = await TableStore(store.client, store.keys).read()
        return {"|".join(one.place): one.market for one in tables.symbols}

    return bascule.fill(step)


def put(bascule: CommandLine, symbol: str, market: str, account: str | None, exchange: str | None) -> None:
    async def step(store: FilledStore) -> None:
        owner = None if account is None else AccountName(account)
        entry = SymbolEntry(symbol, Market(market), exchange, owner)
        await TableStore(store.client, store.keys).put_symbol(entry, None)

    bascule.fill(step)


def confirm(bascule: CommandLine, *arguments: str) -> Outcome:
    return bascule("symbols", "confirm", *arguments, "--account", "desk")


# test


def test_a_decision_names_market_entry_and_lane(bascule: CommandLine) -> None:
    outcome = bascule("symbols", "test", "BINANCE:btcusdt", "--account", "desk", "--json")
    assert outcome.code == 0
    assert outcome.json == {
        "symbol": "BINANCE:btcusdt",
        "exchange": None,
        "account": "desk",
        "market": "BTC/USDT",
        "because": "the configuration's entry for BTCUSDT",
        "lane": "desk:BTC/USDT",
        "entry": {
            "symbol": "BTCUSDT",
            "exchange": None,
            "account": None,
            "market": "BTC/USDT",
            "source": "configuration",
        },
        "nearest": [],
    }


def test_a_refusal_names_the_nearest_entries_and_fails(bascule: CommandLine) -> None:
    outcome = bascule("symbols", "test", "BINANCE:BTCUSDT.P", "--account", "desk", "--json")
    assert outcome.code == 1
    assert outcome.json["market"] is None
    assert outcome.json["nearest"][0] == "BTCUSDT"
    assert "not in the symbol table of account desk" in outcome.json["because"]
    assert "BTCUSDT" in bascule("symbols", "test", "BINANCE:BTCUSDT.P", "--account", "desk").out


def test_every_account_decides_for_itself(bascule: CommandLine) -> None:
    outcome = bascule("symbols", "test", "XRPUSDT.P", "--json")
    assert outcome.code == 1
    assert [(one["account"], one["market"], one["lane"]) for one in outcome.json] == [
        ("desk", None, None),
        ("paper", "XRPUSDT", "paper:XRPUSDT:<strategy>"),
    ]


def test_the_exchange_may_be_named_apart(bascule: CommandLine) -> None:
    arguments = ("symbols", "test", "SBIN", "--account", "desk", "--exchange")
    assert bascule(*arguments, "NSE_DLY").code == 0
    assert bascule(*arguments, "BSE").code == 1


def test_a_confirmed_entry_is_named_as_one(bascule: CommandLine) -> None:
    put(bascule, "SOLUSDT", "SOL/USDT", "desk", None)
    document = bascule("symbols", "test", "SOLUSDT", "--account", "desk", "--json").json
    assert (document["market"], document["entry"]["source"]) == ("SOL/USDT", "confirmed")
    assert document["because"] == "the confirmed entry for SOLUSDT, account desk"


@pytest.mark.parametrize(
    "arguments",
    [
        ("test", "X", "--account", "nobody"),
        ("list", "--account", "nobody"),
        ("suggest", "X", "--account", "nobody"),
        ("confirm", "X", "--account", "nobody", "--market", "Y"),
    ],
)
def test_an_account_that_is_not_there_is_refused(bascule: CommandLine, arguments: tuple[str, ...]) -> None:
    outcome = bascule("symbols", *arguments)
    assert outcome.code == 1
    assert "there are desk, paper" in outcome.err
    assert confirmed(bascule) == {}


# list


def test_the_whole_table_is_listed_with_what_counts(bascule: CommandLine) -> None:
    put(bascule, "SOLUSDT", "SOL/USDT", "desk", None)
    put(bascule, "ETHUSDT", "ETH/OTHER", "desk", None)
    documents = bascule("symbols", "list", "--json").json
    assert [(one["symbol"], one["source"], one["counts"]) for one in documents] == [
        ("BTCUSDT", "configuration", True),
        ("ETHUSDT", "configuration", True),
        ("SBIN", "configuration", True),
        ("ETHUSDT", "confirmed", False),
        ("SOLUSDT", "confirmed", True),
    ]
    assert "but the configuration's counts" in bascule("symbols", "list").out


def test_an_accounts_list_has_what_holds_for_it(bascule: CommandLine) -> None:
    documents = bascule("symbols", "list", "--account", "paper", "--json").json
    assert [one["symbol"] for one in documents] == ["BTCUSDT"]


def test_an_entry_that_cannot_be_read_is_told(bascule: CommandLine) -> None:
    with bascule.redis.client() as client:
        client.hset("bascule:{s0}:symbols", "A|B", "M")
    assert "A|B" in bascule("symbols", "list").err


# suggest


def test_proposals_come_from_the_venues_own_markets(bascule: CommandLine) -> None:
    publish(bascule)
    [document] = bascule("symbols", "suggest", "BINANCE:SOLUSDT.P", "--account", "desk", "--json").json
    assert (document["symbol"], document["account"]) == ("BINANCE:SOLUSDT.P", "desk")
    assert [(one["market"], one["exact"]) for one in document["candidates"]][:2] == [
        ("SOL/USDT:USDT", True),
        ("SOL/USDT", False),
    ]
    assert document["candidates"][0]["because"] == "the same name, a perpetual too"


def test_people_see_proposals_as_a_table_and_what_to_do_next(bascule: CommandLine) -> None:
    publish(bascule)
    outcome = bascule("symbols", "suggest", "SOLUSDT", "ZZZZZZ", "--account", "desk")
    assert "SOL/USDT" in outcome.out
    assert "no market of the venue looks like it" in outcome.out
    assert "bascule symbols confirm" in outcome.err


def test_without_a_list_there_is_nothing_to_propose_from(bascule: CommandLine) -> None:
    publish(bascule, account="paper")
    outcome = bascule("symbols", "suggest", "SOLUSDT", "--account", "desk")
    assert outcome.code == 1
    assert "no list of markets is known for account desk" in outcome.err


def test_without_a_symbol_those_are_taken_that_were_refused_lately_and_still_are(
    bascule: CommandLine,
) -> None:
    publish(bascule)

    async def refusals(store: FilledStore) -> None:
        for symbol, account in (
            ("SOLUSDT", "desk"),
            ("BTCUSDT", "desk"),
            ("BINANCE:XRPUSD.P", "desk"),
            ("SOLUSDT", "desk"),
            ("DOGE", "paper"),
        ):
            detail = Unmapped(("BTCUSDT",)).detail(symbol, AccountName(account))
            await store.refuse("unknown_symbol", 422, field="symbol", detail=detail)
        await store.refuse("invalid_symbol", 422, field="symbol")

    bascule.fill(refusals)
    documents = bascule("symbols", "suggest", "--account", "desk", "--json").json
    assert sorted(one["symbol"] for one in documents) == ["BINANCE:XRPUSD.P", "SOLUSDT"]


def test_an_admitted_alert_that_the_account_declined_counts_as_refused(bascule: CommandLine) -> None:
    publish(bascule)

    async def declined(store: FilledStore) -> None:
        for symbol, reason in (("SOLUSDT", Reason.UNKNOWN_SYMBOL), ("AVAXUSDT", Reason.NO_QUANTITY)):
            await store.admit(symbol, accounts=("desk",))
            held, head = await store.take()
            await store.settle(held, head, InstructionState.REJECTED, reason, "declined")

    bascule.fill(declined)
    documents = bascule("symbols", "suggest", "--account", "desk", "--json").json
    assert [one["symbol"] for one in documents] == ["SOLUSDT"]


def test_without_any_refusal_nothing_is_proposed(bascule: CommandLine) -> None:
    publish(bascule)
    outcome = bascule("symbols", "suggest", "--account", "desk", "--json")
    assert (outcome.code, outcome.json) == (0, [])


# confirm


def test_the_only_exact_proposal_is_confirmed_and_counts(bascule: CommandLine) -> None:
    publish(bascule)
    outcome = confirm(bascule, "SOLUSDT.P", "--json")
    assert outcome.json == {
        "symbol": "SOLUSDT.P",
        "exchange": None,
        "account": "desk",
        "market": "SOL/USDT:USDT",
        "source": "confirmed",
    }
    assert confirmed(bascule) == {"SOLUSDT.P||desk": "SOL/USDT:USDT"}
    assert bascule("symbols", "test", "SOLUSDT.P", "--account", "desk").code == 0


def test_the_prefix_or_the_option_binds_an_entry_to_its_exchange(bascule: CommandLine) -> None:
    for symbol, *option in (["bybit:SOLUSDT"], ["SOLUSDT", "--exchange", "okx_dly"]):
        assert confirm(bascule, symbol, *option, "--market", "SOL/USDT").code == 0
    assert confirmed(bascule) == {"SOLUSDT|BYBIT|desk": "SOL/USDT", "SOLUSDT|OKX|desk": "SOL/USDT"}
    assert bascule("symbols", "test", "BYBIT:SOLUSDT", "--account", "desk").code == 0
    assert bascule("symbols", "test", "KRAKEN:SOLUSDT", "--account", "desk").code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["XRPUSD.P"], "XRP/USD:USD"),
        (["XRPUSD.P"], "XRP/USD:XRP"),
        (["ZZZZZZ"], "no market of the venue looks like ZZZZZZ"),
        (["SOLUSDT", "--market", "SOL/EUR"], "lists no SOL/EUR"),
        (["SOLUSDT", "--market", "a market"], "expected at most 64"),
        (["SOL|USDT", "--market", "SOL/USDT"], "without |"),
        (["S\x1bOL", "--market", "SOL/USDT"], "printable"),
        ([" ", "--market", "SOL/USDT"], "empty"),
        (["bybit:", "--market", "SOL/USDT"], 'the symbol is "bybit:", with nothing behind its exchange'),
        (["bybit: ", "--market", "SOL/USDT"], 'the symbol is "bybit:", with nothing behind its exchange'),
        ([":SOL", "--market", "SOL/USDT"], 'the symbol is ":SOL", with nothing before its first colon'),
        (["::", "--market", "SOL/USDT"], 'the symbol is "::", with nothing'),
        (["SOL", "--exchange", "A|B", "--market", "SOL/USDT"], "the exchange is"),
    ],
)
def test_what_is_not_certain_is_not_confirmed(bascule: CommandLine, arguments: list[str], words: str) -> None:
    publish(bascule)
    outcome = confirm(bascule, *arguments)
    assert outcome.code == 1
    assert words in outcome.err
    assert confirmed(bascule) == {}


def test_without_a_list_the_market_must_be_named_and_is_believed(bascule: CommandLine) -> None:
    assert confirm(bascule, "SOLUSDT").code == 1
    assert confirm(bascule, "SOLUSDT", "--market", "anything").code == 0
    assert confirmed(bascule) == {"SOLUSDT||desk": "anything"}


def test_a_market_that_is_not_listed_is_taken_by_force(bascule: CommandLine) -> None:
    publish(bascule)
    assert confirm(bascule, "SOLUSDT", "--market", "NEW/USDT", "--force").code == 0
    assert confirmed(bascule) == {"SOLUSDT||desk": "NEW/USDT"}


def test_another_market_takes_the_place_of_a_confirmed_one_only_where_asked(bascule: CommandLine) -> None:
    put(bascule, "SOLUSDT", "SOL/USDT", "desk", None)
    assert confirm(bascule, "SOLUSDT", "--market", "SOL/USDT").code == 0
    refused = confirm(bascule, "solusdt", "--market", "SOL/USDT:USDT")
    assert refused.code == 1
    assert "--replace" in refused.err
    assert confirmed(bascule) == {"SOLUSDT||desk": "SOL/USDT"}
    assert confirm(bascule, "solusdt", "--market", "SOL/USDT:USDT", "--replace").code == 0
    assert confirmed(bascule) == {"SOLUSDT||desk": "SOL/USDT:USDT"}


def test_the_configurations_entry_for_the_same_place_wins_and_cannot_be_replaced(
    bascule: CommandLine,
) -> None:
    outcome = confirm(bascule, "ETHUSDT", "--market", "ETH/EUR", "--replace")
    assert outcome.code == 1
    assert "ETH/USDT, which wins" in outcome.err
    assert confirmed(bascule) == {}


def test_a_broader_entry_of_the_configuration_is_not_passed_over_in_silence(bascule: CommandLine) -> None:
    refused = confirm(bascule, "BTCUSDT", "--market", "BTC/USDT:USDT")
    assert refused.code == 1
    assert "BTCUSDT is BTC/USDT" in refused.err
    allowed = confirm(bascule, "BTCUSDT", "--market", "BTC/USDT:USDT", "--replace")
    assert allowed.code == 0
    assert "comes before the configuration's entry for BTCUSDT" in allowed.err
    assert bascule("symbols", "test", "BTCUSDT", "--account", "desk", "--json").json["market"] == (
        "BTC/USDT:USDT"
    )


def test_a_narrower_entry_of_the_configuration_is_said_to_count_where_it_does(bascule: CommandLine) -> None:
    outcome = confirm(bascule, "SBIN", "--market", "SBIN-BE")
    assert outcome.code == 0
    assert "for exchange NSE the configuration's entry counts: SBIN-EQ" in outcome.err


# remove


def test_a_confirmed_entry_is_removed(bascule: CommandLine) -> None:
    put(bascule, "SOLUSDT", "a", "desk", None)
    put(bascule, "SOLUSDT", "b", "desk", "BYBIT")
    outcome = bascule("symbols", "remove", "BYBIT:solusdt", "--account", "desk", "--json")
    assert (outcome.code, outcome.json["market"]) == (0, "b")
    assert confirmed(bascule) == {"SOLUSDT||desk": "a"}


def test_an_entry_of_an_exchange_alone_from_an_earlier_version_can_be_removed(bascule: CommandLine) -> None:
    with bascule.redis.client() as client:
        client.hset(Keys().symbols, "BYBIT:||desk", "SOL/USDT")
    assert bascule("symbols", "remove", "bybit:", "--account", "desk").code == 0
    assert confirmed(bascule) == {}


def test_an_entry_of_an_account_that_is_gone_can_be_removed(bascule: CommandLine) -> None:
    put(bascule, "SOLUSDT", "a", "gone", None)
    assert bascule("symbols", "remove", "SOLUSDT", "--account", "gone").code == 0
    assert confirmed(bascule) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SOLUSDT"], "no entry was confirmed for SOLUSDT; there are those for SOLUSDT, account desk"),
        (["XRP", "--account", "desk"], "no entry was confirmed for XRP, account desk"),
        (["BTCUSDT"], "stands in the configuration"),
    ],
)
def test_what_is_not_there_cannot_be_removed(bascule: CommandLine, arguments: list[str], words: str) -> None:
    put(bascule, "SOLUSDT", "a", "desk", None)
    outcome = bascule("symbols", "remove", *arguments)
    assert outcome.code == 1
    assert words in outcome.err
    assert confirmed(bascule) == {"SOLUSDT||desk": "a"}


def test_without_a_configuration_there_is_no_table(
    bascule: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BASCULE_CONFIG")
    outcome = bascule("symbols", "list")
    assert outcome.code == 1
    assert "BASCULE_CONFIG" in outcome.err
