"""Both tables that are kept in Redis: changes upon what was read, for everybody to see."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from redis.asyncio.client import Pipeline

from libs.common.domain.alert import Action
from libs.common.domain.errors import EditConflict, StoreUnavailable
from libs.common.domain.ids import AccountName, Market, WebhookName
from libs.common.policy.allowance import Only
from libs.common.policy.authentication import HashedToken, hash_secret, token_digest
from libs.common.policy.limits import Limit
from libs.common.policy.symbols import SymbolEntry
from libs.common.policy.webhook import DedupWindows, Demand, Webhook
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.store.tables import TableStore
from tests.support.filled_store import FilledStore, filled_store
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

PLAIN = Webhook(name=WebhookName("plain"), accounts=(AccountName("paper"),))
WHOLE = Webhook(
    name=WebhookName("whole"),
    accounts=(AccountName("paper"), AccountName("desk")),
    tokens=(HashedToken(token_digest("old"), 1_780_000_000_000), HashedToken(token_digest("new"))),
    secrets=(hash_secret("old", "salt", 1_780_000_000_000), hash_secret("new", "pepper")),
    demands=(Demand.SECRET, Demand.SIGNATURE, Demand.CERTIFICATE),
    signing_keys=("relay",),
    dialect="pineconnector",
    options={"risk": "units"},
    allow=("tradingview", "10.0.0.0/8"),
    only=Only(actions=(Action.BUY,), exchanges=("BINANCE",), symbols=("BTC*", "Ünïcode")),
    limit=Limit(2_000_000, 120),
    max_body_bytes=1_000,
    max_age_ms=1,
    clock_skew_ms=0,
    dedup=DedupWindows(id_ms=1, bar_ms=2, body_ms=3, entries_per_bar=4),
    is_disabled=True,
    created_at_ms=1_780_000_000_000,
)
ENTRY = SymbolEntry("BTCUSDT", Market("BTC/USDT"))
SCOPED = SymbolEntry("BTCUSDT", Market("XBT"), exchange="KRAKEN", account=AccountName("desk"))


@dataclass(frozen=True)
class Rig:
    """The tables, as two people see them."""

    store: FilledStore
    mine: TableStore
    theirs: TableStore

    async def journal(self) -> list[tuple[str, str, str]]:
        entries = await self.store.client.xrange(self.store.keys.journal)
        return [
            (fields[b"event"].decode(), fields[b"reason"].decode(), fields[b"detail"].decode())
            for _, fields in entries
        ]


@pytest.fixture
async def rig(redis_server: RedisServer) -> AsyncIterator[Rig]:
    async with filled_store(redis_server.url) as store:
        yield Rig(store, TableStore(store.client, store.keys), TableStore(store.client, store.keys))


async def test_before_the_first_change_both_are_empty(rig: Rig) -> None:
    tables = await rig.mine.read()

    assert (tables.revision, tables.webhooks, tables.symbols, tables.unreadable_webhooks) == (0, {}, (), ())
    assert await rig.mine.revision() == 0


@pytest.mark.parametrize("webhook", [PLAIN, WHOLE], ids=["plain", "whole"])
async def test_a_webhook_is_read_as_it_was_put(rig: Rig, webhook: Webhook) -> None:
    await rig.mine.put_webhook(webhook, None, "created")

    tables = await rig.theirs.read()

    assert tables.webhooks == {webhook.name: webhook}
    assert tables.revision == await rig.theirs.revision() == 1


async def test_every_change_raises_the_revision_and_is_in_the_journal(rig: Rig) -> None:
    disabled = msgspec.structs.replace(PLAIN, is_disabled=True)
    await rig.mine.put_webhook(PLAIN, None, "created")
    await rig.mine.put_webhook(disabled, PLAIN, "disabled")
    await rig.mine.put_symbol(SCOPED, None)
    await rig.mine.delete_symbol(SCOPED)
    await rig.mine.delete_webhook(disabled)

    tables = await rig.mine.read()
    assert (tables.revision, tables.webhooks, tables.symbols) == (5, {}, ())
    assert await rig.journal() == [
        ("WEBHOOK", "created", "plain"),
        ("WEBHOOK", "disabled", "plain"),
        ("SYMBOL", "confirmed", "BTCUSDT|KRAKEN|desk -> XBT"),
        ("SYMBOL", "removed", "BTCUSDT|KRAKEN|desk -> XBT"),
        ("WEBHOOK", "deleted", "plain"),
    ]


async def test_who_is_slower_changes_nothing(rig: Rig) -> None:
    await rig.mine.put_webhook(WHOLE, None, "created")
    faster = msgspec.structs.replace(WHOLE, is_disabled=False)
    slower = msgspec.structs.replace(WHOLE, allow=())
    await rig.theirs.put_webhook(faster, WHOLE, "enabled")

    with pytest.raises(EditConflict, match="whole"):
        await rig.mine.put_webhook(slower, WHOLE, "changed")
    with pytest.raises(EditConflict):
        await rig.mine.delete_webhook(WHOLE)
    with pytest.raises(EditConflict):
        await rig.mine.put_webhook(slower, None, "created")

    assert (await rig.mine.read()).webhooks == {WHOLE.name: faster}
    assert await rig.mine.revision() == 2


async def test_who_is_slower_confirms_no_symbol(rig: Rig) -> None:
    await rig.theirs.put_symbol(ENTRY, None)

    with pytest.raises(EditConflict):
        await rig.mine.put_symbol(SymbolEntry("BTCUSDT", Market("OTHER")), None)
    with pytest.raises(EditConflict):
        await rig.mine.delete_symbol(SymbolEntry("BTCUSDT", Market("OTHER")))

    assert (await rig.mine.read()).symbols == (ENTRY,)


async def test_what_was_deleted_is_not_brought_back_by_a_change(rig: Rig) -> None:
    await rig.mine.put_webhook(PLAIN, None, "created")
    await rig.theirs.delete_webhook(PLAIN)

    with pytest.raises(EditConflict):
        await rig.mine.put_webhook(msgspec.structs.replace(PLAIN, is_disabled=True), PLAIN, "disabled")

    assert (await rig.mine.read()).webhooks == {}


async def test_symbols_are_kept_apart_by_exchange_and_account_and_not_by_case(rig: Rig) -> None:
    lower = SymbolEntry("btcusdt", Market("BTC/USDT"))
    for entry in (SCOPED, lower):
        await rig.mine.put_symbol(entry, None)
    with pytest.raises(EditConflict):
        await rig.mine.put_symbol(SymbolEntry("BtcUsdt", Market("OTHER")), None)

    assert (await rig.mine.read()).symbols == (ENTRY, SCOPED)


async def test_at_the_memory_limit_both_are_read_and_changed(rig: Rig) -> None:
    """A webhook must be disabled then of all times, and a worker that starts then must know the symbols."""
    await rig.mine.put_webhook(PLAIN, None, "created")
    await rig.store.client.config_set("maxmemory", "1")

    assert (await rig.mine.read()).webhooks == {PLAIN.name: PLAIN}
    await rig.mine.put_webhook(msgspec.structs.replace(PLAIN, is_disabled=True), PLAIN, "disabled")

    tables = await rig.mine.read()
    assert (tables.revision, tables.webhooks[PLAIN.name].is_disabled) == (2, True)


async def test_no_table_is_older_than_the_revision_that_it_is_taken_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again once the revision has risen then misses no change."""
    await rig.mine.put_webhook(PLAIN, None, "created")
    asked: list[str] = []
    plan = Pipeline.pipeline_execute_command

    def noting(pipeline: Pipeline, *command: str, **options: Any) -> Pipeline:
        asked.append(command[1])
        return plan(pipeline, *command, **options)

    monkeypatch.setattr(Pipeline, "pipeline_execute_command", noting)
    await rig.theirs.read()

    keys = rig.store.keys
    assert asked == [keys.meta, keys.webhooks, keys.symbols]


