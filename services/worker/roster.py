"""What the settings say of accounts, as the parts of a worker need it."""

from collections.abc import Callable, Mapping
from functools import cache

from libs.common.domain.ids import AccountName, Market
from libs.common.policy.limits import Limit
from libs.common.policy.risk_rules import NO_RISK, RiskBook
from libs.common.runtime.account_settings import OnDrift
from libs.common.runtime.risk_settings import RiskSettings
from libs.common.runtime.settings import BreakerExits, Settings
from libs.common.store.orders import NO_LIMIT
from services.worker.account import Account, MarketLimits
from services.worker.brokers.port import Broker
from services.worker.brokers.registry import venue_of
from services.worker.follower import FollowedAccount
from services.worker.rounds import ReconciledAccount


def accounts_of(settings: Settings, brokers: Mapping[AccountName, Broker]) -> dict[AccountName, Account]:
    """Return what the worker knows of each account that has a broker here."""
    return {
        name: Account(
            name=name,
            broker=brokers[name],
            window_ms=settings.request_expiry_of(name),
            default_quantity=account.default_quantity,
            limits_of=_limits_of(settings, name),
            mode=account.symbols,
            rules=frozenset(account.symbol_rules),
            risk=_risk_of(account.risk),
            fill_wait_ms=account.fill_wait_ms,
            on_unknown=account.on_unknown,
            exits_pass_breaker=settings.breaker.exits is BreakerExits.PASS,
            is_reconciled=account.reconcile_every_ms is not None,
        )
        for name, account in settings.accounts.items()
        if name in brokers
    }


def followed_accounts(
    settings: Settings, brokers: Mapping[AccountName, Broker]
) -> dict[AccountName, FollowedAccount]:
    """Return what the follower knows of each account that has a broker here."""
    return {
        name: FollowedAccount(
            brokers[name],
            account.order_time_limit_ms,
            counts_fills=account.reconcile_every_ms is not None,
            venue=venue_of(account),
        )
        for name, account in settings.accounts.items()
        if name in brokers
    }


def reconciled_accounts(
    settings: Settings, brokers: Mapping[AccountName, Broker]
) -> dict[AccountName, ReconciledAccount]:
    """Return the accounts with a broker here that are compared with their venues."""
    return {
        name: ReconciledAccount(brokers[name], every_ms, account.reconcile.on_drift is OnDrift.HALT)
        for name, account in settings.accounts.items()
        if name in brokers and (every_ms := account.reconcile_every_ms) is not None
    }


def slots_per_account(settings: Settings, accounts: int) -> int:
    """Return how many slots one account may use: half of them, where there is another to leave room for.

    Args:
        settings: They say how many slots a shard has.
        accounts: How many share them.
    """
    concurrency = settings.worker.concurrency
    return concurrency if accounts <= 1 else max(1, concurrency // 2)


def _limits_of(settings: Settings, name: AccountName) -> Callable[[Market], MarketLimits]:
    @cache
    def limits_of(market: Market) -> MarketLimits:
        limits = settings.limits_for(name, market)
        return MarketLimits(symbol=_pair(limits.symbol), account=_pair(limits.account))

    return limits_of


def _risk_of(settings: RiskSettings) -> RiskBook:
    book = settings.book()
    return NO_RISK if book == NO_RISK else book


def _pair(limit: Limit | None) -> tuple[int, int]:
    return NO_LIMIT if limit is None else (limit.interval_us, limit.burst)
