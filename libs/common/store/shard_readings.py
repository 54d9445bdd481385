"""Everything that is read for people of one shard, behind one connection."""

from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AccountName
from libs.common.store.alarms import Alarms
from libs.common.store.client import translate
from libs.common.store.dead_letters import DeadLetters
from libs.common.store.decisions import Decisions
from libs.common.store.figures import Figures
from libs.common.store.halts import Halts
from libs.common.store.holdings import Holdings
from libs.common.store.journal import Journal
from libs.common.store.letter_reasons import newest_by_reason
from libs.common.store.markets import MarketStore
from libs.common.store.operator_alerts import OperatorAlerts
from libs.common.store.paper_books import PaperBooks
from libs.common.store.published import Published
from libs.common.store.records import Records
from libs.common.store.seen import Seen
from libs.common.store.servers import Answering, read_answering
from libs.common.store.shards import Shard


class ShardReadings:
    """What is read, and asked for by operators, of the accounts of one shard."""

    def __init__(self, shard: Shard) -> None:
        client, keys = shard.client, shard.keys
        self.number = shard.number
        self._client: Redis = client
        self._keys = keys
        self.paper = PaperBooks(client, keys)
        self.records = Records(client, keys)
        self.journal = Journal(client, keys)
        self.alarms = Alarms(client, keys, shard=shard.number)
        self.dead_letters = DeadLetters(client, keys, shard=shard.number)
        self.figures = Figures(client, keys)
        self.markets = MarketStore(client, keys)
        self.seen = Seen(client, keys)
        self.halts = Halts(client, keys)
        self.published = Published(client, keys)
        self.decisions = Decisions(client, keys)
        self.holdings = Holdings(client, keys)
        self.operator_alerts = OperatorAlerts(client, keys)

    async def now_ms(self) -> int:
        """Return the time of its server.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            seconds, micros = await self._client.time()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def letters_by_reason(self) -> Mapping[str, int]:
        """Return reason -> dead letters, of its newest ones; see `newest_by_reason`."""
        return await newest_by_reason(self._client, self._keys)

    async def server(self, durability: str) -> Answering:
        """Return what its server says of itself; see `read_answering`."""
        return await read_answering(self._client, durability)

    async def paper_accounts(self) -> list[AccountName]:
        """Return its paper accounts that have ever traded, found by a walk through all keys.

        Raises:
            StoreUnavailable: No answer.
        """
        pattern = self._keys.paper(AccountName("*"), "positions")
        before, after = (len(part) for part in pattern.split("*"))
        try:
            found = [key.decode() async for key in self._client.scan_iter(match=pattern, count=5_000)]
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return [AccountName(key[before : len(key) - after]) for key in found]
