from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, Market
from libs.common.policy.symbols import SymbolMode, SymbolRule
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings
from libs.common.store.orders import NO_LIMIT
from services.worker.follower import FollowedAccount
from services.worker.roster import (
    accounts_of,
    followed_accounts,
    reconciled_accounts,
    slots_per_account,
)
from services.worker.rounds import ReconciledAccount
from tests.support.clock import ManualClock
from tests.support.scripted_broker import ScriptedBroker

DESK = AccountName("desk")
ONE = """\
worker: {concurrency: 9, lease: 6s}
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [desk]}}
accounts:
  desk:
    broker: http
    url: "http://127.0.0.1:9009"
    secret: DESK_SECRET
    request_expiry: 3s
    default_quantity: "0.5"
    limits: {symbol: {rate: 2/s, burst: 4}, symbols: {ETH: {rate: "off"}}}
limits: {account: {rate: 10/s, burst: 20}}
"""

Load = Callable[[str], Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str) -> Settings:
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return load_settings(path, {})

    return load_text


def test_the_only_account_may_use_every_slot_and_one_of_several_half_of_them(load: Load):
    assert slots_per_account(load(ONE), 1) == 9
    two = ONE.replace("accounts:\n", "accounts:\n  fund: {broker: log}\n")
    assert slots_per_account(load(two), 2) == 4
    assert slots_per_account(load(two.replace("concurrency: 9", "concurrency: 1")), 2) == 1


def test_an_account_knows_its_window_its_quantity_and_the_limits_of_each_market(
    load: Load, clock: ManualClock
):
    account = accounts_of(load(ONE), {DESK: ScriptedBroker(clock)})[DESK]
    assert (account.window_ms, account.default_quantity) == (3_000, Decimal("0.5"))
    limits = account.limits_of(Market("BTC"))
    assert (limits.symbol, limits.account) == ((500_000, 4), (100_000, 20))
    assert account.limits_of(Market("ETH")).symbol == NO_LIMIT


def test_an_account_knows_what_becomes_of_symbols(load: Load, clock: ManualClock):
    text = ONE.replace("  desk:\n", "  desk:\n    symbols: strict\n    symbol_rules: [strip-perpetual]\n")
    account = accounts_of(load(text), {DESK: ScriptedBroker(clock)})[DESK]
    assert (account.mode, account.rules) == (SymbolMode.STRICT, {SymbolRule.STRIP_PERPETUAL})


def test_resting_orders_of_every_account_are_followed_and_accounts_elsewhere_compared(load: Load):
    more = "\n    order_time_limit: 4h\n    reconcile: {every: 5min, on_drift: halt}\nlimits:"
    settings = load(
        ONE.replace("accounts:\n", "accounts:\n  dry: {broker: log}\n").replace("\nlimits:", more)
    )
    broker = ScriptedBroker(ManualClock())
    brokers = {DESK: broker, AccountName("dry"): broker}
    assert followed_accounts(settings, brokers) == {
        DESK: FollowedAccount(broker, 14_400_000, counts_fills=True, venue="http"),
        AccountName("dry"): FollowedAccount(broker, None, counts_fills=False, venue="log"),
    }
    assert reconciled_accounts(settings, brokers) == {
        DESK: ReconciledAccount(broker, 300_000, halts_on_drift=True)
    }
    accounts = accounts_of(settings, brokers)
    assert {name: account.is_reconciled for name, account in accounts.items()} == {"desk": True, "dry": False}
