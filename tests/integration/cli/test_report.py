"""`bascule report`: what came in within a period, and what became of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libs.common.store.keys import Keys
from libs.common.store.shards import Shards
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore
from tests.support.redis_server import RedisServer
from tests.support.sharded_store import ShardedStore, fill_shards


async def a_day(store: FilledStore) -> None:
    await store.admit("AAA", strategy="trend", sender_id="same")
    await store.execute("100.5")
    await store.admit("AAA", strategy="trend", sender_id="same")
    await store.admit("BBB", strategy="breakout", accounts=("desk",), webhook="other")
    await store.reject()
    await store.admit("CCC", accounts=("paper",))
    await store.refuse("invalid_action", 422, field="action")
    await store.refuse(webhook="other")


def sections(text: str) -> dict[str, list[list[str]]]:
    """Return the rows of each table by the first word of its heading."""
    tables = [table.splitlines() for table in text.split("\n\n")[1:]]
    return {lines[0].split("  ")[0]: [line.split("  ")[0].split() for line in lines[1:]] for lines in tables}


def test_a_report_shows_what_came_in_and_what_became_of_it(bascule: CommandLine) -> None:
    bascule.fill(a_day)

    outcome = bascule("report")

    assert outcome.code == 0
    facts = {line.split()[0]: line[10:] for line in outcome.out.split("\n\n")[0].splitlines()}
    assert facts["period"].endswith(", 1 d")
    assert facts["posts"] == "3 admitted, 1 duplicate, 2 refused"
    assert facts["alerts"] == "3; instructions made of them: 3"
    assert facts["outcome"] == "1 EXECUTED, 1 REJECTED, 1 open"
    assert facts["orders"] == "1 FILLED, 1 REJECTED"
    assert facts["filled"] == "1 of 2, in full or in part"
    assert facts["slippage"] == "50 bps median, 50 p90, 50 worst (fills: 1)"
    found = sections(outcome.out)
    assert found["STRATEGY"] == [["-"], ["breakout"], ["trend"]]
    assert found["SYMBOL"] == [["AAA"], ["BBB"], ["CCC"]]
    assert found["ACCOUNT"] == [["paper"], ["desk"]]
    assert found["WEBHOOK"] == [["default"], ["other"]]
    assert sorted(found["OUTCOME"]) == [["EXECUTED"], ["QUEUED"], ["REJECTED"]]
    assert len(found["NOT ADMITTED"]) == 3
    assert [row[0] for row in found["LATENCY"]] == ["received", "received", "sent", "sent"]


def test_a_reports_document_has_every_promised_field(bascule: CommandLine) -> None:
    bascule.fill(a_day)

    document = bascule("report", "--json").json

    assert document["until_ms"] - document["since_ms"] == 86_400_001
    assert document["posts"] == {"admitted": 3, "duplicate": 1, "refused": 2}
    assert (document["alerts"], document["instructions"], document["fills"]) == (3, 3, 1)
    assert document["states"] == {
        "EXECUTED": 1,
        "SKIPPED": 0,
        "QUEUED": 1,
        "ACTIVE": 0,
        "REJECTED": 1,
        "EXPIRED": 0,
        "DEAD": 0,
    }
    assert {"state": "REJECTED", "reason": "venue_rejected", "count": 1} in document["outcomes"]
    assert {"webhook": "other", "status": 401, "reason": "unauthorized", "count": 1} in document["refusals"]
    assert document["duplicates"] == [{"webhook": "default", "count": 1}]
    assert document["orders"] == {"FILLED": 1, "REJECTED": 1}
    assert set(document["latency_ms"]) == {
        "received_to_admitted",
        "received_to_sent",
        "sent_to_answered",
        "sent_to_filled",
    }
    assert set(document["latency_ms"]["received_to_sent"]) == {"count", "p50", "p90", "p99", "worst"}
    assert document["slippage_bps"] == {"count": 1, "p50": 50.0, "p90": 50.0, "worst": 50.0, "best": 50.0}
    trend = next(one for one in document["strategies"] if one["strategy"] == "trend")
    assert (trend["alerts"], trend["states"]["EXECUTED"], trend["received_to_sent_ms"]["count"]) == (1, 1, 1)
    assert {one["account"]: one["alerts"] for one in document["accounts"]} == {"paper": 2, "desk": 1}
    assert {one["webhook"] for one in document["webhooks"]} == {"default", "other"}
    assert document["missing"]["shards"] == []
    assert (document["missing"]["records_gone"], document["missing"]["records_unreadable"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "alerts", "posts"),
    [
        (("--webhook", "Other"), 1, {"admitted": 1, "duplicate": 0, "refused": 1}),
        (("--strategy", "trend"), 1, None),
        (("--account", "desk"), 1, None),
        (("--symbol", "aaa"), 1, None),
        (("--since", "2h", "--until", "1h"), 0, {"admitted": 0, "duplicate": 0, "refused": 0}),
    ],
)
def test_a_report_is_filtered(
    bascule: CommandLine, options: tuple[str, ...], alerts: int, posts: dict[str, int] | None
) -> None:
    bascule.fill(a_day)

    document = bascule("report", "--json", *options).json

    assert (document["alerts"], document["posts"]) == (alerts, posts)
    assert bascule("report", *options).code == 0


@pytest.mark.parametrize("until", ["24h", "25h"])
def test_a_period_that_ends_before_it_begins_is_refused(bascule: CommandLine, until: str) -> None:
    outcome = bascule("report", "--until", until)

    assert (outcome.code, outcome.out) == (2, "")


def test_names_that_nothing_knows_are_refused(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("report", "--account", "nobody")

    assert outcome.code == 1
    assert "no account nobody: there are paper, desk" in outcome.err


def test_what_the_figures_lack_is_said_beside_them(bascule: CommandLine) -> None:
    async def steps(store: FilledStore) -> None:
        await a_day(store)
        gone = await store.admit("DDD")
        await store.client.delete(store.keys.alert(gone))

    bascule.fill(steps)

    said = bascule("report").err

    assert "the journal begins" in said
    assert "1 more alerts came in, of which nothing is kept any longer" in said
    assert "refusals of strangers are kept as a sample" in said
    assert "posts that were answered 5xx are not kept" in said
    assert "left out" in bascule("report", "--symbol", "AAA").err


def test_an_empty_report_has_no_tables(bascule: CommandLine) -> None:
    outcome = bascule("report")

    assert outcome.code == 0
    assert "alerts    0" in outcome.out
    assert sections(outcome.out) == {}


def test_long_tables_show_what_there_is_most_of_and_json_everything(bascule: CommandLine) -> None:
    async def many(store: FilledStore) -> None:
        for number in range(12):
            await store.admit(f"S{number}")
        await store.admit("S11")

    bascule.fill(many)

    lines = bascule("report").out.splitlines()

    heading = next(number for number, line in enumerate(lines) if line.startswith("SYMBOL"))
    assert lines[heading + 1].split()[:2] == ["S11", "2"]
    assert lines[heading + 11] == "and 2 more"
    assert len(bascule("report", "--json").json["symbols"]) == 12


async def on_all_shards(store: ShardedStore) -> None:
    await store.admit(accounts=("scalp", "main"))
    await store.of("main").execute()
    await store.admit(accounts=("gamma",))


@pytest.fixture
def cut_off(
    bascule: CommandLine, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Has a shard lie where nobody answers, once it is called."""
    there = Shards.open

    def cut(number: int) -> None:
        def opened(url: str, count: int, **options: Any) -> Shards:
            found = list(there(url, count, **options))
            if count > number > 0:
                found[number] = there("unix:///nowhere/redis.sock", count, timeout_s=1)[number]
            return Shards(found)

        monkeypatch.setattr("libs.common.store.readings.Shards.open", opened)

    return cut


