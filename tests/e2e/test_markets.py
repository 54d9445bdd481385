"""From a venue's own list to a proposal."""

from libs.common.domain.ids import AccountName
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.markets import MarketStore
from tests.contract.scripted_venue import ScriptedVenue, answers
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually


async def test_a_running_worker_publishes_what_its_venue_trades(private_redis, bridge_factory):
    client = connect(private_redis.url, timeout_s=5)
    store = MarketStore(client, Keys())
    async with ScriptedVenue(answers(200, b'{"symbols": ["BTC/USDT", "BTC/USDT:USDT"]}')) as venue:
        account = {"broker": "http", "url": venue.url, "secret": "DESK_SECRET"}
        bridge = bridge_factory(
            private_redis,
            broker="log",
            ingresses=0,
            reapers=0,
            config={"accounts": {ACCOUNT: account}},
            is_started=False,
        )
        [worker] = bridge.workers
        worker.start()
        listed = await eventually(lambda: store.read(AccountName(ACCOUNT)))
        assert listed is not None
        assert listed.markets == ("BTC/USDT", "BTC/USDT:USDT")
        assert worker.terminate().code == 0
    await client.aclose()
