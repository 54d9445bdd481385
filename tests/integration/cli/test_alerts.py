from pathlib import Path

import msgspec
import pytest

from libs.common.domain.alert import QuantityUnit
from libs.common.domain.ids import AlertId
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.wire import codec
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

FIELDS = {
    "alert_id",
    "sender_id",
    "state",
    "reason",
    "webhook",
    "strategy",
    "action",
    "quantity",
    "symbol",
    "price",
    "received_at_ms",
    "fired_at_ms",
    "dialect",
    "raw",
    "history",
    "instructions",
}
INSTRUCTION_FIELDS = {
    "account",
    "market",
    "state",
    "reason",
    "client_order_id",
    "orders",
    "slippage_bps",
}


async def executed(store: FilledStore) -> AlertId:
    alert_id = await store.admit("ETHUSDT", quantity="0.10", price="100")
    await store.execute(at_price="100.5")
    return alert_id


async def three(store: FilledStore) -> list[AlertId]:
    """One executed, one refused by its venue, one waiting."""
    ids = [await store.admit("AAA")]
    await store.execute()
    ids.append(await store.admit("BBB"))
    await store.reject()
    ids.append(await store.admit("CCC", accounts=("other",), strategy="trend"))
    return ids


def test_an_alerts_document_has_every_promised_field(bascule: CommandLine) -> None:
    alert_id = bascule.fill(executed)

    document = bascule("alerts", alert_id, "--json").json

    assert document.keys() >= FIELDS
    [instruction] = document["instructions"]
    assert instruction.keys() >= INSTRUCTION_FIELDS
    assert (document["state"], document["reason"]) == ("EXECUTED", "filled")
    assert (document["quantity"], document["price"]) == ("0.10", "100")
    assert (document["symbol"], document["action"], document["webhook"]) == ("ETHUSDT", "buy", "default")
    assert document["raw"] == '{"secret":"***","symbol":"ETHUSDT"}'
    assert instruction["slippage_bps"] == 50
    [order] = instruction["orders"]
    assert order["state"] == "FILLED"
    assert [entry["event"] for entry in document["history"]] == ["QUEUED", "SENDING", "EXECUTED"]


def test_with_one_instruction_the_top_repeats_where_it_went(bascule: CommandLine) -> None:
    alert_id = bascule.fill(executed)

    document = bascule("alerts", alert_id, "--json").json

    [instruction] = document["instructions"]
    assert (document["account"], document["market"]) == ("paper", "ETHUSDT")
    assert document["client_order_id"] == instruction["client_order_id"] is not None


def test_with_several_instructions_the_state_is_the_worst(bascule: CommandLine) -> None:
    async def two_accounts(store: FilledStore) -> AlertId:
        alert_id = await store.admit(accounts=("one", "two"))
        await store.execute()
        await store.reject()
        return alert_id

    document = bascule("alerts", bascule.fill(two_accounts), "--json").json

    assert (document["state"], document["reason"]) == ("REJECTED", "venue_rejected")
    assert [one["state"] for one in document["instructions"]] == ["EXECUTED", "REJECTED"]
    assert "account" not in document


@pytest.mark.parametrize(
    ("account", "state", "is_listed"),
    [("one", "EXECUTED", True), ("one", "REJECTED", False), ("two", "REJECTED", True)],
)
def test_an_account_is_listed_by_its_own_outcome(
    bascule: CommandLine, account: str, state: str, is_listed: bool
) -> None:
    async def two_accounts(store: FilledStore) -> None:
        await store.admit(accounts=("one", "two"))
        await store.execute()
        await store.reject()

    bascule.fill(two_accounts)

    found = bascule("alerts", "--account", account, "--state", state, "--json").json

    assert bool(found) is is_listed


def test_people_see_an_alert_with_its_history(bascule: CommandLine) -> None:
    alert_id = bascule.fill(executed)

    outcome = bascule("alerts", alert_id)

    assert outcome.code == 0
    for word in (alert_id, "EXECUTED", "buy 0.10 ETHUSDT at 100", "QUEUED", "SENDING", "50 bps", "attempt 1"):
        assert word in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("name", "shown"), [("nothing", "nothing"), ("a\x1bb", "a\\x1bb"), ("a b:c", "a b:c")]
)
def test_an_unknown_alert_is_one_line_and_exit_code_1(bascule: CommandLine, name: str, shown: str) -> None:
    outcome = bascule("alerts", name, "--json")

    assert (outcome.code, outcome.out, outcome.err) == (1, "", f"bascule: no alert {shown}\n")


def test_the_beginning_of_an_id_is_enough_where_it_is_unique(bascule: CommandLine) -> None:
    ids = bascule.fill(three)

    assert bascule("alerts", ids[1][:-2], "--json").json["alert_id"] == ids[1]

    ambiguous = bascule("alerts", ids[0][:2])
    assert ambiguous.code == 1
    assert "several alerts" in ambiguous.err


def test_the_list_is_newest_first_and_limited(bascule: CommandLine) -> None:
    ids = bascule.fill(three)

    assert [one["alert_id"] for one in bascule("alerts", "--json").json] == ids[::-1]
    assert [one["alert_id"] for one in bascule("alerts", "--json", "--limit", "1").json] == ids[-1:]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--state", "EXECUTED"), [0]),
        (("--state", "rejected"), [1]),
        (("--symbol", "ccc"), [2]),
        (("--account", "paper"), [1, 0]),
        (("--strategy", "Trend"), [2]),
        (("--since", "1h"), [2, 1, 0]),
        (("--symbol", "nothing"), []),
    ],
)
def test_the_list_is_filtered(bascule: CommandLine, options: tuple[str, ...], expected: list[int]) -> None:
    ids = bascule.fill(three)

    listed = [one["alert_id"] for one in bascule("alerts", "--json", *options).json]

    assert listed == [ids[index] for index in expected]


