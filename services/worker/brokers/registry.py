"""Builds the broker of each account."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, assert_never

from redis.asyncio import Redis

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.settings import HttpAccount, LogAccount, PaperAccount, Settings
from libs.common.store.keys import Keys
from libs.common.store.paper_books import ORDERS_KEPT_MS, PaperBooks
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.log import LogBroker
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker

DAY_MS: Final = 86_400_000


def build_brokers(
    settings: Settings, client: Redis, keys: Keys, clock: Clock, environ: Mapping[str, str]
) -> dict[AccountName, Broker]:
    """Return the broker of every account. Nothing is connected before the first order.

    Args:
        settings: All of them: paper orders are remembered for longer than any record that could send them again.
        client: Where the paper books are; stays the caller's.
        keys: The shard's.
        clock: For brokers that sign the time.
        environ: Where secrets come from.

    Raises:
        ConfigError: A secret is missing.
    """
    retention = settings.retention
    books = PaperBooks(
        client,
        keys,
        orders_kept_ms=max(ORDERS_KEPT_MS, retention.alerts_ms + DAY_MS, retention.dead_letters_ms + DAY_MS),
    )
    brokers: dict[AccountName, Broker] = {}
    for name, account in settings.accounts.items():
        match account:
            case PaperAccount():
                brokers[name] = PaperBroker(
                    name,
                    books,
                    default_price=account.default_price,
                    slippage_bps=_exact(account.slippage_bps),
                    fee_bps=_exact(account.fee_bps),
                )
            case LogAccount():
                brokers[name] = LogBroker()
            case HttpAccount():
                brokers[name] = HttpBroker(
                    account.url,
                    read_secret(account.secret, environ),
                    clock,
                    timeout_ms=account.timeout_ms,
                    connections=settings.worker.concurrency + 8,
                    look_up_lag_ms=account.look_up_lag_ms,
                    verify_answers=account.verify_answers,
                )
            case _:
                assert_never(account)
    return brokers


def _exact(basis_points: float) -> Decimal:
    """Return the number as it was written: 2.5, not the binary fraction next to it."""
    return Decimal(repr(basis_points))
