"""Every account of the configuration gets the broker it names."""

from pathlib import Path

import pytest

from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName
from libs.common.runtime.account_settings import CcxtAccount, HttpAccount, LogAccount, PaperAccount
from libs.common.runtime.settings import RetentionSettings, Settings
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard, Shards
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.log import LogBroker
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker
from services.worker.brokers.registry import build_brokers
from tests.support.clock import ManualClock

HTTP = HttpAccount(url="http://127.0.0.1:9", secret="DESK_SECRET")


async def build(settings: Settings, **environ: str) -> dict[AccountName, Broker]:
    client = connect("redis://127.0.0.1:9/0", timeout_s=1)  # nothing listens there, and nothing asks
    return build_brokers(settings, Shards([Shard(0, Keys(), client)]), ManualClock(), environ)


async def test_each_account_gets_its_broker() -> None:
    settings = Settings(
        accounts={
            AccountName("a"): PaperAccount(),
            AccountName("b"): LogAccount(),
            AccountName("c"): HTTP,
        }
    )
    brokers = await build(settings, DESK_SECRET="secret-of-a-test")
    assert {name: type(broker) for name, broker in brokers.items()} == {
        "a": PaperBroker,
        "b": LogBroker,
        "c": HttpBroker,
    }
    for broker in brokers.values():
        await broker.aclose()


CCXT = CcxtAccount(exchange="bybit", api_key="KEY", secret="SECRET")


async def test_an_exchange_s_account_gets_its_broker_on_the_sandbox() -> None:
    settings = Settings(accounts={AccountName("e"): CCXT})
    broker = (await build(settings, KEY="key-of-a-test", SECRET="secret-of-a-test"))[AccountName("e")]
    assert isinstance(broker, CcxtBroker)
    assert broker.place_name == "testnet"
    assert "key-of-a-test" not in repr(broker)
    await broker.aclose()


async def test_an_account_that_cannot_be_traded_is_named() -> None:
    kraken = CcxtAccount(exchange="kraken", api_key="KEY", secret="SECRET")
    with pytest.raises(ConfigError, match=r"accounts\.e\.live: kraken has no sandbox"):
        await build(
            Settings(accounts={AccountName("e"): kraken}), KEY="key-of-a-test", SECRET="secret-of-a-test"
        )
    with pytest.raises(ConfigError, match="SECRET"):
        await build(Settings(accounts={AccountName("e"): CCXT}), KEY="key-of-a-test")


async def test_a_secret_is_read_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "desk").write_text("from a file\n")
    settings = Settings(accounts={AccountName("c"): HTTP})
    brokers = await build(settings, DESK_SECRET_FILE=str(tmp_path / "desk"))
    assert isinstance(brokers[AccountName("c")], HttpBroker)


async def test_a_missing_secret_keeps_the_worker_from_starting() -> None:
    with pytest.raises(ConfigError, match="DESK_SECRET"):
        await build(Settings(accounts={AccountName("c"): HTTP}))


async def test_paper_orders_outlive_whatever_could_send_them_again() -> None:
    year_ms = 365 * DAY_MS
    settings = Settings(
        accounts={AccountName("a"): PaperAccount()},
        retention=RetentionSettings(dead_letters_ms=year_ms),  # type: ignore[arg-type]
    )
    broker = (await build(settings))[AccountName("a")]
    assert isinstance(broker, PaperBroker)
    assert broker._books._orders_kept_ms > year_ms


async def test_a_key_that_can_only_be_a_placeholder_is_refused():
    with pytest.raises(ConfigError, match=r"accounts\.e: SECRET is shorter than 8 characters"):
        await build(Settings(accounts={AccountName("e"): CCXT}), KEY="key-of-a-test", SECRET="test")
