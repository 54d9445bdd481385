"""Every command over four shards: the address of Redis suffices, and what belongs together is shown together."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import orjson
import pytest

from cli import flatten
from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import PLAIN_VERSION
from libs.common.store.keys import Keys
from libs.common.store.operator_alerts import OperatorAlert
from libs.common.store.published import Published, PublishedPosition
from libs.common.store.readings import Readings
from libs.common.store.shards import Shards
from tests.integration.cli.conftest import CommandLine
from tests.support.redis_server import RedisServer
from tests.support.sharded_store import ACCOUNTS, SHARDS, ShardedStore, fill_shards

T = TypeVar("T")

PAUSE = ("halt", "--mode", "pause", "--reason", "news")

CONFIG = """
redis: {shards: 4}
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [scalp, main]}}
accounts:
  main: {broker: paper, cash: 1000, currency: EUR}
  gamma: {broker: paper}
  paper: {broker: paper}
  scalp: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET}
"""

Fill = Callable[[Callable[[ShardedStore], Awaitable[T]]], T]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    return path


@pytest.fixture
def shards(bascule: CommandLine, redis_server: RedisServer) -> Callable[..., object]:
    """Takes steps on a store of four shards."""

    async def nothing(_: ShardedStore) -> None:
        """Only the number of shards is noted."""

    fill_shards(redis_server.url, nothing)
    return lambda steps: fill_shards(redis_server.url, steps)


@pytest.fixture
def cut_off(shards: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the third shard lie where nobody answers, once it is called."""
    there = Shards.open

    def opened(url: str, count: int, **options: object) -> Shards:
        found = list(there(url, count, **options))  # type: ignore[arg-type]
        if count > 2:
            found[2] = there("unix:///nowhere/redis.sock", count, timeout_s=1)[2]
        return Shards(found)

    return lambda: monkeypatch.setattr("libs.common.store.readings.Shards.open", opened)


