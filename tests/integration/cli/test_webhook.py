"""`bascule webhook list` and `show`: what is there."""

from pathlib import Path

from tests.integration.cli.conftest import CommandLine
from tests.integration.cli.webhooks import create
from tests.support.filled_store import FilledStore


class TestListAndShow:
    def test_declared_ones_come_first_and_are_marked(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        for name in ("beta", "alpha"):
            create(bascule, name=name)

        documents = bascule("webhook", "list", "--json").json

        assert [(one["name"], one["declared"]) for one in documents] == [
            ("default", True),
            ("fixed", True),
            ("alpha", False),
            ("beta", False),
        ]
        assert [one["url"] for one in documents[:2]] == [
            "https://hooks.example.com/webhook",
            "https://hooks.example.com/hooks/<TOKEN>",
        ]
        table = bascule("webhook", "list").out.splitlines()
        assert [line.split()[:2] for line in table[1:]] == [
            ["default", "declared"],
            ["fixed", "declared"],
            ["alpha", "enabled"],
            ["beta", "enabled"],
        ]

    def test_a_declared_one_is_shown_without_its_secrets_being_set(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        document = bascule("webhook", "show", "fixed", "--json").json

        assert (document["accounts"], document["auth"], document["rate"]) == (["desk"], ["url"], "90/min")
        assert document["created_at_ms"] is None
        assert "declared" in bascule("webhook", "show", "fixed").out

    def test_people_see_what_it_demands_and_takes(self, bascule: CommandLine, webhook_config: Path) -> None:
        create(bascule, "--allow", "tradingview", "--only-symbol", "BTC*")

        out = bascule("webhook", "show", "alpha").out

        for words in ("url + secret", "tradingview", "BTC*", "30/min, 120 at once", "by bar 1min"):
            assert words in out

    def test_one_that_is_not_there_is_told_with_those_that_are(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)

        for arguments in (
            ("show", "nope"),
            ("rotate", "nope"),
            ("disable", "nope"),
            ("delete", "nope", "--yes"),
        ):
            outcome = bascule("webhook", *arguments)
            assert (outcome.code, outcome.out) == (1, "")
            assert outcome.err == "bascule: no webhook nope: there are default, fixed, alpha\n"

    def test_one_that_cannot_be_read_is_named_and_hides_no_other(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)

        async def spoil(store: FilledStore) -> None:
            await store.client.hset(store.keys.webhooks, "bad", "junk")

        bascule.fill(spoil)

        outcome = bascule("webhook", "list", "--json")
        assert [one["name"] for one in outcome.json] == ["default", "fixed", "alpha"]
        assert "webhook bad cannot be read" in outcome.err
        assert "cannot be read" in bascule("webhook", "show", "bad").err
        assert "already" in bascule("webhook", "create", "bad", "--account", "paper").err
