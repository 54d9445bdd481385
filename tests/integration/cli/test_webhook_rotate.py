"""`bascule webhook rotate`: new credentials beside the old ones."""

from pathlib import Path

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.integration.cli.webhooks import (
    CREDENTIAL,
    HOUR_MS,
    accepts,
    create,
    now_ms,
    serves,
    stored,
    type_in,
)


class TestRotate:
    def test_the_old_secret_is_accepted_for_the_overlap_and_the_new_one_on(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)
        before_ms = now_ms(bascule)

        rotated = bascule("webhook", "rotate", "alpha", "--overlap", "1h", "--json").json

        webhook, after_ms = stored(bascule), now_ms(bascule)
        assert (rotated["name"], rotated["token"]) == ("alpha", None)
        assert rotated["url"] == "https://hooks.example.com/hooks/<TOKEN>"
        assert CREDENTIAL.fullmatch(rotated["secret"])
        assert accepts(webhook, rotated["secret"], after_ms + 1_000 * HOUR_MS)
        assert accepts(webhook, made["secret"], before_ms + HOUR_MS - 1)
        assert not accepts(webhook, made["secret"], after_ms + HOUR_MS)
        assert serves(webhook, made["token"], after_ms)
        assert before_ms + HOUR_MS <= rotated["old_secret_until_ms"] <= after_ms + HOUR_MS

    def test_the_overlap_is_a_day_unless_said_otherwise(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)

        bascule("webhook", "rotate", "alpha")

        at_ms = now_ms(bascule)
        assert accepts(stored(bascule), made["secret"], at_ms + 23 * HOUR_MS)
        assert not accepts(stored(bascule), made["secret"], at_ms + 24 * HOUR_MS)

    def test_without_overlap_every_older_secret_is_dropped_at_once(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)
        second = bascule("webhook", "rotate", "alpha", "--json").json

        third = bascule("webhook", "rotate", "alpha", "--overlap", "0s", "--json").json

        webhook = stored(bascule)
        assert [accepts(webhook, one["secret"], 0) for one in (made, second, third)] == [False, False, True]
        assert len(webhook.secrets) == 1
        assert third["old_secret_until_ms"] is None

    def test_a_longer_overlap_prolongs_no_older_secret(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)
        bascule("webhook", "rotate", "alpha", "--overlap", "1h")
        at_ms = now_ms(bascule)

        bascule("webhook", "rotate", "alpha", "--overlap", "9h")

        assert not accepts(stored(bascule), made["secret"], at_ms + HOUR_MS)

    def test_with_url_the_url_is_another_and_the_secret_stays(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)
        before_ms = now_ms(bascule)

        rotated = bascule("webhook", "rotate", "alpha", "--url", "--overlap", "1h", "--json").json

        webhook, after_ms = stored(bascule), now_ms(bascule)
        assert rotated["secret"] is None
        assert rotated["url"] == f"https://hooks.example.com/hooks/{rotated['token']}"
        assert serves(webhook, rotated["token"], after_ms + 1_000 * HOUR_MS)
        assert serves(webhook, made["token"], before_ms + HOUR_MS - 1)
        assert not serves(webhook, made["token"], after_ms + HOUR_MS)
        assert accepts(webhook, made["secret"], after_ms)
        assert rotated["old_url_until_ms"] is not None

    def test_where_alerts_hold_no_secret_the_url_is_rotated(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule, "--auth", "url")

        rotated = bascule("webhook", "rotate", "alpha", "--overlap", "0s", "--json").json

        assert not serves(stored(bascule), made["token"], 0)
        assert serves(stored(bascule), rotated["token"], 0)

    def test_the_new_secret_may_come_from_stdin(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        type_in(monkeypatch, "my own new secret\n")

        outcome = bascule("webhook", "rotate", "alpha", "--secret-stdin", "--json")

        assert outcome.json["secret"] is None
        assert "my own new secret" not in outcome.out + outcome.err
        assert accepts(stored(bascule), "my own new secret", 0)

    def test_what_cannot_be_rotated_is_refused(self, bascule: CommandLine, webhook_config: Path) -> None:
        create(bascule, "--auth", "url")

        assert bascule("webhook", "rotate", "alpha", "--secret-stdin").code == 2
        assert bascule("webhook", "rotate", "alpha", "--url", "--secret-stdin").code == 2
        assert bascule("webhook", "rotate", "alpha", "--overlap", "later").code == 2
