import pytest

from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName
from libs.common.runtime.account_settings import OnDrift
from tests.unit.libs.common.runtime.conftest import Load

ACCOUNTS = """\
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [desk, paper, dry]}}}}
accounts:
  desk: {{broker: http, url: "http://127.0.0.1:9009", secret: DESK_SECRET{more}}}
  paper: {{broker: paper{more}}}
  dry: {{broker: log{more}}}
"""


@pytest.mark.parametrize(
    ("more", "every_ms"),
    [
        ("", {"desk": 60_000, "paper": None, "dry": None}),
        (", reconcile: {every: 5min}", {"desk": 300_000, "paper": 300_000, "dry": 300_000}),
        (", reconcile: {every: 0s}", {"desk": None, "paper": None, "dry": None}),
        (", reconcile: {on_drift: halt}", {"desk": 60_000, "paper": None, "dry": None}),
    ],
)
def test_an_account_elsewhere_is_compared_with_its_venue_unless_told_otherwise(load: Load, more, every_ms):
    accounts = load(ACCOUNTS.format(more=more)).accounts
    assert {name: account.reconcile_every_ms for name, account in accounts.items()} == every_ms


def test_drift_is_only_told_and_orders_rest_for_as_long_as_the_venue_keeps_them_by_default(load: Load):
    account = load(ACCOUNTS.format(more="")).accounts[AccountName("desk")]
    assert account.reconcile.on_drift is OnDrift.JOURNAL
    assert account.order_time_limit_ms is None


def test_an_order_time_limit_and_a_halt_on_drift_can_be_set(load: Load):
    text = ACCOUNTS.format(more=", order_time_limit: 4h, reconcile: {on_drift: halt}")
    account = load(text).accounts[AccountName("desk")]
    assert account.reconcile.on_drift is OnDrift.HALT
    assert account.order_time_limit_ms == 14_400_000


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (", reconcile: {every: 999ms}", "reconcile.every"),
        (", reconcile: {on_drift: panic}", "journal or halt"),
        (", order_time_limit: 0s", "order_time_limit"),
    ],
)
def test_a_wrong_value_is_told_with_its_key(load: Load, more: str, words: str):
    with pytest.raises(ConfigError, match=words):
        load(ACCOUNTS.format(more=more))
