"""The breakers that all workers share: their scopes, what `begin` answers of them, and how they are moved."""

from dataclasses import dataclass

import msgspec
from redis.asyncio import Redis

from libs.common.domain.ids import AccountName, Market
from libs.common.store.head import failure
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script


def market_scope(account: AccountName, market: Market) -> str:
    """Name the breaker of one market of an account, as `begin` does."""
    return f"{account}:{market}"


def account_scope(account: AccountName) -> str:
    """Name the breaker of a whole account, as `begin` does."""
    return account


def pause_scope(account: AccountName) -> str:
    """Name the pause that an account's venue asked for, as `begin` does."""
    return f"{account}|pause"


class Permit(msgspec.Struct, frozen=True):
    """What a breaker was when it let an order through."""

    generation: int
    is_probe: bool
    """Whether it is the one trial of a half-open breaker."""


@dataclass(frozen=True, slots=True)
class BreakerReport:
    """A breaker's change, as one worker's count says."""

    scope: str
    generation: int
    """As GO gave it: a report about an older one is dropped."""
    opens: bool
    reset_ms: int
    frees_probe: bool = False
    """Whether it only takes back a probe that said nothing: the next order may be it at once."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A venue's wish not to hear from an account for a while."""

    account: AccountName
    wait_ms: int


class SharedBreakers:
    """Moves them, for all workers at once."""

    def __init__(self, client: Redis, keys: Keys, *, now_ms: int | None = None) -> None:
        """Args:
        client: For the script.
        keys: The shard's.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._now = "" if now_ms is None else str(now_ms)
        self._script = Script("report")

    async def report(self, report: BreakerReport) -> bool:
        """Open or close a breaker for all workers; tells whether it moved, since a late report is dropped.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The breaker's record cannot be used.
        """
        verdict = "FREE" if report.frees_probe else "OPEN" if report.opens else "CLOSE"
        return await self._move(report.scope, report.generation, verdict, report.reset_ms)

    async def pause(self, pause: Pause) -> bool:
        """Put off all orders of an account; tells whether that made it wait longer.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The breakers' record cannot be used.
        """
        return await self._move(pause_scope(pause.account), 0, "PAUSE", pause.wait_ms)

    async def _move(self, scope: str, generation: int, verdict: str, wait_ms: int) -> bool:
        args: list[str | bytes | int] = [self._now, scope, generation, verdict, int(wait_ms)]
        [answer] = await self._script.run(self._client, self._keys.fixed, args)
        if answer[0] == b"ERROR":
            raise failure(answer)
        return bool(answer[0] == b"OK")