async def test_a_call_that_is_sent_again_is_done_once(redis_server: RedisServer, rig: Rig) -> None:
    script = Script("configure")
    await rig.store.client.script_load(script.source)
    with Proxy(redis_server.url) as proxy:
        client = connect(proxy.url, timeout_s=5)
        try:
            tables = TableStore(client, Keys())
            proxy.lose_next_reply(script.sha.encode())
            with pytest.raises(StoreUnavailable):
                await tables.put_webhook(PLAIN, None, "created")
            await tables.put_webhook(PLAIN, None, "created")
            proxy.lose_next_reply(script.sha.encode())
            with pytest.raises(StoreUnavailable):
                await tables.delete_webhook(PLAIN)
            await tables.delete_webhook(PLAIN)
        finally:
            await client.aclose()

    assert await rig.journal() == [("WEBHOOK", "created", "plain"), ("WEBHOOK", "deleted", "plain")]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"junk", b"[]", b'{"name":"bad"}', b'{"name":1,"accounts":[]}', b"\xff"]
)
async def test_a_webhook_that_cannot_be_read_is_named_and_hides_no_other(rig: Rig, body: bytes) -> None:
    await rig.mine.put_webhook(PLAIN, None, "created")
    await rig.store.client.hset(rig.store.keys.webhooks, "bad", body)
    await rig.store.client.hset(rig.store.keys.webhooks, b"\xff", body)

    tables = await rig.mine.read()

    assert tables.webhooks == {PLAIN.name: PLAIN}
    assert set(tables.unreadable_webhooks) == {"bad", "\\xff"}


async def test_a_field_of_no_symbol_is_named_and_hides_no_other(rig: Rig) -> None:
    await rig.mine.put_symbol(ENTRY, None)
    await rig.store.client.hset(rig.store.keys.symbols, "BTCUSDT|", "X")

    tables = await rig.mine.read()

    assert tables.symbols == (ENTRY,)
    assert tables.unreadable_symbols == ("BTCUSDT|",)


async def test_without_redis_nothing_is_assumed(redis_server: RedisServer) -> None:
    client = connect("redis://127.0.0.1:1/0", timeout_s=1)
    tables = TableStore(client, Keys())
    try:
        for call in (tables.read, tables.revision, lambda: tables.put_webhook(PLAIN, None, "created")):
            with pytest.raises(StoreUnavailable) as caught:
                await call()
            assert not isinstance(caught.value, EditConflict)
    finally:
        await client.aclose()
