"""Records of all shards as those of one."""

from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import TypeVar

from libs.common.domain.alert import Alert
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId
from libs.common.store.fan_out import Spread, ask_all, ask_each, unavailable
from libs.common.store.journal import JournalEntry
from libs.common.store.records import AlertRecord, OrderRecord, merge_alert
from libs.common.store.shard_readings import ShardReadings
from libs.common.store.shards import Shards

T = TypeVar("T")


class RecordsEverywhere:
    """Asks every shard at once, and puts together what belongs together."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self.parts = {shard.number: ShardReadings(shard, of=len(shards)) for shard in shards}
        """By the shards' numbers, in their order."""

    def of(self, account: AccountName) -> ShardReadings:
        """Return the shard of an account."""
        return self.parts[self._shards.of(account).number]

    async def one(self, account: AccountName, question: Callable[[ShardReadings], Awaitable[T]]) -> T:
        """Return what the shard of an account answers.

        Raises:
            StoreUnavailable: It did not; of several the text names it.
        """
        shard = self.of(account)
        try:
            return await question(shard)
        except StoreUnavailable as error:
            if len(self._shards) == 1:
                raise
            raise unavailable({shard.number: error}, of=len(self._shards)) from None

    async def all(self, question: Callable[[ShardReadings], Awaitable[T]]) -> list[T]:
        """Return what every shard answers, in the order of their numbers.

        Raises:
            StoreUnavailable: One did not answer; the text names it.
        """
        return list((await ask_all({number: question(one) for number, one in self.parts.items()})).values())

    async def each(self, question: Callable[[ShardReadings], Awaitable[T]]) -> Spread[T]:
        """Return what each shard answers, and of the others why they do not."""
        return await ask_each({number: question(one) for number, one in self.parts.items()})

    async def alert(self, alert_id: AlertId) -> AlertRecord | None:
        """Return one alert with its instructions on all shards; None where there is none on record.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The record cannot be read.
        """
        found = await self.all(lambda one: one.records.alert(alert_id))
        parts = [part for part in found if part is not None]
        return merge_alert(parts) if parts else None

    async def alerts(self, alert_ids: Sequence[AlertId]) -> list[AlertRecord]:
        """Return these alerts, in this order; those that are gone or cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        parts: dict[AlertId, list[AlertRecord]] = {alert_id: [] for alert_id in alert_ids}
        for found in await self.all(lambda one: one.records.alerts(alert_ids)):
            for part in found:
                parts[part.alert.alert_id].append(part)
        return [merge_alert(own) for own in parts.values() if own]

    async def bare_alerts(self, alert_ids: Sequence[AlertId]) -> dict[AlertId, Alert]:
        """Return these alerts alone; those that are gone or cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        merged: dict[AlertId, Alert] = {}
        for found in await self.all(lambda one: one.records.bare_alerts(alert_ids)):
            merged = found | merged
        return merged

    async def alerts_within_reach(self, alert_ids: Sequence[AlertId]) -> Spread[dict[AlertId, Alert]]:
        """Return what each shard knows of these alerts, as far as it answers."""
        return await self.each(lambda one: one.records.bare_alerts(alert_ids))

    async def orders(self, client_order_ids: Sequence[ClientOrderId]) -> list[OrderRecord]:
        """Return these orders, in this order; those that are gone are left out.

        Raises:
            StoreUnavailable: A shard did not answer, and those that did lack some of them.
            StoreCorrupt: A record cannot be read.
        """
        spread = await self.each(lambda one: one.records.orders(client_order_ids))
        found = {order.client_order_id: order for part in spread.answers.values() for order in part}
        away = spread.away
        # Each lies on one shard: once it is found, the others need not answer.
        if away and not found.keys() >= set(client_order_ids):
            raise unavailable(away, of=len(self.parts))
        return [found[name] for name in client_order_ids if name in found]

    async def history(self, alert: AlertRecord) -> list[JournalEntry]:
        """Return all that happened to an alert, oldest first, as far as the journal still has it.

        Raises:
            StoreUnavailable: No answer.
        """
        ids: dict[int, list[str]] = {}
        for one in alert.instructions:
            ids.setdefault(self._shards.of(one.account).number, []).extend(one.journal_ids)
        found = await ask_all(
            {number: self.parts[number].journal.entries(own) for number, own in sorted(ids.items())}
        )
        return sorted(chain.from_iterable(found.values()), key=lambda entry: entry.at_ms)
