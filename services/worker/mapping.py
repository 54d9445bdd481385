"""Checks once more what a symbol means, right before its first order is planned: the table may have changed since."""

import asyncio
from collections.abc import Sequence
from typing import Final, assert_never

from libs.common.domain.errors import BridgeError
from libs.common.domain.instruction import Instruction
from libs.common.domain.reasons import Reason
from libs.common.policy.sizing import Refused
from libs.common.policy.symbols import Mapped, SymbolEntry, SymbolMode, Unmapped, symbol_map
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.tables import TableStore
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import is_outage
from services.worker.account import Account

PAUSE_S: Final = 2.0
"""Between two looks at the table; so long an entry that was changed may still be traded as it was."""

log = get_logger()


class MappingCheck:
    """Knows the symbol table as it was a moment ago, so that an instruction costs no round trip."""

    def __init__(self, tables: TableStore, configured: Sequence[SymbolEntry]) -> None:
        """Args:
        tables: Where confirmed entries are.
        configured: The worker's own.
        """
        self._tables = tables
        self._configured = tuple(configured)
        self._symbols = symbol_map(self._configured, ())
        self._is_empty = False
        self._revision: int | None = None
        """Of the table that we know; None before the first look."""

    def confirms(self, instruction: Instruction, account: Account) -> bool:
        """Tell whether the table as we know it says the same, or nothing could say otherwise: then it need not be asked.

        The market was named itself; or the table is empty, and the account trades symbols as sent.
        """
        if instruction.names_market:
            return True
        if self._revision is None:
            return False
        is_as_sent = self._is_empty and account.mode is SymbolMode.AS_SENT and instruction.symbol is None
        return is_as_sent or self._judge(instruction, account) is None

    async def refusal(self, instruction: Instruction, account: Account) -> Refused | None:
        """Return why an instruction must not be traded; None where its symbol still means its market.

        Raises:
            StoreUnavailable: The table would have to be read first, and Redis is away.
        """
        if self.confirms(instruction, account):
            return None
        # The door may have known a newer entry than we do: nothing is refused on an old table.
        await self.refresh()
        return self._judge(instruction, account)

    async def refresh(self) -> None:
        """Read the table, if it has changed.

        Raises:
            StoreUnavailable: Redis is away.
        """
        if self._revision is not None and await self._tables.revision() == self._revision:
            return
        tables = await self._tables.read()
        self._symbols = symbol_map(self._configured, tables.symbols)
        self._is_empty = not self._configured and not tables.symbols
        self._revision = tables.revision

    async def run(self, stopped: asyncio.Event) -> None:
        """Refresh the table every other second, until `stopped` is set."""
        is_known = True
        while not stopped.is_set():
            try:
                await self.refresh()
                is_known = True
            except BridgeError as error:
                if is_outage(error):
                    log.debug("symbols_not_read", error=str(error))
                elif is_known:
                    log.warning("symbols_not_read", error=str(error))
                is_known = is_outage(error)
            await wait_for_event(stopped, PAUSE_S)

    def _judge(self, instruction: Instruction, account: Account) -> Refused | None:
        symbol = instruction.symbol
        if symbol == instruction.market:
            # Only what the account declined at the door says so; a replay has brought it here.
            detail = f'account {account.name} declined "{symbol}" when it came, so it has no lane: send the alert again'
            return Refused(Reason.UNKNOWN_SYMBOL, detail)
        if symbol is None:
            symbol = instruction.market
        match self._symbols.map(symbol, instruction.exchange, account.name, account.mode, account.rules):
            case Mapped(market, because):
                if market == instruction.market:
                    return None
                detail = f'"{symbol}" was queued for {instruction.market}, and is {market} now: {because}'
                return Refused(Reason.MAPPING_CHANGED, detail)
            case Unmapped() as unmapped:
                return Refused(Reason.UNKNOWN_SYMBOL, unmapped.detail(symbol, account.name))
            case never:
                assert_never(never)
