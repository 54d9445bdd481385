"""How fast alerts may come in and orders may leave, as the scripts take it: the generic cell rate algorithm in microseconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit."""

    interval_us: int
    """Time between two orders in the long run, microseconds, at least 1."""
    burst: int
    """Orders that may go at once after a pause, at least 1."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What rules the orders of one account in one market; None is no limit."""

    symbol: Limit | None
    """For the market itself."""
    account: Limit | None
    """For all markets of the account together."""
