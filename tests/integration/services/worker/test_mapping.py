"""The second look at what a symbol means, right before its order is planned."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.symbols import SymbolEntry, SymbolMode, SymbolRule
from libs.common.store.tables import TableStore
from services.worker import mapping as module
from services.worker.mapping import MappingCheck
from tests.integration.services.worker.rig import DESK, Worker, WorkerRig
from tests.support.eventually import eventually
from tests.support.scripted_broker import ScriptedBroker, unavailable


def entry(symbol: str, market: str, exchange: str | None = None, account: str | None = None) -> SymbolEntry:
    owner = None if account is None else AccountName(account)
    return SymbolEntry(symbol, Market(market), exchange=exchange, account=owner)


async def confirm(rig: WorkerRig, symbol: str, market: str, before: str | None = None) -> None:
    old = None if before is None else entry(symbol, before)
    await TableStore(rig.client, rig.keys).put_symbol(entry(symbol, market), old)


class Reads:
    """Counts what is asked of the tables."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.revisions = self.tables = 0
        revision, read = TableStore.revision, TableStore.read

        async def counted_revision(store: TableStore) -> int:
            self.revisions += 1
            return await revision(store)

        async def counted_read(store: TableStore) -> Any:
            self.tables += 1
            return await read(store)

        monkeypatch.setattr(TableStore, "revision", counted_revision)
        monkeypatch.setattr(TableStore, "read", counted_read)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def test_a_symbol_that_still_means_its_market_is_traded(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.symbols.append(entry("BTCUSDT.P", "BTC/USDT:USDT"))
    alert = await rig.admit("BTC/USDT:USDT", symbol="BINANCE:BTCUSDT.P")
    await rig.worker("b").run_lane()
    assert [one.symbol for one in broker.requests] == ["BTC/USDT:USDT"]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_symbol_that_means_another_market_now_is_not_traded_and_says_which(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.symbols.append(entry("BTCUSDT", "BTC/USDC", "BINANCE"))
    alert = await rig.admit("BTC/USDT", symbol="BTCUSDT", exchange="BINANCE")
    await rig.worker("b").run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "mapping_changed")
    [letter] = rig.letters()
    assert letter["detail"] == (
        '"BTCUSDT" was queued for BTC/USDT, and is BTC/USDC now: '
        "the configuration's entry for BTCUSDT, exchange BINANCE"
    )
    assert rig.is_at_rest()


async def test_the_exchange_counts_as_it_did_at_the_door(rig: WorkerRig, broker: ScriptedBroker):
    rig.symbols += [entry("SBIN", "SBIN-NSE", "NSE"), entry("SBIN", "SBIN-BSE", "BSE")]
    alert = await rig.admit("SBIN-BSE", symbol="SBIN", exchange="BSE_DLY")
    await rig.worker("b").run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_an_account_that_has_become_strict_trades_no_symbol_that_its_table_lacks(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(mode=SymbolMode.STRICT)
    alert = await rig.admit("BTCUSDT", symbol="BTCUSDT.P")
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "unknown_symbol")


async def test_a_market_that_an_operator_named_is_traded_whatever_the_table_says(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(mode=SymbolMode.STRICT)
    rig.symbols.append(entry("BTCUSDT", "BTC/USDT:USDT"))
    alert = await rig.admit("BTCUSDT", names_market=True)
    await rig.worker("b").run_lane()
    assert [one.symbol for one in broker.requests] == ["BTCUSDT"]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_the_accounts_rules_hold_here_too(rig: WorkerRig, worker: Worker):
    rig.accounts[DESK] = rig.account(rules=frozenset({SymbolRule.STRIP_PERPETUAL}))
    alert = await rig.admit("BTCUSDT", symbol="BTCUSDT.P")
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_an_entry_confirmed_after_the_last_look_refuses_nothing_that_was_queued_by_it(
    rig: WorkerRig, worker: Worker
):
    rig.accounts[DESK] = rig.account(mode=SymbolMode.STRICT)
    await worker.mapping.refresh()
    await confirm(rig, "BTCUSDT.P", "BTC/USDT:USDT")
    alert = await rig.admit("BTC/USDT:USDT", symbol="BTCUSDT.P")
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_worker_that_has_not_looked_yet_looks_first(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await confirm(rig, "BTCUSDT", "BTC/USDC")
    alert = await rig.admit("BTC/USDT", symbol="BTCUSDT")
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "mapping_changed")


async def test_instructions_that_fit_cost_no_round_trip(rig: WorkerRig, worker: Worker, reads: Reads):
    await confirm(rig, "BTCUSDT", "BTC/USDT")
    await worker.mapping.refresh()
    for _ in range(5):
        await rig.admit("BTC/USDT", symbol="BTCUSDT")
    await rig.admit("BTC/USDT")
    await worker.run_lane()
    assert (reads.revisions, reads.tables) == (0, 1)


async def test_the_table_is_read_only_where_it_has_changed(rig: WorkerRig, worker: Worker, reads: Reads):
    for _ in range(3):
        await worker.mapping.refresh()
    assert (reads.revisions, reads.tables) == (2, 1)
    await confirm(rig, "BTCUSDT", "BTC/USDT")
    await worker.mapping.refresh()
    assert reads.tables == 2


async def test_an_order_that_was_not_executed_is_mapped_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await confirm(rig, "BTCUSDT", "BTC/USDT")
    broker.then(unavailable())
    rig.jitter = 5.0
    alert = await rig.admit("BTC/USDT", symbol="BTCUSDT")
    await worker.run_lane()
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    await confirm(rig, "BTCUSDT", "BTC/USDC", before="BTC/USDT")
    await worker.mapping.refresh()
    await rig.run_to_rest(worker)
    assert rig.ended(alert) == ("REJECTED", "mapping_changed")


async def test_the_table_follows_changes_and_an_outage_is_left_to_others_to_tell(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    check = MappingCheck(TableStore(rig.client, rig.keys), [])
    revision, is_away = TableStore.revision, True
    asked = 0

    async def sometimes(store: TableStore) -> int:
        nonlocal asked
        asked += 1
        if is_away:
            raise StoreUnavailable("away")
        return await revision(store)

    await check.refresh()
    monkeypatch.setattr(TableStore, "revision", sometimes)
    stopped = asyncio.Event()
    with capture_logs() as events:
        task = asyncio.create_task(check.run(stopped))
        try:
            await eventually(lambda: asked >= 5)
            is_away = False
            await confirm(rig, "BTCUSDT", "BTC/USDT")
            await eventually(lambda: check._revision == 1)
        finally:
            stopped.set()
            await task
    assert {(event["event"], event["log_level"]) for event in events} == {("symbols_not_read", "debug")}


async def test_a_symbol_whose_market_has_the_same_name_is_looked_up_again_too(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(mode=SymbolMode.STRICT)
    alert = await rig.admit("ETHUSDT")
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "unknown_symbol")


async def test_an_entry_made_later_holds_for_what_was_queued_as_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit("ETHUSDT")
    await confirm(rig, "ETHUSDT", "ETH/USDT")
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "mapping_changed")


async def test_what_its_account_declined_is_not_traded_by_a_replay_whatever_the_table_says_then(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.symbols.append(entry("ETHUSDT", "ETHUSDT"))
    alert = await rig.admit("ETHUSDT", symbol="ETHUSDT")
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("REJECTED", "unknown_symbol")
    assert "send the alert again" in rig.letters()[0]["detail"]
