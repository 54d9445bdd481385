"""Whether an alert was admitted before: read only."""

from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AlertId, WebhookName
from libs.common.store.client import translate
from libs.common.store.keys import Keys


@dataclass(frozen=True, slots=True)
class New:
    """It was not."""


@dataclass(frozen=True, slots=True)
class RepeatOf:
    """It was, with the same body."""

    alert_id: AlertId


@dataclass(frozen=True, slots=True)
class SameKey:
    """Another body was admitted under the same key: for a sender's id a conflict, else a repeat."""

    alert_id: AlertId


Sight = New | RepeatOf | SameKey


class Seen:
    """Looks up dedup keys without claiming them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def look_up(self, webhook: WebhookName, dedup_keys: Sequence[str], digest: str) -> Sight:
        """Return whether an alert would be the first of its kind.

        Args:
            webhook: Whose.
            dedup_keys: One for each alert that may have the same key.
            digest: Of the body without its credential.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            values = await self._client.mget([self._keys.seen(webhook, key) for key in dedup_keys])
        except (RedisError, OSError) as error:
            raise translate(error) from error
        held = [
            value.decode("utf-8", "replace").partition("|") for value in values if isinstance(value, bytes)
        ]
        for alert_id, _, own in held:
            if own == digest:
                return RepeatOf(AlertId(alert_id))
        return SameKey(AlertId(held[0][0])) if len(held) == len(dedup_keys) else New()
