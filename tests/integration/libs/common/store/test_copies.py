"""What counts only once replicas have it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AlertId
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.policy.halts import HaltMode, Scope
from libs.common.policy.shards import HASH
from libs.common.store.batch import Answer, Batch, Item
from libs.common.store.checks import read_server
from libs.common.store.client import connect
from libs.common.store.copies import Copies
from libs.common.store.halts import Halts
from libs.common.store.head import Closed, Head, Held
from libs.common.store.intake import Admitted, Duplicate, Intake
from libs.common.store.keys import Keys
from libs.common.store.order_answers import BegunNext, Go
from libs.common.store.orders import OrderOutcome, Orders, Settlement
from libs.common.store.pipe import Pipe
from libs.common.store.replicas import TooFewReplicas, check_replicas, guard_promise
from libs.common.store.retention import Retention
from libs.common.store.scripts import Script
from libs.common.store.sending import packed
from tests.support.eventually import eventually, eventually_sync
from tests.support.filled_store import FilledStore
from tests.support.fullness import use_memory
from tests.support.redis_server import Binary, RedisServer

TIMEOUT_S = 0.6
KEYS = Keys()
RETENTION = Retention(alerts_ms=60_000, dead_letters_ms=60_000)

pytestmark = pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)


@pytest.fixture
def primary(redis_binary: Binary) -> Iterator[RedisServer]:
    with RedisServer(redis_binary, tcp=True, options={"repl-diskless-sync-delay": "0"}) as server:
        yield server


@pytest.fixture
def replica(primary: RedisServer) -> Iterator[RedisServer]:
    with RedisServer(primary.binary, options={"replicaof": f"127.0.0.1 {primary.port}"}) as server:

        def follows() -> bool:
            with primary.client() as direct:
                return bool(direct.info("replication").get("slave0", {}).get("state") == "online")

        eventually_sync(follows, 20)
        yield server


@pytest.fixture
async def client(primary: RedisServer) -> AsyncIterator[Redis]:
    client = connect(primary.tcp_url, timeout_s=TIMEOUT_S)
    yield client
    await client.aclose()


def wanted(*, is_stamped: bool = True) -> Copies:
    return Copies(1, is_on_disk=True, timeout_s=TIMEOUT_S, stamp=KEYS.probe if is_stamped else "")


def intake(client: Redis) -> Intake:
    return Intake(client, KEYS, copies=wanted())


async def test_a_halt_is_set_and_said_to_be_where_redis_is_full(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    halts = Halts(client, KEYS)
    with primary.client() as direct:
        use_memory(direct, 1.05)
        assert direct.wait(1, 5_000) == 1
    for _ in range(2):
        await halts.set(Scope(), HaltMode.PAUSE, by="me", reason="now", copies=wanted())
    with replica.client() as direct:
        assert direct.hlen(KEYS.halts) == 1


async def test_an_alert_is_admitted_once_a_replica_has_it_and_its_repeat_no_sooner(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    admission = await FilledStore(client).admission()
    again = msgspec.structs.replace(admission, alert_id=AlertId(f"{admission.alert_id}x"))
    first, other = intake(client), connect(primary.tcp_url, timeout_s=TIMEOUT_S)
    second = intake(other)
    await eventually(lambda: is_fit(first))
    await eventually(lambda: is_fit(second))
    replica.freeze()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
        await first.admissions.submit(admission)
    # It stands on the primary, but a fail-over would lose it: by whichever connection it is said again.
    for asked in (first, second):
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
            await asked.admissions.submit(again)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
        await first.probe()
    replica.thaw()

    async def is_known() -> bool:
        try:
            return await second.admissions.submit(again) == Duplicate(admission.alert_id)
        except StoreUnavailable:
            return False

    await eventually(is_known)
    with replica.client() as direct:
        assert direct.exists(KEYS.alert(admission.alert_id))
    await other.aclose()


async def is_fit(one: Intake) -> bool:
    try:
        await one.learn_clock()
    except StoreUnavailable:
        return False
    return True


async def test_a_script_that_the_server_forgot_is_admitted_once_all_the_same(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    one = intake(client)
    await eventually(lambda: is_fit(one))
    with primary.client() as direct:
        direct.script_flush()
    admission = await FilledStore(client).admission()
    assert await one.admissions.submit(admission) == Admitted(admission.alert_id)
    with replica.client() as direct:
        assert direct.xlen(KEYS.lane(admission.routed[0].lane)) == 1


async def test_what_another_connection_wrote_is_waited_for_too(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    pipe = Pipe(client)
    assert await eventually(lambda: is_copied(pipe))
    replica.freeze()
    with primary.client() as direct:
        direct.set(KEYS.probe, "another's", px=10_000)
    assert not await is_copied(pipe)


@pytest.mark.parametrize("is_piped", [False, True])
async def test_a_primary_that_is_one_no_more_is_away_and_no_record_is_wrong(
    primary: RedisServer, replica: RedisServer, client: Redis, *, is_piped: bool
):
    """It answers what is only read, and then that it waits for nobody."""
    where, layout = Pipe(client) if is_piped else client, Script("layout")
    words = ["", "1", HASH]
    await eventually(lambda: is_copied(Pipe(client)))
    await layout.run(where, KEYS.fixed, words)
    with primary.client() as direct:
        direct.replicaof("127.0.0.1", "1")
        before = direct.info("stats")["total_connections_received"]
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="WAIT cannot be used with replica instances"):
            await layout.run(where, KEYS.fixed, words, copies=wanted(is_stamped=False))
    with primary.client() as direct:
        # Of these one is our own: a connection that was told so is used no more.
        assert direct.info("stats")["total_connections_received"] >= before + 2


async def is_copied(pipe: Pipe) -> bool:
    try:
        return bool(await pipe.call_copied(packed(("PING",)), wanted()) == b"PONG")
    except StoreUnavailable:
        return False


async def test_an_order_may_leave_once_a_replica_has_its_intent(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    store = FilledStore(client)
    await store.admit()
    held, head = await store.take()
    orders = Orders(client, KEYS, store.holder, RETENTION, copies=wanted(is_stamped=False))
    intent = store.intent(held, head)
    replica.freeze()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
            await orders.begin.submit(intent)
    replica.thaw()
    begun = await eventually(lambda: _answered(orders.begin, intent))
    assert isinstance(begun, Go)
    with replica.client() as direct:
        assert direct.hget(KEYS.order(intent.client_order_id), "nonce") == intent.nonce


async def test_an_order_that_is_begun_with_the_end_of_the_one_before_leaves_no_sooner(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    store = FilledStore(client)
    await store.admit("BTCUSDT")
    behind = await store.admit("BTCUSDT")
    held, head = await store.take()
    with primary.client() as direct:
        [_, (entry_id, _)] = direct.xrange(KEYS.lane(held.lane))
    intent = store.intent(held, msgspec.structs.replace(head, entry_id=entry_id, alert_id=behind))
    settlement = msgspec.structs.replace(await _ending(store, held, head), intent=intent)
    await store.admit("ETHUSDT")
    last = await _ending(store, *await store.take())
    orders = Orders(client, KEYS, store.holder, RETENTION, copies=wanted(is_stamped=False))
    replica.freeze()
    late = orders.settle.submit(settlement)
    # It shares the flight, and begins nothing: asked again, its lane would be nobody's.
    assert await orders.settle.submit(last) == Closed()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
            await late
        late = orders.settle.submit(settlement)
    replica.thaw()
    await asyncio.wait([late])
    begun = await eventually(lambda: _answered(orders.settle, settlement))
    assert isinstance(begun, BegunNext)
    assert isinstance(begun.begun, Go)
    with replica.client() as direct:
        assert direct.hget(KEYS.order(intent.client_order_id), "nonce") == intent.nonce


async def _ending(store: FilledStore, held: Held, head: Head) -> Settlement:
    """Begin a head, and return its end."""
    order = await store.begin(held, head)
    outcome = OrderOutcome(order.client_order_id, 1, OrderState.FILLED, b"{}")
    return Settlement(held, head.entry_id, InstructionState.EXECUTED, Reason.FILLED, order=outcome)


async def _answered(batch: Batch[Item, Answer], item: Item) -> Answer | None:
    try:
        return await batch.submit(item)
    except StoreUnavailable:
        return None


async def test_a_halt_is_set_once_a_replica_has_it_said_again_or_not(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    halts = Halts(client, KEYS)

    async def halt(copies: Copies) -> bool:
        try:
            await halts.set(Scope(), HaltMode.PAUSE, by="me", reason="x", copies=copies)
        except StoreUnavailable:
            return False
        return True

    replica.freeze()
    assert [await halt(wanted()), await halt(wanted())] == [False, False]
    replica.thaw()
    await eventually(lambda: halt(wanted()))
    with replica.client() as direct:
        assert direct.hlen(KEYS.halts) == 1


@pytest.mark.parametrize("is_piped", [False, True])
async def test_a_primary_that_wants_replicas_refuses_without_them_before_anything_is_written(
    primary: RedisServer, client: Redis, is_piped: bool
):
    with primary.client() as direct:
        direct.config_set("min-replicas-to-write", 1)
        keys = [*KEYS.fixed, KEYS.refused]
        args: list[str | int] = ["", 10_000, "id", "hook", 400, "code", "", "detail", "raw"]
        with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
            await Script("refuse").run(Pipe(client) if is_piped else client, keys, args, copies=wanted())
        assert direct.dbsize() == 0


async def test_a_server_says_which_replicas_follow_it_and_whether_it_would_write_without(
    primary: RedisServer, replica: RedisServer, client: Redis
):
    facts = await read_server(client, "always", replicas=1)
    assert (facts.replicas, facts.least_replicas) == (1, 0)
    check_replicas(facts, 1)
    guard = guard_promise(facts, 1)
    assert guard is not None
    assert not guard.is_kept
    with pytest.raises(TooFewReplicas, match="1 replicas follow Redis"):
        check_replicas(facts, 2)
    with primary.client() as direct:
        direct.config_set("min-replicas-to-write", 1)
    guard = guard_promise(await read_server(client, "always", replicas=1), 1)
    assert guard is not None
    assert guard.is_kept
    assert guard_promise(await read_server(client, "declared", replicas=1), 1) is None
