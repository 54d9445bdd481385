"""Whether an alert was admitted before: read only."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AlertId, WebhookName
from libs.common.store.client import translate
from libs.common.store.keys import Keys


class Seen:
    """Looks up dedup keys without claiming them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def first(
        self, webhook: WebhookName, dedup_keys: Sequence[str], digest: str
    ) -> tuple[AlertId, bool] | None:
        """Return the alert that an alert would be a repeat of, and whether its body is the same; None where it is new.

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
                return AlertId(alert_id), True
        return (AlertId(held[0][0]), False) if len(held) == len(dedup_keys) else None
