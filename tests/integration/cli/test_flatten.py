"""`bascule flatten`."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, Market
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.store.keys import Keys
from libs.common.store.published import Published, PublishedPosition
from libs.common.wire import codec
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore, fill

DESK = AccountName("desk")
YES = ("--yes",)


async def two_positions(store: FilledStore) -> None:
    published = Published(store.client, store.keys)
    for market, quantity in (("BTC", 2), ("ETH", -3), ("SOL", 0)):
        position = PublishedPosition(quantity=Decimal(quantity), at_ms=5)
        await published.publish_position(DESK, Market(market), position)


def lane(bascule: CommandLine, market: str, account: str = "desk") -> list[Action]:
    """Return what waits in a lane, oldest first."""
    with bascule.redis.client() as client:
        entries = client.xrange(f"{Keys().prefix}lane:{account}:{market}")
    return [codec.INSTRUCTION.decode(fields["body"].encode()).action for _, fields in entries]


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@contextmanager
def worker(bascule: CommandLine, *ends: InstructionState) -> Iterator[None]:
    """Have a worker end the next instructions so, one after the other."""

    async def work(store: FilledStore) -> None:
        for end in ends:
            for _ in range(30):
                try:
                    held, head = await store.take()
                except ValueError:  # nothing was queued within the second
                    continue
                await store.settle(held, head, end, Reason.FILLED, "as the test wants")
                break

    thread = threading.Thread(target=fill, args=(bascule.redis.url, work))
    thread.start()
    try:
        yield
    finally:
        thread.join(30)
    assert not thread.is_alive()


def test_every_market_gets_a_cancel_and_then_a_close(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    outcome = bascule("flatten", "desk", *YES, "--no-wait", "--json")
    assert outcome.code == 0
    both = [Action.CANCEL, Action.CLOSE_ALL]
    assert (lane(bascule, "BTC"), lane(bascule, "ETH"), lane(bascule, "SOL")) == (both, both, [])
    document = outcome.json
    assert [(one["symbol"], one["quantity"]) for one in document["markets"]] == [("BTC", "2"), ("ETH", "-3")]
    assert [(one["symbol"], one["action"]) for one in document["instructions"]] == [
        ("BTC", "cancel"),
        ("BTC", "close_all"),
        ("ETH", "cancel"),
        ("ETH", "close_all"),
    ]


def test_it_waits_and_tells_each_outcome(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    with worker(bascule, InstructionState.SKIPPED, InstructionState.EXECUTED):
        outcome = bascule("flatten", "desk", *YES, "--symbol", "BTC", "--json")
    assert outcome.code == 0
    assert [one["state"] for one in outcome.json["instructions"]] == ["SKIPPED", "EXECUTED"]


def test_one_that_ends_badly_is_a_failure(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    with worker(bascule, InstructionState.SKIPPED, InstructionState.REJECTED):
        outcome = bascule("flatten", "desk", *YES, "--symbol", "BTC")
    assert outcome.code == 1
    assert "REJECTED" in outcome.out
    assert "as the test wants" in outcome.out


def test_a_wait_that_ends_too_early_is_a_failure_and_they_go_on(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    outcome = bascule("flatten", "desk", *YES, "--timeout", "50ms")
    assert outcome.code == 1
    assert "before 4 of 4 ended; they go on" in outcome.err
    assert "QUEUED" in outcome.out


@pytest.mark.parametrize(
    ("typed", "is_done"), [("desk\n", True), ("DESK\n", False), ("y\n", False), ("", False)]
)
def test_the_accounts_name_must_be_typed(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch, typed: str, is_done: bool
) -> None:
    bascule.fill(two_positions)
    type_in(monkeypatch, typed)
    outcome = bascule("flatten", "desk", "--no-wait")
    assert "BTC" in outcome.out
    assert "Type desk to cancel and close 2 markets:" in outcome.err
    assert (outcome.code == 0) is is_done
    assert bool(lane(bascule, "BTC")) is is_done


def test_an_unknown_account_is_refused_with_those_that_there_are(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("flatten", "nobody", "--yes")
    assert outcome.code == 1
    assert "there are paper, desk" in outcome.err


def test_with_nothing_open_nothing_is_queued(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("flatten", "desk", *YES)
    assert outcome.code == 0
    assert "nothing is known to be open on desk" in outcome.err


def test_a_market_that_is_named_is_closed_though_nothing_is_known_of_it(
    bascule: CommandLine, config: Path
) -> None:
    bascule.fill(two_positions)
    bascule("flatten", "desk", *YES, "--no-wait", "--symbol", "XRP/USDT:USDT", "--symbol", "btc")
    assert len(lane(bascule, "XRP/USDT:USDT")) == len(lane(bascule, "BTC")) == 2
    assert lane(bascule, "ETH") == []


def test_a_reading_that_cannot_be_used_does_not_keep_a_named_market_open(
    bascule: CommandLine, config: Path
) -> None:
    with bascule.redis.client() as client:
        client.hset(Keys().positions(DESK), "BTC", "junk")
    outcome = bascule("flatten", "desk", *YES, "--no-wait")
    assert outcome.code == 1
    assert "name the markets with --symbol" in outcome.err
    assert bascule("flatten", "desk", *YES, "--no-wait", "--symbol", "BTC").code == 0
    assert len(lane(bascule, "BTC")) == 2


def test_what_waits_already_is_closed_after_it_has_traded(bascule: CommandLine, config: Path) -> None:
    async def waiting(store: FilledStore) -> None:
        await store.admit("BTC", accounts=("desk",))

    bascule.fill(waiting)
    bascule("flatten", "desk", *YES, "--no-wait")
    assert lane(bascule, "BTC") == [Action.BUY, Action.CANCEL, Action.CLOSE_ALL]


def test_twice_is_harmless(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    for _ in range(2):
        assert bascule("flatten", "desk", *YES, "--no-wait").code == 0
    assert lane(bascule, "BTC") == [Action.CANCEL, Action.CLOSE_ALL] * 2


@pytest.mark.parametrize(("mode", "fate"), [("reject", "would be refused"), ("pause", "would wait")])
def test_under_a_halt_that_stops_exits_nothing_is_queued(
    bascule: CommandLine, config: Path, mode: str, fate: str
) -> None:
    bascule.fill(two_positions)
    bascule("halt", "--mode", mode, "--reason", "news")
    outcome = bascule("flatten", "desk", *YES, "--no-wait")
    assert outcome.code == 1
    assert fate in outcome.err
    assert lane(bascule, "BTC") == []


def test_it_can_set_close_only_first_in_place_of_what_stops_exits(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    bascule("halt", "--account", "desk", "--mode", "reject", "--reason", "news")
    outcome = bascule("flatten", "desk", *YES, "--no-wait", "--halt", "--reason", "bad fills")
    assert outcome.code == 0
    [halt] = bascule("halts", "--json").json
    assert (halt["account"], halt["mode"], halt["reason"]) == ("desk", "close-only", "bad fills")
    assert len(lane(bascule, "BTC")) == 2


def test_without_it_it_says_that_alerts_keep_coming(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)
    outcome = bascule("flatten", "desk", *YES, "--no-wait")
    assert "bascule halt --account desk --mode close-only" in outcome.err


def test_a_redis_that_is_full_to_its_limit_keeps_nobody_in_his_positions(
    bascule: CommandLine, config: Path
) -> None:
    bascule.fill(two_positions)
    with bascule.redis.client() as client:
        client.config_set("maxmemory", "1")

    outcome = bascule("flatten", "desk", *YES, "--no-wait")

    assert outcome.code == 0, outcome.err
    assert lane(bascule, "ETH") == [Action.CANCEL, Action.CLOSE_ALL]
