"""`bascule webhook enable`, `disable` and `delete`, and changes that meet others."""

from pathlib import Path

import msgspec
import pytest

from libs.common.policy.webhook import Webhook
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from tests.integration.cli.conftest import WEBHOOK_CONFIG, CommandLine
from tests.integration.cli.webhooks import create, stored, webhooks


class TestChanges:
    def test_it_is_disabled_and_enabled_as_often_as_wanted(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)
        before = stored(bascule)

        for command, is_disabled in (
            ("disable", True),
            ("disable", True),
            ("enable", False),
            ("enable", False),
        ):
            outcome = bascule("webhook", command, "alpha", "--json")
            assert (outcome.code, outcome.json["disabled"]) == (0, is_disabled)
            assert stored(bascule) == msgspec.structs.replace(before, is_disabled=is_disabled)

    def test_it_is_deleted_only_with_a_yes(self, bascule: CommandLine, webhook_config: Path) -> None:
        create(bascule)

        assert bascule("webhook", "delete", "alpha").code == 2
        assert "alpha" in webhooks(bascule)
        assert bascule("webhook", "delete", "alpha", "--yes", "--json").json == {
            "name": "alpha",
            "outcome": "deleted",
        }
        assert webhooks(bascule) == {}

    @pytest.mark.parametrize("name", ["default", "fixed"])
    @pytest.mark.parametrize("arguments", [("rotate",), ("disable",), ("enable",), ("delete", "--yes")])
    def test_what_is_declared_is_changed_in_the_configuration_alone(
        self, bascule: CommandLine, webhook_config: Path, name: str, arguments: tuple[str, ...]
    ) -> None:
        outcome = bascule("webhook", arguments[0], name, *arguments[1:])

        assert (outcome.code, outcome.out) == (1, "")
        assert f"change webhooks.{name} in {webhook_config}" in outcome.err

    def test_where_the_configuration_takes_over_a_name_the_other_can_be_deleted(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)
        webhook_config.write_text(WEBHOOK_CONFIG.replace("fixed:", "alpha:"))

        listed = bascule("webhook", "list", "--json")

        assert [one["name"] for one in listed.json] == ["default", "alpha"]
        assert "another webhook alpha was made at run time" in listed.err
        assert bascule("webhook", "disable", "alpha").code == 1
        assert bascule("webhook", "delete", "alpha", "--yes").code == 0
        assert webhooks(bascule) == {}
        assert bascule("webhook", "list").err == ""

    def test_every_change_is_in_the_journal_without_credentials(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)
        for arguments in (
            ("rotate", "alpha"),
            ("disable", "alpha"),
            ("enable", "alpha"),
            ("delete", "alpha", "--yes"),
        ):
            assert bascule("webhook", *arguments).code == 0

        with bascule.redis.client() as client:
            entries = [fields for _, fields in client.xrange(Keys().journal)]
        reasons = ["created", "rotated", "disabled", "enabled", "deleted"]
        assert [(one["event"], one["reason"], one["detail"]) for one in entries] == [
            ("WEBHOOK", reason, "alpha") for reason in reasons
        ]

    def test_a_change_of_somebody_else_in_between_is_kept(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        interfere(bascule, monkeypatch, times=1)

        assert bascule("webhook", "disable", "alpha").code == 0

        webhook = stored(bascule)
        assert (webhook.is_disabled, webhook.max_age_ms) == (True, 60_001)

    def test_one_that_others_keep_changing_is_left_alone_in_words(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        interfere(bascule, monkeypatch, times=9)

        outcome = bascule("webhook", "disable", "alpha")

        assert outcome.code == 1
        assert "is being changed by somebody else" in outcome.err
        assert not stored(bascule).is_disabled

    def test_in_an_emergency_a_broken_configuration_stops_nobody(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)
        webhook_config.write_text("nonsense: [")

        outcome = bascule("webhook", "disable", "alpha")

        assert outcome.code == 0
        assert "left out" in outcome.err
        assert stored(bascule).is_disabled

    def test_without_redis_it_fails_in_words(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

        outcome = bascule("webhook", "create", "alpha", "--account", "paper")

        assert (outcome.code, outcome.out) == (1, "")
        assert "no answer from Redis" in outcome.err


def interfere(bascule: CommandLine, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Let somebody else change a webhook right before each of the next changes to it."""
    put, left = TableStore.put_webhook, [times]

    async def slowly(self: TableStore, webhook: Webhook, before: Webhook | None, reason: str) -> None:
        if left[0]:
            left[0] -= 1
            assert before is not None
            other = msgspec.structs.replace(before, max_age_ms=before.max_age_ms + 1)
            await put(self, other, before, "changed")
        await put(self, webhook, before, reason)

    monkeypatch.setattr(TableStore, "put_webhook", slowly)
