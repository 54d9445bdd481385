from libs.common.domain.ids import AlertId
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore


async def poisoned(store: FilledStore) -> AlertId:
    alert_id = await store.admit("ETHUSDT")
    await store.reject(with_order=False)
    return alert_id


def test_letters_are_listed_and_filtered(bascule: CommandLine) -> None:
    async def two(store: FilledStore) -> list[AlertId]:
        first = await poisoned(store)
        second = await store.admit("AAA")
        await store.reject()
        return [first, second]

    older, newer = bascule.fill(two)

    def listed(*options: str) -> list[str]:
        return [one["alert_id"] for one in bascule("dead-letters", "list", "--json", *options).json]

    assert listed() == [newer, older]
    assert listed("--limit", "1") == [newer]
    assert listed("--state", "dead") == [older]
    assert listed("--symbol", "AAA") == [newer]
    assert listed("--reason", "poison") == [older]
    assert listed("--account", "nobody") == []
    assert "poison" in bascule("dead-letters", "list").out


def test_a_letter_is_shown_with_its_instruction_and_history(bascule: CommandLine) -> None:
    alert_id = bascule.fill(poisoned)
    [letter] = bascule("dead-letters", "list", "--json").json

    document = bascule("dead-letters", "show", letter["dead_letter_id"], "--json").json

    assert document["alert_id"] == alert_id
    assert (document["state"], document["reason"], document["symbol"]) == ("DEAD", "poison", "ETHUSDT")
    assert [entry["event"] for entry in document["history"]] == ["QUEUED", "DEAD"]
    assert alert_id in document["body"]
    assert "10 workers died on it" in bascule("dead-letters", "show", letter["dead_letter_id"]).out


def test_a_letter_is_replayed_once(bascule: CommandLine) -> None:
    alert_id = bascule.fill(poisoned)
    [letter] = bascule("dead-letters", "list", "--json").json

    first = bascule("dead-letters", "replay", letter["dead_letter_id"], "--max-age", "5min", "--json")
    second = bascule("dead-letters", "replay", letter["dead_letter_id"])

    assert first.code == 0
    assert first.json["outcome"] == "replayed"
    assert (second.code, second.out) == (1, "")
    assert "no dead letter" in second.err
    document = bascule("alerts", alert_id, "--json").json
    assert (document["state"], document["reason"]) == ("QUEUED", "replayed")
    assert [entry["event"] for entry in document["history"]] == ["QUEUED", "DEAD", "QUEUED"]


def test_a_letter_may_be_named_by_its_alert(bascule: CommandLine) -> None:
    alert_id = bascule.fill(poisoned)

    assert bascule("dead-letters", "discard", alert_id).code == 0
    assert bascule("dead-letters", "list", "--json").json == []
    assert bascule("dead-letters", "discard", alert_id).code == 1


def test_of_several_letters_of_one_alert_one_must_be_named(bascule: CommandLine) -> None:
    async def two_accounts(store: FilledStore) -> AlertId:
        alert_id = await store.admit(accounts=("one", "two"))
        await store.reject()
        await store.reject()
        return alert_id

    outcome = bascule("dead-letters", "replay", bascule.fill(two_accounts))

    assert outcome.code == 1
    assert "several dead letters" in outcome.err


def test_a_replay_that_could_trade_twice_is_refused_in_words(bascule: CommandLine) -> None:
    async def without_order(store: FilledStore) -> AlertId:
        alert_id = await store.admit()
        await store.reject()
        async for key in store.client.scan_iter(match=f"{store.keys.prefix}order:*"):
            await store.client.delete(key)
        return alert_id

    alert_id = bascule.fill(without_order)

    outcome = bascule("dead-letters", "replay", alert_id)

    assert outcome.code == 1
    assert "the record of the order is gone" in outcome.err
    assert len(bascule("dead-letters", "list", "--json").json) == 1


def test_the_beginning_of_an_id_names_a_letter(bascule: CommandLine) -> None:
    alert_id = bascule.fill(poisoned)
    [letter] = bascule("dead-letters", "list", "--json").json

    for name in (alert_id[:12], letter["dead_letter_id"][:9]):
        shown = bascule("dead-letters", "show", name, "--json").json
        assert shown["dead_letter_id"] == letter["dead_letter_id"]
    for name in ("1", alert_id[:1]):
        outcome = bascule("dead-letters", "discard", name)
        assert outcome.code == 1
        assert "too short" in outcome.err


def test_an_attempt_is_called_one(bascule: CommandLine) -> None:
    async def refused(store: FilledStore) -> AlertId:
        alert_id = await store.admit()
        await store.reject()
        return alert_id

    assert "attempt 1" in bascule("dead-letters", "show", bascule.fill(refused)).out


def test_a_halt_that_refused_is_named_in_words(bascule: CommandLine) -> None:
    stored = "reject of account=*;strategy=*;symbol=BTCUSDT: news"

    async def refused(store: FilledStore) -> str:
        alert_id = await store.admit()
        held, head = await store.take()
        await store.settle(held, head, InstructionState.REJECTED, Reason.HALTED, detail=stored)
        return alert_id

    alert_id = bascule.fill(refused)

    for arguments in (("dead-letters", "list"), ("dead-letters", "show", alert_id), ("alerts", alert_id)):
        shown = bascule(*arguments).out
        assert "reject of symbol BTCUSDT: news" in shown
        assert stored not in shown
    assert bascule("dead-letters", "list", "--json").json[0]["detail"] == stored
