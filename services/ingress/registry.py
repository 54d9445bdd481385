"""Keeps up with what is configured while the bridge runs: webhooks, and entries of the symbol table."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, ConfigError
from libs.common.policy.addresses import NAMED_SETS, AddressList
from libs.common.policy.symbols import SymbolEntry, SymbolMap, symbol_map
from libs.common.policy.webhook import Webhook
from libs.common.runtime.routes import router_to
from libs.common.runtime.settings import Settings
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.tables import Tables, TableStore
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.masking import Masker
from services.ingress.hook import Hook
from services.ingress.hooks import Hooks

LOOK_EVERY_S: Final = 0.25
"""A change is known within a second, a slow answer of Redis included."""

LOOP: Final = "webhooks"

CURRENT_FOR_MS: Final = 2_000
"""How long what we know counts as current without an answer."""

log = get_logger()


class HookMaker:
    """Builds webhooks from their description, the configuration and the symbol table of the moment."""

    def __init__(self, settings: Settings, masker: Masker, signing_keys: Mapping[str, str]) -> None:
        """Args:
        settings: Accounts, symbols and sets of addresses.
        masker: Knows all secrets of this process.
        signing_keys: The keys themselves, by name.
        """
        self._settings = settings
        self._masker = masker
        self._signing_keys = signing_keys
        self._named_sets = {**NAMED_SETS, **settings.ingress.addresses}
        self._symbols = self._symbol_map(())

    def confirm(self, confirmed: Sequence[SymbolEntry]) -> None:
        """Take over the entries of the symbol table that were confirmed at run time, for what is built from now on."""
        self._symbols = self._symbol_map(confirmed)

    def make(self, webhook: Webhook, own_keys: Sequence[str] = ()) -> Hook:
        """Return a webhook, ready to judge posts.

        Args:
            webhook: Its description.
            own_keys: Keys that count where it names none.

        Raises:
            ValueError: An entry of its address list is none.
        """
        keys = [self._signing_keys[name] for name in webhook.signing_keys if name in self._signing_keys]
        if webhook.dialect is not None and webhook.dialect not in BY_NAME:
            raise ValueError(f"there is no dialect {webhook.dialect}")
        return Hook(
            webhook,
            router_to(webhook, self._settings.accounts, self._symbols),
            masker=self._masker,
            allowed=AddressList(webhook.allow, self._named_sets) if webhook.allow else None,
            signing_keys=keys or own_keys,
            shards=self._settings.redis.shards,
        )

    def _symbol_map(self, confirmed: Sequence[SymbolEntry]) -> SymbolMap:
        return symbol_map([entry.entry() for entry in self._settings.symbols], confirmed)


@dataclass(frozen=True, slots=True)
class Declared:
    """A webhook of the configuration."""

    webhook: Webhook
    own_keys: tuple[str, ...]
    """Keys of signatures that count where it names none: its secret."""


class Registry:
    """Reads both tables again whenever their revision has changed."""

    def __init__(
        self,
        tables: TableStore,
        maker: HookMaker,
        default: Declared,
        others: Sequence[Declared],
        clock: Clock,
        outage: Outage,
    ) -> None:
        """Args:
        tables: In Redis.
        maker: Builds webhooks.
        default: What `POST /webhook` serves.
        others: The named ones of the configuration.
        clock: Says how old what we know is.
        outage: Says that Redis is away.

        Raises:
            ConfigError: A webhook of the configuration cannot be built.
        """
        self._tables = tables
        self._maker = maker
        self._default = default
        self._others = tuple(others)
        self._clock = clock
        self._outage = outage
        try:
            self.hooks = Hooks(*self._declared())
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self._revision = -1
        self._symbols: tuple[SymbolEntry, ...] = ()
        self._known_at_ms: int | None = None
        self._trouble = ""
        self._read = asyncio.Event()

    def is_current(self) -> bool:
        """Tell whether no change of more than a moment ago can be unknown to us."""
        known_at_ms = self._known_at_ms
        return known_at_ms is not None and self._clock.monotonic_ms() - known_at_ms <= CURRENT_FOR_MS

    async def look(self) -> None:
        """Take over what has changed since the last look.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The tables cannot be read at all.
        """
        asked_at_ms = self._clock.monotonic_ms()
        if await self._tables.revision() != self._revision:
            self._take_over(await self._tables.read())
        self._known_at_ms = asked_at_ms
        self._read.set()

    async def read_once(self, stopping: asyncio.Event) -> None:
        """Return when the tables were read for the first time, or when told to stop."""
        while not stopping.is_set() and not await wait_for_event(self._read, LOOK_EVERY_S):
            pass

    async def keep_up(self, stopping: asyncio.Event) -> None:
        """Look again and again until told to stop."""
        while not stopping.is_set():
            trouble = ""
            try:
                await self.look()
            except BridgeError as error:
                if self._outage.covers(LOOP, error):
                    log.debug("webhooks_unknown", reason=str(error))
                else:
                    trouble = str(error)
            except (
                Exception
            ) as error:  # the loop must go on: without it run-time webhooks are answered 503 for good
                trouble = repr(error)
                log.exception("webhooks_look_failed")
            else:
                self._outage.answered(LOOP)
            if trouble and not self._trouble:
                log.warning("webhooks_unknown", reason=trouble)
            self._trouble = trouble
            await wait_for_event(stopping, LOOK_EVERY_S)

    def _declared(self) -> tuple[Hook, list[Hook]]:
        default, *others = (
            self._maker.make(one.webhook, one.own_keys) for one in (self._default, *self._others)
        )
        return default, others

    def _take_over(self, tables: Tables) -> None:
        if tables.symbols != self._symbols:
            self._symbols = tables.symbols
            self._maker.confirm(tables.symbols)
            self.hooks.replace_declared(*self._declared())
            self.hooks.forget_made()
        for name in (*tables.unreadable_webhooks, *tables.unreadable_symbols):
            log.error("table_entry_unreadable", name=name)
        self.hooks.replace_made(tables.webhooks, self._make)
        self.hooks.has_unreadable = bool(tables.unreadable_webhooks)
        self._revision = tables.revision
        log.info("webhooks_read", revision=tables.revision, webhooks=len(tables.webhooks))

    def _make(self, webhook: Webhook) -> Hook | None:
        """Return a webhook; None for one that another version made, or for another configuration."""
        try:
            return self._maker.make(webhook)
        except ValueError as error:
            log.warning("webhook_unusable", webhook=webhook.name, reason=str(error))
            return None
