"""The way from a webhook to its accounts, as the configuration has it."""

from collections.abc import Mapping

from libs.common.domain.ids import AccountName
from libs.common.policy.routing import Route, Router
from libs.common.policy.symbols import SymbolMap
from libs.common.policy.webhook import Webhook
from libs.common.runtime.account_settings import AccountSettings


def router_to(
    webhook: Webhook, accounts: Mapping[AccountName, AccountSettings], symbols: SymbolMap
) -> Router:
    """Return the router to a webhook's accounts; one that the configuration lacks declines every alert."""
    return Router([_route(name, accounts.get(name)) for name in webhook.accounts], symbols, webhook.only)


def _route(name: AccountName, account: AccountSettings | None) -> Route:
    if account is None:
        return Route(name, is_known=False)
    return Route(
        name,
        lane_by=account.lane_by,
        mode=account.symbols,
        rules=frozenset(account.symbol_rules),
        only=account.only.only(),
        default_quantity=account.default_quantity,
    )
