"""Builds the broker of each account."""

from collections.abc import Mapping
from typing import Final, assert_never

from libs.common.domain.clock import DAY_MS, Clock
from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName
from libs.common.runtime.account_settings import Account, CcxtAccount, HttpAccount, LogAccount, PaperAccount
from libs.common.runtime.paper_exchange import paper_exchange
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.settings import Settings
from libs.common.store.paper_books import ORDERS_KEPT_MS, PaperBooks
from libs.common.store.shards import Shards
from libs.common.telemetry.spans import Tracer
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.ccxt_exchange import Credentials
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.log import LogBroker
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker
from services.worker.brokers.traced import TracedBroker

SHORTEST_KEY: Final = 8
"""Characters; whatever is shorter is a placeholder, and masking it would garble every log line."""


def build_brokers(
    settings: Settings, shards: Shards, clock: Clock, environ: Mapping[str, str]
) -> dict[AccountName, Broker]:
    """Return the broker of every account. Nothing is connected before the first order.

    Args:
        settings: All of them: paper orders are remembered for longer than any record that could send them again.
        shards: Where the paper books are; they stay the caller's.
        clock: For brokers that sign the time.
        environ: Where secrets come from.

    Raises:
        ConfigError: A secret is missing, or ccxt, or it cannot trade what an account says.
    """
    retention = settings.retention
    orders_kept_ms = max(ORDERS_KEPT_MS, retention.alerts_ms + DAY_MS, retention.dead_letters_ms + DAY_MS)
    brokers: dict[AccountName, Broker] = {}
    for name, account in settings.accounts.items():
        match account:
            case PaperAccount():
                shard = shards.of(name)
                books = PaperBooks(shard.client, shard.keys, orders_kept_ms=orders_kept_ms)
                brokers[name] = PaperBroker(name, books, paper_exchange(account), clock)
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
            case CcxtAccount():
                brokers[name] = _ccxt_broker(name, account, clock, environ, settings.worker.concurrency + 8)
            case _:
                assert_never(account)
    return brokers


def _ccxt_broker(
    name: AccountName, account: CcxtAccount, clock: Clock, environ: Mapping[str, str], connections: int
) -> CcxtBroker:
    credentials = Credentials(
        read_secret(account.api_key, environ),
        read_secret(account.secret, environ),
        None if account.password is None else read_secret(account.password, environ),
    )
    for variable, secret in ((account.api_key, credentials.api_key), (account.secret, credentials.secret)):
        if len(secret.reveal()) < SHORTEST_KEY:
            raise ConfigError(
                f"accounts.{name}: {variable} is shorter than {SHORTEST_KEY} characters, as no exchange's key is"
            )
    try:
        return CcxtBroker(account, credentials, clock, connections=connections)
    except ConfigError as error:
        raise ConfigError(f"accounts.{name}.{error}") from error


def venue_of(account: Account) -> str:
    """Return what an account trades at, in a word: its exchange, or else the kind of its broker."""
    match account:
        case PaperAccount():
            return "paper"
        case HttpAccount():
            return "http"
        case LogAccount():
            return "log"
        case CcxtAccount():
            return account.exchange
        case _:
            assert_never(account)


def traced(
    brokers: dict[AccountName, Broker], settings: Settings, tracer: Tracer
) -> dict[AccountName, Broker]:
    """Return brokers whose calls for alerts are spans; the same ones where tracing is off."""
    if not tracer.is_on:
        return brokers
    return {
        name: TracedBroker(broker, name, venue_of(settings.accounts[name]), tracer)
        for name, broker in brokers.items()
    }
