"""`bascule events`: every post to a webhook."""

from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.webhook import Webhook
from libs.common.store.tables import TableStore
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

FIELDS = {
    "event_id",
    "at_ms",
    "webhook",
    "outcome",
    "status",
    "reason",
    "code",
    "field",
    "detail",
    "alert_id",
    "raw",
}


async def one_of_each(store: FilledStore) -> tuple[str, str]:
    """Return the id of the alert and that of the refusal."""
    alert = await store.admit("AAA", accounts=("paper", "desk"), sender_id="same")
    await store.execute()
    assert await store.admit("AAA", accounts=("paper", "desk"), sender_id="same") == alert
    refusal = await store.refuse(
        "invalid_action", 422, field="action", detail='"action" is "by"', webhook="other", raw='{"a":"by"}'
    )
    return alert, refusal


async def make_webhook(store: FilledStore) -> None:
    webhook = Webhook(name=WebhookName("made"), accounts=(AccountName("paper"),))
    await TableStore(store.client, store.keys).put_webhook(webhook, None, "created")


def test_every_post_is_listed_once_newest_first(bascule: CommandLine) -> None:
    alert, refusal = bascule.fill(one_of_each)

    documents = bascule("events", "--json").json

    assert [one["outcome"] for one in documents] == ["refused", "duplicate", "admitted"]
    assert all(document.keys() == FIELDS for document in documents)
    refused, duplicate, admitted = documents
    assert refused["event_id"] == refusal
    assert (refused["status"], refused["reason"], refused["code"]) == (
        422,
        "invalid_action",
        "invalid_action",
    )
    assert (refused["field"], refused["detail"]) == ("action", '"action" is "by"')
    assert (refused["raw"], refused["alert_id"]) == ('{"a":"by"}', None)
    assert (duplicate["status"], duplicate["reason"], duplicate["alert_id"]) == (200, "duplicate", alert)
    assert duplicate["event_id"] not in {alert, refusal}
    assert (admitted["status"], admitted["reason"], admitted["alert_id"]) == (200, "admitted", alert)
    assert admitted["raw"] == '{"secret":"***","symbol":"AAA"}'
    assert (admitted["webhook"], refused["webhook"]) == ("default", "other")


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        (("--reason", "admitted"), ["admitted"]),
        (("--reason", "DUPLICATE"), ["duplicate"]),
        (("--reason", "Invalid_Action"), ["refused"]),
        (("--webhook", "OTHER"), ["refused"]),
        (("--webhook", "default"), ["duplicate", "admitted"]),
        (("--limit", "2"), ["refused", "duplicate"]),
        (("--webhook", "other", "--reason", "admitted"), []),
        (("--since", "1h"), ["refused", "duplicate", "admitted"]),
    ],
)
def test_events_are_filtered(bascule: CommandLine, options: tuple[str, ...], outcomes: list[str]) -> None:
    bascule.fill(one_of_each)

    assert [one["outcome"] for one in bascule("events", "--json", *options).json] == outcomes


def test_people_see_events_as_a_table(bascule: CommandLine) -> None:
    alert, refusal = bascule.fill(one_of_each)

    out = bascule("events").out

    assert len(out.splitlines()) == 4
    assert refusal in out
    assert alert in out
    assert "invalid_action" in out


@pytest.mark.parametrize("length", [26, 20])
def test_one_event_is_shown_by_its_id_or_the_beginning_of_it(bascule: CommandLine, length: int) -> None:
    _, refusal = bascule.fill(one_of_each)

    outcome = bascule("events", refusal[:length])

    assert outcome.code == 0
    assert '{"a":"by"}' in outcome.out
    assert "422 invalid_action" in outcome.out
    assert bascule("events", refusal[:length], "--json").json["event_id"] == refusal


def test_an_event_that_is_not_there_is_told(bascule: CommandLine) -> None:
    bascule.fill(one_of_each)

    said = bascule("events", "nothing").err
    assert said.startswith("bascule: no event nothing is kept: ")
    assert "refusals of strangers" in said
    assert "what was answered 5xx is not kept" in said
    assert "is the beginning of several events" in bascule("events", "0").err


def test_a_webhook_that_is_not_there_is_told(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("events", "--webhook", "nope")

    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "bascule: no webhook nope: there are default\n"
    assert bascule("events", "--webhook", "default").code == 0


def test_a_webhook_made_at_run_time_is_known_before_its_first_post(
    bascule: CommandLine, config: Path
) -> None:
    bascule.fill(make_webhook)

    assert bascule("events", "--webhook", "Made").code == 0
    assert bascule("events", "--webhook", "nope").err == "bascule: no webhook nope: there are default, made\n"
