"""`bascule webhook template`: what to put into TradingView."""

import re
from pathlib import Path

import pytest

from libs.common.wire.dialects.catalogue import BY_NAME
from tests.integration.cli.conftest import WEBHOOK_CONFIG, CommandLine
from tests.integration.cli.webhooks import create


class TestTemplate:
    @pytest.mark.parametrize("dialect", sorted(BY_NAME))
    def test_every_dialect_has_one(self, bascule: CommandLine, webhook_config: Path, dialect: str) -> None:
        create(bascule)

        document = bascule("webhook", "template", "alpha", "--dialect", dialect, "--json").json

        assert document["url"] == "https://hooks.example.com/hooks/<TOKEN>"
        assert (document["dialect"], document["message"]) == (dialect, BY_NAME[dialect].template)
        warnings = " ".join(document["warnings"])
        assert ("a relay that signs" in warnings) is BY_NAME[dialect].is_signed

    def test_without_a_dialect_it_is_the_webhooks_own_else_ours(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule, name="any")
        create(bascule, "--dialect", "nova", name="pinned")

        assert bascule("webhook", "template", "any", "--json").json["dialect"] == "bascule"
        assert bascule("webhook", "template", "pinned", "--json").json["dialect"] == "nova"

    def test_the_default_webhook_has_its_path(self, bascule: CommandLine, webhook_config: Path) -> None:
        outcome = bascule("webhook", "template", "default", "--dialect", "factorqx")

        assert outcome.code == 0
        assert "https://hooks.example.com/webhook" in outcome.out
        assert '"secret": "<SECRET>"' in outcome.out
        assert outcome.err == ""

    def test_an_unknown_dialect_is_refused_with_those_there_are(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        outcome = bascule("webhook", "template", "default", "--dialect", "morse")

        assert outcome.code == 2
        assert "factorqx" in outcome.err

    @pytest.mark.parametrize(
        ("ingress", "words"),
        [
            ("{}", ["ingress.public_url is not set", "localhost", "https://", "port 8080"]),
            ('{public_url: "http://hooks.example.com"}', ["use https://"]),
            ('{public_url: "https://hooks.example.com:8443"}', ["port 8443"]),
            ('{public_url: "https://localhost"}', ["localhost"]),
            ('{public_url: "https://192.168.1.9"}', ["private"]),
            ('{public_url: "https://[2606:4700::1111]"}', ["IPv6"]),
            ('{public_url: "https://hooks.example.com"}', []),
        ],
    )
    def test_what_keeps_tradingview_away_is_told_to_people_and_programs(
        self, bascule: CommandLine, webhook_config: Path, ingress: str, words: list[str]
    ) -> None:
        webhook_config.write_text(re.sub(r"ingress: .*", f"ingress: {ingress}", WEBHOOK_CONFIG))

        outcome = bascule("webhook", "template", "default", "--json")

        warnings = outcome.json["warnings"]
        assert outcome.code == 0
        assert len(warnings) == len(words)
        assert all(word in warning for word, warning in zip(words, warnings, strict=True))
        assert outcome.err == "".join(f"warning: {one}\n" for one in warnings)

    @pytest.mark.parametrize(
        ("options", "dialect", "words"),
        [
            (("--dialect", "nova"), "factorqx", "takes the dialect nova alone"),
            (("--auth", "signature", "--signing-key", "relay"), "lesson5", "a relay that signs"),
            (
                ("--auth", "secret", "--auth", "signature", "--signing-key", "relay"),
                "nova",
                "a relay that signs",
            ),
            (("--auth", "url"), "nova", "asks for no secret"),
            (("--allow", "tradingview"), "nova", "ingress.trusted_proxies is empty"),
        ],
    )
    def test_what_the_webhook_would_refuse_is_told(
        self, bascule: CommandLine, webhook_config: Path, options: tuple[str, ...], dialect: str, words: str
    ) -> None:
        create(bascule, *options)

        [warning] = bascule("webhook", "template", "alpha", "--dialect", dialect, "--json").json["warnings"]

        assert words in warning

    def test_that_a_webhook_is_disabled_is_told(self, bascule: CommandLine, webhook_config: Path) -> None:
        create(bascule)
        bascule("webhook", "disable", "alpha")

        [warning] = bascule("webhook", "template", "alpha", "--json").json["warnings"]

        assert "is disabled" in warning