@pytest.fixture
def cut_off_first(shards: object, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the first shard lie where nobody answers, once it is called; how many there are is known."""
    there = Shards.open

    def opened(url: str, count: int, **options: object) -> Shards:
        found = list(there(url, count, **options))  # type: ignore[arg-type]
        if count > 2:
            found[0] = there("unix:///nowhere/redis.sock", count, timeout_s=1)[0]
        return Shards(found)

    return lambda: monkeypatch.setattr("libs.common.store.readings.Shards.open", opened)


async def at_work(store: ShardedStore) -> None:
    """A worker and a reaper serve each shard; one lane is held, and one waits."""
    for part in store.stores:
        await part.lanes.create_group()
        await part.client.zadd(part.keys.workers, {"worker-a": (await part.client.time())[0] * 1_000})
        await part.upkeep.promote()
        await part.upkeep.reclaim(lease_ms=6_000)
    await store.admit(accounts=("main",))
    await store.of("main").take()
    await store.admit(accounts=("scalp",))


def test_status_sums_up_all_shards(bascule: CommandLine, shards: Fill[None]) -> None:
    shards(at_work)

    outcome = bascule("status", "--json")

    document = outcome.json
    assert (outcome.code, document["reasons"]) == (0, [])
    assert (document["lanes"]["held"], document["lanes"]["ready"], document["waiting"]) == (1, 1, 2)
    assert [(one["name"], one["pending"], one["is_live"]) for one in document["workers"]] == [
        ("worker-a", 1, True)
    ]
    redis = document["redis"]
    assert (redis["shards"], redis["shards_away"]) == (SHARDS, [])
    assert [one["shards"] for one in redis["servers"]] == [[0, 1, 2, 3]]
    assert "4 shards" in bascule("status").out


def test_status_names_a_shard_that_is_away_and_shows_the_others(
    bascule: CommandLine, shards: Fill[None], cut_off: Callable[[], None]
) -> None:
    shards(at_work)
    cut_off()

    outcome = bascule("status", "--json")

    assert outcome.code == 3
    [reason] = outcome.json["reasons"]
    assert "shard 2 does not answer" in reason
    assert outcome.json["waiting"] == 2
    assert outcome.json["redis"]["shards_away"] == [2]


def test_status_names_the_shards_that_no_worker_serves(bascule: CommandLine, shards: Fill[None]) -> None:
    async def without_some(store: ShardedStore) -> None:
        await at_work(store)
        for number in (1, 3):
            await store.stores[number].client.delete(store.stores[number].keys.workers)

    shards(without_some)

    [reason] = bascule("status", "--json").json["reasons"]
    assert "no worker is alive for shards 1, 3" in reason


def test_an_alert_is_shown_with_what_became_of_it_on_every_shard(
    bascule: CommandLine, shards: Fill[str]
) -> None:
    async def steps(store: ShardedStore) -> str:
        alert = await store.admit(accounts=("scalp", "main"), sender_id="mine")
        await store.of("main").execute()
        await store.of("scalp").reject()
        return alert

    alert = shards(steps)

    for name in (alert, alert[:-2], "mine"):
        document = bascule("alerts", name, "--json").json
        assert (document["alert_id"], document["state"]) == (alert, "REJECTED")
        assert [(one["account"], one["state"]) for one in document["instructions"]] == [
            ("scalp", "REJECTED"),
            ("main", "EXECUTED"),
        ]
        assert [one["event"] for one in document["history"] if one["account"] == "main"] == [
            "QUEUED",
            "SENDING",
            "EXECUTED",
        ]
        times = [one["at_ms"] for one in document["history"]]
        assert times == sorted(times)
        assert len(times) == 6
    [listed] = bascule("alerts", "--state", "rejected", "--json").json
    assert listed["alert_id"] == alert


def test_lists_are_merged_by_time_with_their_limit(bascule: CommandLine, shards: Fill[list[str]]) -> None:
    async def steps(store: ShardedStore) -> list[str]:
        ids = []
        for number in range(8):
            account = ACCOUNTS[number % 4]
            ids.append(str(await store.admit(f"S{number}", accounts=(account,))))
            await store.of(account).execute()
            await store.next_moment()
        return ids

    ids = shards(steps)

    assert [one["alert_id"] for one in bascule("alerts", "--limit", "5", "--json").json] == ids[:2:-1]
    assert [one["alert_id"] for one in bascule("orders", "--limit", "5", "--json").json] == ids[:2:-1]
    assert [one["alert_id"] for one in bascule("events", "--limit", "5", "--json").json] == ids[:2:-1]


def test_a_list_of_which_a_shard_is_missing_is_a_failure_that_names_it(
    bascule: CommandLine, cut_off: Callable[[], None]
) -> None:
    cut_off()

    outcome = bascule("alerts")

    assert (outcome.code, outcome.out) == (1, "")
    assert "no answer from Redis" in outcome.err
    assert "shard 2: " in outcome.err


@pytest.mark.parametrize("is_configured", [True, False])
def test_lists_of_an_account_need_its_own_shard_alone(
    bascule: CommandLine,
    config: Path,
    shards: Fill[str],
    cut_off: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    is_configured: bool,
) -> None:
    async def steps(store: ShardedStore) -> str:
        alert = await store.admit(accounts=("scalp", "paper"))
        await store.of("scalp").reject()
        await store.of("paper").execute()
        return alert

    alert = shards(steps)
    if not is_configured:
        monkeypatch.delenv("BASCULE_CONFIG")
    whole = bascule("alerts", "--account", "scalp", "--json")
    assert [len(one["instructions"]) for one in whole.json] == [2]
    assert whole.err == ""
    cut_off()

    for words in (("alerts",), ("orders",), ("dead-letters", "list")):
        found = bascule(*words, "--account", "scalp", "--json")
        assert (found.code, [one["alert_id"] for one in found.json]) == (0, [alert])
        assert "shard 2: " in found.err
        assert "is left out" in found.err
        for other in ("paper", "nobody"):
            refused = bascule(*words, "--account", other)
            assert (refused.code, refused.out) == (1, "")
            assert "shard 2: " in refused.err or "no account nobody" in refused.err


def test_positions_and_tail_of_an_account_need_its_own_shard_alone(
    bascule: CommandLine, config: Path, shards: Fill[str], cut_off: Callable[[], None]
) -> None:
    async def steps(store: ShardedStore) -> str:
        return await store.admit(accounts=("main", "paper"))

    alert = shards(steps)
    assert bascule("paper", "price", "gamma", "BTCUSDT", "100").code == 0
    cut_off()

    tail = bascule("tail", "--account", "MAIN", "--since", "1min", "--count", "1", "--json")
    assert [orjson.loads(line)["alert_id"] for line in tail.out.splitlines()] == [alert]
    assert bascule("positions", "--account", "main").code == 0
    refused = bascule("positions")
    assert (refused.code, "shard 2: " in refused.err) == (1, True)


def test_a_list_asks_another_shard_for_the_time_where_the_first_is_away(
    bascule: CommandLine, config: Path, shards: Fill[str], cut_off_first: Callable[[], None]
) -> None:
    async def steps(store: ShardedStore) -> str:
        return await store.admit(accounts=("scalp",))

    alert = shards(steps)
    cut_off_first()

    assert [one["alert_id"] for one in bascule("alerts", "--account", "scalp", "--json").json] == [alert]
    assert "shard 0: " in bascule("alerts").err


def test_a_tail_merges_the_journals_of_all_shards(bascule: CommandLine, shards: Fill[str]) -> None:
    async def steps(store: ShardedStore) -> str:
        alert = await store.admit(accounts=("scalp", "main", "gamma"))
        for account in ("scalp", "main", "gamma"):
            await store.of(account).execute()
        return alert

    alert = shards(steps)

    lines = [
        orjson.loads(line)
        for line in bascule("tail", "--since", "1min", "--count", "10", "--json").out.splitlines()
    ]

    assert [one["kind"] for one in lines].count("post") == 1
    assert {one["alert_id"] for one in lines} == {alert}
    times = [one["at_ms"] for one in lines]
    assert times == sorted(times)


def test_dead_letters_are_found_by_their_ids_wherever_they_lie(
    bascule: CommandLine, shards: Fill[None]
) -> None:
    async def steps(store: ShardedStore) -> None:
        for account in ("gamma", "scalp", "main"):
            await store.admit(accounts=(account,))
            await store.of(account).reject(with_order=False)
            await store.next_moment()

    shards(steps)
    listed = bascule("dead-letters", "list", "--json").json
    assert [one["account"] for one in listed] == ["main", "scalp", "gamma"]

    shown = bascule("dead-letters", "show", listed[1]["dead_letter_id"], "--json").json
    assert shown["account"] == "scalp"
    assert [one["event"] for one in shown["history"]][-1] == "DEAD"
    assert bascule("dead-letters", "replay", listed[1]["alert_id"], "--json").json["outcome"] == "replayed"
    assert bascule("dead-letters", "discard", listed[2]["dead_letter_id"]).code == 0
    assert [one["account"] for one in bascule("dead-letters", "list", "--json").json] == ["main"]


def test_dead_letters_of_one_alert_are_told_apart_by_account(bascule: CommandLine, shards: Fill[str]) -> None:
    async def steps(store: ShardedStore) -> str:
        alert = await store.admit(accounts=("gamma", "scalp"))
        for account in ("gamma", "scalp"):
            await store.of(account).reject(with_order=False)
        return alert

    alert = shards(steps)

    refused = bascule("dead-letters", "replay", alert)
    assert refused.code == 1
    assert "give the id of one, or choose with --account: " in refused.err
    again = bascule("dead-letters", "replay", alert, "--account", "scalp", "--json")
    assert again.json["account"] == "scalp"
    assert bascule("dead-letters", "discard", alert, "--account", "gamma").code == 0


@pytest.mark.leaves_keys("dead letters that no instruction stands behind")
def test_dead_letters_of_one_id_are_told_apart_by_account(bascule: CommandLine, shards: Fill[None]) -> None:
    async def steps(store: ShardedStore) -> None:
        for account in ("gamma", "scalp"):
            part = store.of(account)
            fields = {"account": account, "state": "DEAD", "version": str(PLAIN_VERSION)}
            await part.client.xadd(part.keys.dead, fields, id="5-0")

    shards(steps)

    refused = bascule("dead-letters", "discard", "5-0")
    assert refused.code == 1
    assert "choose with --account: gamma, scalp" in refused.err
    assert (
        bascule("dead-letters", "discard", "5-0", "--account", "scalp", "--json").json["account"] == "scalp"
    )
    assert [one["account"] for one in bascule("dead-letters", "list", "--json").json] == ["gamma"]


def test_a_halt_is_set_on_every_shard_and_lifted_on_every_shard(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    outcome = bascule(*PAUSE, "--account", "scalp", "--json")

    assert outcome.code == 0
    assert outcome.json["shards"] == [
        {"shard": number, "is_done": True, "error": None} for number in range(SHARDS)
    ]
    with bascule.redis.client() as client:
        for number in range(SHARDS):
            assert client.hlen(Keys(number).halts) == 1
    [listed] = bascule("halts", "--json").json
    assert (listed["account"], listed["mode"]) == ("scalp", "pause")
    resumed = bascule("resume", "--account", "scalp", "--json")
    assert (resumed.code, resumed.json["outcome"]) == (0, "resumed")
    assert bascule("halts", "--json").json == []
    assert bascule("resume", "--account", "scalp").code == 1


def test_a_halt_that_one_shard_did_not_take_exits_1_and_says_so_and_may_be_repeated(
    bascule: CommandLine, shards: Fill[None], cut_off: Callable[[], None]
) -> None:
    cut_off()

    outcome = bascule(*PAUSE)

    assert outcome.code == 1
    assert "pause of everything is set on shards 0, 1, 3 only" in outcome.out
    assert "NOT set on shard 2: " in outcome.err
    assert "run the same command again" in outcome.err
    assert [one["is_done"] for one in bascule(*PAUSE, "--json").json["shards"]] == [True, True, False, True]
    resumed = bascule("resume")
    assert resumed.code == 1
    assert "NOT lifted on shard 2: " in resumed.err


def test_a_halt_of_an_account_needs_the_accounts_own_shard_alone(
    bascule: CommandLine, config: Path, shards: Fill[None], cut_off: Callable[[], None]
) -> None:
    shards(at_work)
    cut_off()

    outcome = bascule(*PAUSE, "--account", "scalp")
    assert outcome.code == 0
    assert "pause of account scalp is set: " in outcome.out
    assert "not noted on shard 2: " in outcome.err
    assert "trading goes on" not in outcome.err
    outcome = bascule("resume", "--account", "scalp")
    assert outcome.code == 0
    assert "still noted on shard 2: " in outcome.err

    outcome = bascule(*PAUSE, "--account", "paper")
    assert outcome.code == 1
    assert "NOT set on shard 2: " in outcome.err
    assert bascule("resume", "--account", "paper").code == 1


def test_a_halt_of_an_account_that_another_shard_did_not_note_is_no_ailment(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    bascule(*PAUSE, "--account", "scalp")
    with bascule.redis.client() as client:
        client.delete(Keys(1).halts)
        assert bascule("halts").err == ""
        client.delete(Keys(3).halts)
    assert "is not set on shard 3, where trading goes on" in bascule("halts").err


def test_a_halt_that_some_shards_lack_is_an_ailment(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    shards(at_work)
    bascule(*PAUSE)
    with bascule.redis.client() as client:
        client.delete(Keys(1).halts)

    assert "pause of everything is not set on shard 1" in bascule("halts").err
    assert any("is not set on shard 1" in one for one in bascule("status", "--json").json["reasons"])
    found = {one["detail"]: one["verdict"] for one in bascule("doctor", "--json").json["findings"]}
    assert [verdict for detail, verdict in found.items() if "not set on shard 1" in detail] == ["wrong"]

    assert bascule(*PAUSE).code == 0
    assert bascule("halts").err == ""


def test_positions_of_all_shards_are_listed(bascule: CommandLine, config: Path, shards: Fill[None]) -> None:
    async def steps(store: ShardedStore) -> None:
        for account in ("scalp", "gamma"):
            part = store.of(account)
            published = Published(part.client, part.keys)
            position = PublishedPosition(quantity=2, at_ms=1)  # type: ignore[arg-type]
            await published.publish_position(AccountName(account), Market("BTC"), position)

    shards(steps)

    assert [one["account"] for one in bascule("positions", "--json").json] == ["scalp"]


def test_without_a_configuration_the_accounts_of_all_shards_are_found(
    bascule: CommandLine, shards: Fill[None]
) -> None:
    async def steps(store: ShardedStore) -> None:
        for account in ACCOUNTS:
            part = store.of(account)
            position = PublishedPosition(quantity=2, at_ms=1)  # type: ignore[arg-type]
            published = Published(part.client, part.keys)
            await published.publish_position(AccountName(account), Market("BTC"), position)

    shards(steps)

    assert [one["account"] for one in bascule("positions", "--json").json] == sorted(ACCOUNTS)


def test_the_paper_books_of_an_account_lie_on_its_shard(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    assert bascule("paper", "price", "gamma", "BTCUSDT", "100").code == 0

    with bascule.redis.client() as client:
        assert client.exists(Keys(1).paper(AccountName("gamma"), "positions")) == 1
    assert bascule("paper", "orders", "gamma", "--json").json == []


def test_flattening_goes_through_the_lanes_of_the_accounts_shard(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    outcome = bascule("flatten", "scalp", "--symbol", "BTCUSDT", "--halt", "--yes", "--no-wait", "--json")

    assert outcome.code == 0
    ids = [one["alert_id"] for one in outcome.json["instructions"]]
    with bascule.redis.client() as client:
        assert client.xlen(Keys(3).lane("scalp:BTCUSDT")) == 2  # type: ignore[arg-type]
    for alert in ids:
        assert bascule("alerts", alert, "--json").json["account"] == "scalp"
    assert [one["account"] for one in bascule("halts", "--json").json] == ["scalp"]


def test_flattening_waits_for_the_accounts_shard_alone(
    bascule: CommandLine,
    config: Path,
    shards: Fill[None],
    cut_off: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def sent_and_ended(
        readings: Readings, account: AccountName, *_: object
    ) -> tuple[list[OperatorAlert], list[AlertId]]:
        store = ShardedStore(readings._shards, "worker-a")
        alert = await store.admit(accounts=(account,))
        await store.of(account).execute()
        return [OperatorAlert(account, Market("BTCUSDT"), Action.CLOSE_ALL)], [alert]

    monkeypatch.setattr(flatten, "_send", sent_and_ended)
    cut_off()

    outcome = bascule("flatten", "scalp", "--symbol", "BTCUSDT", "--yes", "--timeout", "1s", "--json")

    assert outcome.code == 0
    assert [one["state"] for one in outcome.json["instructions"]] == ["EXECUTED"]


def test_an_order_is_settled_on_its_shard(bascule: CommandLine, shards: Fill[str]) -> None:
    async def steps(store: ShardedStore) -> str:
        await store.admit(accounts=("scalp",))
        part = store.of("scalp")
        intent = await part.begin(*await part.take())
        key = part.keys.order(intent.client_order_id)
        await part.client.hset(key, mapping={"state": "UNKNOWN", "expires_at": "1"})
        return intent.client_order_id

    order = shards(steps)

    outcome = bascule("orders", "resolve", order, "--as", "filled", "--reason", "seen", "--yes", "--json")

    assert outcome.code == 0
    assert (outcome.json["client_order_id"], outcome.json["state"]) == (order, "FILLED")


def test_a_preview_knows_what_the_shard_of_the_first_account_has_seen(
    bascule: CommandLine, config: Path, shards: Fill[str], tmp_path: Path
) -> None:
    async def steps(store: ShardedStore) -> str:
        return await store.admit("BTCUSDT", accounts=("scalp", "main"), sender_id="id:n1")

    alert = shards(steps)
    body = tmp_path / "alert.json"
    body.write_text('{"secret":"x","id":"n1","symbol":"BTCUSDT","action":"buy"}')

    assert bascule("preview", str(body), "--json").json["dedup"]["alert_id"] == alert


def test_what_belongs_to_no_account_lies_on_the_first_shard(
    bascule: CommandLine, config: Path, shards: Fill[None]
) -> None:
    outcome = bascule(
        "symbols", "confirm", "BTC", "--account", "scalp", "--market", "BTCUSDT", "--force", "--json"
    )

    assert outcome.code == 0
    with bascule.redis.client() as client:
        assert client.hlen(Keys(0).symbols) == 1
    assert bascule("symbols", "list", "--json").json[0]["market"] == "BTCUSDT"


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_configuration_that_says_another_number_of_shards_is_wrong(
    bascule: CommandLine, config: Path, shards: Fill[None], command: str
) -> None:
    def finding() -> tuple[str, str]:
        [found] = [
            one for one in bascule(command, "--json").json["findings"] if one["subject"] == "redis shards"
        ]
        return found["verdict"], f"{found['detail']} {found['remedy']}"

    assert finding()[0] == "ok"

    config.write_text(CONFIG.replace("shards: 4", "shards: 2"))
    verdict, words = finding()
    assert verdict == "wrong"
    assert "redis.shards is 2, and what Redis holds is spread over 4" in words
    assert "set redis.shards: 4" in words


def test_a_redis_that_was_used_with_one_shard_is_not_taken_for_an_empty_one(
    bascule: CommandLine, config: Path
) -> None:
    with bascule.redis.client() as client:
        client.hset(Keys().meta, "run_id", "some")

    findings = bascule("check", "--json").json["findings"]

    [found] = [one for one in findings if one["subject"] == "redis shards"]
    assert (found["verdict"], found["remedy"].split(",")[0]) == ("wrong", "set redis.shards: 1")


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_before_the_first_start_no_number_of_shards_is_wrong(
    bascule: CommandLine, config: Path, command: str
) -> None:
    subjects = [one["subject"] for one in bascule(command, "--json").json["findings"]]
    assert "redis shards" not in subjects


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_a_shard_that_is_away_is_found(
    bascule: CommandLine, cut_off: Callable[[], None], command: str
) -> None:
    cut_off()

    outcome = bascule(command, "--json")

    assert outcome.code == 1
    found = {one["subject"]: one["verdict"] for one in outcome.json["findings"]}
    assert found["redis (shard 2)"] == "wrong"


@pytest.mark.parametrize("which", [(), ("--history",)])
def test_alarms_of_a_shard_that_is_away_are_said_to_be_left_out(
    bascule: CommandLine, cut_off: Callable[[], None], which: tuple[str, ...]
) -> None:
    cut_off()

    outcome = bascule("alarms", *which)

    assert outcome.code == 3
    assert "without shard 2" in outcome.err
