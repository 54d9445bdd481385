"""From what an alert means to the lanes it goes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.common.domain.alert import AlertContent
from libs.common.domain.ids import AccountName, AlertId, Market, lane_name
from libs.common.domain.instruction import Instruction
from libs.common.runtime.settings import AccountSettings, LaneBy
from libs.common.store.intake import Routed
from libs.common.wire import codec


@dataclass(frozen=True, slots=True)
class Route:
    """One account that a webhook trades."""

    account: AccountName
    lane_by: LaneBy

    def market(self, symbol: str) -> Market:
        """Return what the account's venue calls a symbol: the same, as sent."""
        return Market(symbol)

    def routed(self, alert_id: AlertId, content: AlertContent) -> Routed:
        """Return the account's share of an alert."""
        market = self.market(content.symbol)
        instruction = Instruction(
            alert_id=alert_id,
            account=self.account,
            market=market,
            action=content.action,
            quantity=content.quantity,
            price=content.price,
            strategy=content.strategy,
        )
        return Routed(
            account=self.account,
            market=market,
            lane=lane_name(self.account, market, self._lane_strategy(content)),
            body=codec.INSTRUCTION.encode(instruction),
        )

    def _lane_strategy(self, content: AlertContent) -> str | None:
        return content.strategy if self.lane_by is LaneBy.STRATEGY else None


class Router:
    """The accounts of one webhook."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self.accounts = tuple(route.account for route in self._routes)

    @classmethod
    def of(cls, names: Sequence[AccountName], accounts: Mapping[AccountName, AccountSettings]) -> "Router":
        """Return the router to the accounts of these names."""
        return cls([Route(name, accounts[name].lane_by) for name in names])

    def route(self, alert_id: AlertId, content: AlertContent) -> tuple[Routed, ...]:
        """Return one share for each account, in the order of the configuration."""
        return tuple([route.routed(alert_id, content) for route in self._routes])