def test_a_shard_that_is_away_is_named_and_the_others_are_counted(
    bascule: CommandLine, redis_server: RedisServer, cut_off: Callable[[int], None]
) -> None:
    fill_shards(redis_server.url, on_all_shards)
    assert bascule("report", "--json").json["alerts"] == 2
    cut_off(1)

    outcome = bascule("report", "--json")

    assert outcome.code == 3
    assert outcome.json["alerts"] == 1
    [missing] = outcome.json["missing"]["shards"]
    assert missing["shard"] == 1
    assert "shard 1 did not answer, and is left out" in outcome.err


def test_of_an_account_its_own_shard_is_enough(
    bascule: CommandLine,
    redis_server: RedisServer,
    cut_off: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    fill_shards(redis_server.url, on_all_shards)
    path = tmp_path / "bridge.yaml"
    path.write_text(
        "redis: {shards: 4}\nwebhooks: {default: {secret: WEBHOOK_SECRET, accounts: [main]}}\n"
        "accounts: {main: {broker: paper}}\n"
    )
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    cut_off(1)

    outcome = bascule("report", "--json", "--account", "main")

    assert outcome.code == 0
    assert (outcome.json["alerts"], outcome.json["fills"]) == (1, 1)


def test_what_is_no_stream_is_a_failure_and_no_empty_report(bascule: CommandLine) -> None:
    async def spoil(store: FilledStore) -> None:
        await store.client.set(Keys().journal, "x")

    bascule.fill(spoil)

    outcome = bascule("report")

    assert (outcome.code, outcome.out) == (1, "")