def test_the_table_has_a_line_for_each(bascule: CommandLine) -> None:
    ids = bascule.fill(three)

    lines = bascule("alerts").out.splitlines()

    assert lines[0].startswith("ALERT ")
    assert "  trend  " in lines[1]
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]


def test_the_table_says_what_a_quantity_counts(bascule: CommandLine) -> None:
    async def in_percent(store: FilledStore) -> None:
        admission = await store.admission(quantity="10")
        alert = codec.ALERT.decode(admission.alert)
        content = msgspec.structs.replace(alert.content, unit=QuantityUnit.PERCENT_OF_EQUITY)
        encoded = codec.ALERT.encode(msgspec.structs.replace(alert, content=content))
        await store.submit(msgspec.structs.replace(admission, alert=encoded))
        await store.admit("ETHUSDT", quantity="10")

    bascule.fill(in_percent)

    [_, units, percent] = bascule("alerts").out.splitlines()

    assert "  ETHUSDT  10              -" in units
    assert "  BTCUSDT  10 % of equity  -" in percent


def test_an_alert_that_waits_says_what_for_until_it_goes_on(bascule: CommandLine) -> None:
    async def parked(store: FilledStore) -> str:
        alert_id = await store.admit()
        held, _ = await store.take()
        await store.park(held, wait_ms=0)
        return alert_id

    alert_id = bascule.fill(parked)

    assert bascule("alerts", alert_id, "--json").json["instructions"][0]["waits_for"] == "rate_limit"
    assert bascule("alerts").out.splitlines()[1].endswith("  waits: rate_limit")
    assert "state      ACTIVE (waits: rate_limit)" in bascule("alerts", alert_id).out

    async def sent(store: FilledStore) -> None:
        await store.upkeep.promote()
        held, head = await store.take()
        await store.begin(held, head)

    bascule.fill(sent)

    assert bascule("alerts", alert_id, "--json").json["instructions"][0]["waits_for"] is None
    assert bascule("alerts").out.splitlines()[1].endswith("  admitted")


def test_a_wrong_duration_is_a_usage_error(bascule: CommandLine) -> None:
    outcome = bascule("alerts", "--since", "yesterday")

    assert outcome.code == 2
    assert "a duration such as" in outcome.err


def test_a_redis_that_is_away_is_one_line_and_exit_code_1(
    bascule: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

    outcome = bascule("alerts", "--json")

    assert (outcome.code, outcome.out) == (1, "")
    assert len(outcome.err.splitlines()) == 1
    assert "no answer from Redis at unix:///nowhere/redis.sock" in outcome.err


def test_without_a_bridge_one_line_says_what_to_do(
    bascule: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")

    outcome = bascule("alerts")

    assert outcome.code == 1
    assert outcome.err == ("bascule: no running bridge found: start one with `make up`, or set REDIS_URL\n")


def test_what_an_alert_carries_cannot_drive_the_terminal(bascule: CommandLine) -> None:
    bascule.fill(lambda store: store.refuse(detail='"action" is "\x1b]0;owned\x07"'))

    assert "\x1b" not in bascule("events").out


def test_an_alert_is_found_by_its_senders_own_id(bascule: CommandLine) -> None:
    ids = bascule.fill(three)

    document = bascule("alerts", f"id-{ids[1]}", "--json").json

    assert (document["alert_id"], document["sender_id"]) == (ids[1], f"id-{ids[1]}")
    assert f"sender id  id-{ids[1]}" in bascule("alerts", ids[1]).out


@pytest.mark.parametrize("command", ["alerts", "events"])
@pytest.mark.parametrize(
    ("name", "words"), [("", "it is empty; leave it out"), ("\udcff", "it is not UTF-8")]
)
def test_an_id_that_is_none_is_a_usage_error(
    bascule: CommandLine, command: str, name: str, words: str
) -> None:
    outcome = bascule(command, name)

    assert (outcome.code, outcome.out) == (2, "")
    assert f"Invalid value for '[ID]': {words}" in outcome.err


@pytest.mark.parametrize("command", ["alerts", "orders", "positions"])
def test_an_account_that_is_not_there_is_told_apart_from_one_without_alerts(
    bascule: CommandLine, config: Path, command: str
) -> None:
    outcome = bascule(command, "--account", "nope")

    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "bascule: no account nope: there are paper, desk\n"
    assert bascule(command, "--account", "PAPER").code == 0


def test_a_long_reason_is_shown_whole(bascule: CommandLine) -> None:
    words = "the venue's " + "very " * 100 + "long reason"

    async def refused(store: FilledStore) -> AlertId:
        alert_id = await store.admit()
        held, head = await store.take()
        await store.settle(held, head, InstructionState.DEAD, Reason.POISON, words)
        return alert_id

    alert_id = bascule.fill(refused)
    bascule.fill(lambda store: store.refuse(detail=words))

    assert words in bascule("alerts", alert_id).out
    assert words in bascule("events").out
    assert words in bascule("dead-letters", "list").out
