"""Builds the broker of each account."""

from collections.abc import Mapping

from redis.asyncio import Redis

from libs.common.domain.ids import AccountName
from libs.common.runtime.settings import Settings
from libs.common.store.keys import Keys
from services.worker.brokers.log import LogBroker
from services.worker.brokers.port import Broker


def build_brokers(
    settings: Settings, client: Redis, keys: Keys, environ: Mapping[str, str]
) -> dict[AccountName, Broker]:
    """Return the broker of every account.

    Raises:
        ConfigError: A secret is missing.
    """
    return {name: LogBroker() for name, account in settings.accounts.items()}
