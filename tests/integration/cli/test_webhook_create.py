"""`bascule webhook create`: a webhook, shown with its credentials but once."""

import json
import re
from pathlib import Path

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.ids import WebhookName
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import Webhook
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.integration.cli.conftest import CommandLine
from tests.integration.cli.webhooks import (
    CREDENTIAL,
    HOUR_MS,
    accepts,
    create,
    everything_in_redis,
    now_ms,
    serves,
    stored,
    type_in,
    webhooks,
)


class TestCreate:
    def test_its_url_and_its_secret_open_it(self, bascule: CommandLine, webhook_config: Path) -> None:
        before_ms = now_ms(bascule)

        made = create(bascule)

        webhook = stored(bascule)
        assert made["url"] == f"https://hooks.example.com/hooks/{made['token']}"
        assert CREDENTIAL.fullmatch(made["token"])
        assert CREDENTIAL.fullmatch(made["secret"])
        assert made["token"] != made["secret"]
        assert serves(webhook, made["token"], before_ms)
        assert accepts(webhook, made["secret"], before_ms)
        assert before_ms <= webhook.created_at_ms <= now_ms(bascule)

    def test_neither_token_nor_secret_is_kept_anywhere(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule)

        kept = everything_in_redis(bascule)
        shown = bascule("webhook", "show", "alpha", "--json").out + bascule("webhook", "show", "alpha").out
        listed = bascule("webhook", "list", "--json").out + bascule("webhook", "list").out
        webhook = stored(bascule)
        for credential in (made["token"], made["secret"]):
            assert credential.encode() not in kept
            assert credential not in shown + listed
        for digest in (webhook.tokens[0].digest, webhook.secrets[0].digest, webhook.secrets[0].salt):
            assert digest not in shown + listed + json.dumps(made)

    def test_it_has_the_defaults_of_one_made_at_run_time(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        create(bascule)

        webhook = stored(bascule)
        bare = Webhook(
            name=WebhookName("alpha"),
            accounts=webhook.accounts,
            tokens=webhook.tokens,
            secrets=webhook.secrets,
            limit=Limit(2_000_000, 120),
            created_at_ms=webhook.created_at_ms,
        )
        assert webhook == bare
        assert webhook.accounts == ("paper",)

    def test_every_option_is_shown_as_it_was_given(self, bascule: CommandLine, webhook_config: Path) -> None:
        risk = min(BY_NAME["pineconnector"].options["risk"])
        given = "--account desk --dialect pineconnector --allow tradingview --allow 10.0.0.0/8 --allow office"
        more = "--rate 60/min --burst 7 --max-age 90s --max-body 1000 --auth secret --auth signature"
        rest = "--signing-key relay --only-action BUY --only-exchange BINANCE --only-symbol BTC*"
        last = "--dedup 1h --dedup-bar 2min --dedup-body 10s --entries-per-bar 3"
        create(bascule, *f"{given} {more} {rest} {last} --option risk={risk}".split())

        document = bascule("webhook", "show", "alpha", "--json").json

        expected = {
            "name": "alpha",
            "declared": False,
            "disabled": False,
            "url": "https://hooks.example.com/hooks/<TOKEN>",
            "accounts": ["paper", "desk"],
            "dialect": "pineconnector",
            "options": {"risk": risk},
            "auth": ["secret", "signature"],
            "signing_keys": ["relay"],
            "allow": ["tradingview", "10.0.0.0/8", "office"],
            "only": {"actions": ["buy"], "exchanges": ["BINANCE"], "symbols": ["BTC*"]},
            "rate": "1/s",
            "burst": 7,
            "max_age_ms": 90_000,
            "max_body_bytes": 1_000,
            "clock_skew_ms": 5_000,
            "dedup_ms": HOUR_MS,
            "dedup_bar_ms": 120_000,
            "dedup_body_ms": 10_000,
            "entries_per_bar": 3,
            "old_url_until_ms": None,
            "old_secret_until_ms": None,
        }
        assert document | expected == document
        assert stored(bascule).only.actions == (Action.BUY,)

    @pytest.mark.parametrize(
        ("options", "limit"),
        [
            (("--rate", "off"), None),
            (("--rate", "10/min"), Limit(6_000_000, 120)),
            (("--rate", "10/min", "--burst", "3"), Limit(6_000_000, 3)),
            (("--burst", "200"), Limit(2_000_000, 200)),
        ],
    )
    def test_the_rate_may_be_another_or_off(
        self, bascule: CommandLine, webhook_config: Path, options: tuple[str, ...], limit: Limit | None
    ) -> None:
        create(bascule, *options)

        assert stored(bascule).limit == limit

    def test_where_the_url_is_enough_there_is_no_secret(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        made = create(bascule, "--auth", "url")

        assert made["secret"] is None
        assert made["auth"] == ["url"]
        assert stored(bascule).secrets == ()
        assert stored(bascule).demands == ()

    def test_people_get_the_message_to_paste_with_the_secret_in_it(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        outcome = bascule("webhook", "create", "alpha", "--account", "paper", "--dialect", "factorqx")

        assert outcome.code == 0
        [secret] = re.findall(r'"secret": "(\w+)"', outcome.out)
        [token] = re.findall(r"https://hooks\.example\.com/hooks/(\w+)", outcome.out)
        assert accepts(stored(bascule), secret, 0)
        assert serves(stored(bascule), token, 0)
        assert "<SECRET>" not in outcome.out
        assert "shown this once" in outcome.err

    def test_a_secret_that_is_in_use_already_is_taken_over_and_never_repeated(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        type_in(monkeypatch, "6157891234567\n")

        outcome = bascule("webhook", "create", "alpha", "--account", "paper", "--secret-stdin", "--json")

        assert outcome.code == 0
        assert outcome.json["secret"] is None
        assert "6157891234567" not in outcome.out + outcome.err
        assert "from stdin" in outcome.err
        assert accepts(stored(bascule), "6157891234567", 0)

    @pytest.mark.parametrize("text", ["", "short\n", "<SECRET>\n", "changeme\n", "abc\x07defgh\n"])
    def test_a_secret_that_protects_nothing_makes_no_webhook(
        self, bascule: CommandLine, webhook_config: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        type_in(monkeypatch, text)

        outcome = bascule("webhook", "create", "alpha", "--account", "paper", "--secret-stdin")

        assert outcome.code == 1
        assert outcome.err.startswith("bascule: --secret-stdin: the secret ")
        assert webhooks(bascule) == {}

    @pytest.mark.parametrize(
        ("dialect", "secret", "fits"),
        [
            ("pineconnector", "has,a,comma", False),
            ("octobot", "has;semicolons;", False),
            ("crosstrade", "has;semicolons;", False),
            ("autoview", "has spaces in it", False),
            ("pineconnector", "6157891234567", True),
            ("octobot", "has spaces, commas", True),
            ("nova", 'has "quotes" in it', True),
        ],
    )
    def test_a_secret_that_the_dialect_cannot_carry_makes_no_webhook(
        self,
        bascule: CommandLine,
        webhook_config: Path,
        monkeypatch: pytest.MonkeyPatch,
        dialect: str,
        secret: str,
        fits: bool,
    ) -> None:
        type_in(monkeypatch, f"{secret}\n")

        outcome = bascule(
            "webhook", "create", "alpha", "--account", "paper", "--dialect", dialect, "--secret-stdin"
        )

        assert (outcome.code == 0) is fits
        assert bool(webhooks(bascule)) is fits
        assert secret not in outcome.out + outcome.err

    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            ("alpha", 2, "--account"),
            ("alpha --account nobody", 1, '--account: there is no account "nobody"; there are paper, desk'),
            (
                "alpha --account paper --account paper",
                2,
                "--account: expected a list with at least one account",
            ),
            ("alpha --account paper --dialect morse", 2, '--dialect: got "morse", expected '),
            (
                "alpha --account paper --option risk=1",
                2,
                "--option: expected no value where no dialect is named",
            ),
            ("alpha --account paper --option risk", 2, '--option: got "risk", expected NAME=VALUE'),
            ("alpha --account paper --dialect nova --option a=1", 2, "--option: expected no value"),
            ("alpha --account paper --allow office --allow nowhere", 1, '--allow: "nowhere" is no address'),
            ("alpha --account paper --allow nowhere", 1, "office, tradingview"),
            ("alpha --account paper --rate soon", 2, '--rate: got "soon", expected a rate such as'),
            ("alpha --account paper --rate off --burst 5", 2, "--burst: got 5, expected no value"),
            ("alpha --account paper --burst 0", 2, "--burst: got 0, expected a whole number >= 1"),
            ("alpha --account paper --max-age 60", 2, '--max-age: got "60", expected a duration'),
            ("alpha --account paper --max-body 5", 2, "--max-body: got 5, expected a whole number >= 256"),
            ("alpha --account paper --auth none", 2, "'none' is not one of 'url', 'secret'"),
            ("alpha --account paper --auth url --auth secret", 2, "--auth: expected [url] alone"),
            ("alpha --account paper --auth signature", 2, "--signing-key: expected a list of keys"),
            ("alpha --account paper --auth secret --auth signature", 2, "--signing-key: expected one"),
            (
                "alpha --account paper --auth signature --signing-key nope",
                1,
                '--signing-key: there is no signing key "nope"; there are relay',
            ),
            ("alpha --account paper --auth certificate", 1, "ingress.certificate_proxies names none"),
            ("alpha --account paper --auth url --secret-stdin", 2, "--secret-stdin: expected --auth secret"),
            ("alpha --account paper --only-action hold", 2, '--only-action: got "hold", expected buy or '),
            ("alpha --account paper --dedup-bar x", 2, '--dedup-bar: got "x", expected a duration'),
            ("alpha --account paper --entries-per-bar 99", 2, "--entries-per-bar: got 99, expected"),
            ("a/b --account paper", 2, 'NAME: got "a/b", expected a name of at most 64'),
            ("default --account paper", 1, "always the configuration's, at /webhook"),
            ("fixed --account paper", 1, "webhook fixed is declared in the configuration"),
        ],
    )
    def test_what_cannot_be_is_refused_with_what_there_is(
        self, bascule: CommandLine, webhook_config: Path, options: str, code: int, words: str
    ) -> None:
        outcome = bascule("webhook", "create", *options.split())

        assert (outcome.code, outcome.out) == (code, "")
        assert words in outcome.err
        assert webhooks(bascule) == {}

    def test_a_name_is_had_once(self, bascule: CommandLine, webhook_config: Path) -> None:
        create(bascule)
        before = stored(bascule)

        outcome = bascule("webhook", "create", "alpha", "--account", "desk")

        assert (outcome.code, outcome.out) == (1, "")
        assert "there is a webhook alpha already" in outcome.err
        assert stored(bascule) == before

    def test_without_a_configuration_the_path_is_shown_and_what_is_not_known_is_said(
        self, bascule: CommandLine
    ) -> None:
        outcome = bascule("webhook", "create", "alpha", "--account", "paper", "--json")

        assert outcome.code == 0
        assert outcome.json["url"] == f"/hooks/{outcome.json['token']}"
        assert "nothing says where the ingress is" in outcome.json["warnings"][0]
        assert "whether its accounts are there" in outcome.err

    def test_a_configuration_that_cannot_be_read_makes_no_webhook(
        self, bascule: CommandLine, webhook_config: Path
    ) -> None:
        webhook_config.write_text("webhooks: {}")

        outcome = bascule("webhook", "create", "alpha", "--account", "paper")

        assert (outcome.code, outcome.out) == (1, "")
        assert webhooks(bascule) == {}
