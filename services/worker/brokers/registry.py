"""Builds the broker of each account."""

from collections.abc import Mapping
from typing import assert_never

from redis.asyncio import Redis

from libs.common.domain.ids import AccountName
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.settings import Account, HttpAccount, LogAccount, PaperAccount, Settings
from libs.common.store.keys import Keys
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.log import LogBroker
from services.worker.brokers.port import Broker


def build_brokers(
    settings: Settings, client: Redis, keys: Keys, environ: Mapping[str, str]
) -> dict[AccountName, Broker]:
    """Return the broker of every account.

    Raises:
        ConfigError: A secret is missing.
    """
    return {name: _build(account, environ) for name, account in settings.accounts.items()}


def _build(account: Account, environ: Mapping[str, str]) -> Broker:
    match account:
        case HttpAccount():
            key = read_secret(account.secret, environ).reveal()
            return HttpBroker(url=account.url, key=key, timeout_ms=account.timeout_ms)
        case LogAccount():
            return LogBroker()
        case PaperAccount():
            return LogBroker()
        case _:
            assert_never(account)
