"""`bascule webhook`."""

import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli import webhook_changes
from libs.common.domain.alert import Action
from libs.common.domain.ids import WebhookName
from libs.common.policy.authentication import Credentials, is_token
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import Webhook
from libs.common.store.keys import Keys
from libs.common.store.tables import TableStore
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

CONFIG = """
ingress: {public_url: "https://hooks.example.com", addresses: {office: [203.0.113.0/24]}}
signing_keys: {relay: RELAY_KEY}
webhooks:
  default: {secret: WEBHOOK_SECRET, accounts: [paper]}
  fixed: {token: FIXED_TOKEN, accounts: [desk], auth: [url], rate: 90/min}
accounts:
  paper: {broker: paper}
  desk: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET}
"""
HOUR_MS = 3_600_000
CREDENTIAL = re.compile(r"[A-Za-z0-9]{32,}")


@pytest.fixture
def config(bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    # No ingress runs here that a change would have to reach.
    monkeypatch.setattr(webhook_changes, "IN_FORCE_S", 0)
    return path


def webhooks(bascule: CommandLine) -> Mapping[WebhookName, Webhook]:
    async def read(store: FilledStore) -> Mapping[WebhookName, Webhook]:
        return (await TableStore(store.client, store.keys).read()).webhooks

    return bascule.fill(read)


def stored(bascule: CommandLine, name: str = "alpha") -> Webhook:
    return webhooks(bascule)[WebhookName(name)]


def now_ms(bascule: CommandLine) -> int:
    async def read(store: FilledStore) -> int:
        seconds, micros = await store.client.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    return bascule.fill(read)


def create(bascule: CommandLine, *options: str, name: str = "alpha") -> Any:
    outcome = bascule("webhook", "create", name, "--account", "paper", *options, "--json")
    assert outcome.code == 0, outcome.err
    return outcome.json


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def accepts(webhook: Webhook, secret: str, at_ms: int) -> bool:
    return Credentials(webhook.secrets).accept(secret, at_ms)


def serves(webhook: Webhook, token: str, at_ms: int) -> bool:
    return any(is_token(token, one, at_ms) for one in webhook.tokens)


def everything_in_redis(bascule: CommandLine) -> bytes:
    with bascule.redis.client(decode_responses=False) as client:
        return b"".join(client.dump(key) for key in client.keys("*"))


class TestCreate:
    def test_its_url_and_its_secret_open_it(self, bascule: CommandLine, config: Path) -> None:
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

    def test_neither_token_nor_secret_is_kept_anywhere(self, bascule: CommandLine, config: Path) -> None:
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

    def test_it_has_the_defaults_of_one_made_at_run_time(self, bascule: CommandLine, config: Path) -> None:
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

    def test_every_option_is_shown_as_it_was_given(self, bascule: CommandLine, config: Path) -> None:
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
        self, bascule: CommandLine, config: Path, options: tuple[str, ...], limit: Limit | None
    ) -> None:
        create(bascule, *options)

        assert stored(bascule).limit == limit

    def test_where_the_url_is_enough_there_is_no_secret(self, bascule: CommandLine, config: Path) -> None:
        made = create(bascule, "--auth", "url")

        assert made["secret"] is None
        assert made["auth"] == ["url"]
        assert stored(bascule).secrets == ()
        assert stored(bascule).demands == ()

    def test_people_get_the_message_to_paste_with_the_secret_in_it(
        self, bascule: CommandLine, config: Path
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
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
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
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch, text: str
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
        config: Path,
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
        self, bascule: CommandLine, config: Path, options: str, code: int, words: str
    ) -> None:
        outcome = bascule("webhook", "create", *options.split())

        assert (outcome.code, outcome.out) == (code, "")
        assert words in outcome.err
        assert webhooks(bascule) == {}

    def test_a_name_is_had_once(self, bascule: CommandLine, config: Path) -> None:
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
        self, bascule: CommandLine, config: Path
    ) -> None:
        config.write_text("webhooks: {}")

        outcome = bascule("webhook", "create", "alpha", "--account", "paper")

        assert (outcome.code, outcome.out) == (1, "")
        assert webhooks(bascule) == {}


class TestListAndShow:
    def test_declared_ones_come_first_and_are_marked(self, bascule: CommandLine, config: Path) -> None:
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
        self, bascule: CommandLine, config: Path
    ) -> None:
        document = bascule("webhook", "show", "fixed", "--json").json

        assert (document["accounts"], document["auth"], document["rate"]) == (["desk"], ["url"], "90/min")
        assert document["created_at_ms"] is None
        assert "declared" in bascule("webhook", "show", "fixed").out

    def test_people_see_what_it_demands_and_takes(self, bascule: CommandLine, config: Path) -> None:
        create(bascule, "--allow", "tradingview", "--only-symbol", "BTC*")

        out = bascule("webhook", "show", "alpha").out

        for words in ("url + secret", "tradingview", "BTC*", "30/min, 120 at once", "by bar 1min"):
            assert words in out

    def test_one_that_is_not_there_is_told_with_those_that_are(
        self, bascule: CommandLine, config: Path
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
        self, bascule: CommandLine, config: Path
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


class TestRotate:
    def test_the_old_secret_is_accepted_for_the_overlap_and_the_new_one_on(
        self, bascule: CommandLine, config: Path
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

    def test_the_overlap_is_a_day_unless_said_otherwise(self, bascule: CommandLine, config: Path) -> None:
        made = create(bascule)

        bascule("webhook", "rotate", "alpha")

        at_ms = now_ms(bascule)
        assert accepts(stored(bascule), made["secret"], at_ms + 23 * HOUR_MS)
        assert not accepts(stored(bascule), made["secret"], at_ms + 24 * HOUR_MS)

    def test_without_overlap_every_older_secret_is_dropped_at_once(
        self, bascule: CommandLine, config: Path
    ) -> None:
        made = create(bascule)
        second = bascule("webhook", "rotate", "alpha", "--json").json

        third = bascule("webhook", "rotate", "alpha", "--overlap", "0s", "--json").json

        webhook = stored(bascule)
        assert [accepts(webhook, one["secret"], 0) for one in (made, second, third)] == [False, False, True]
        assert len(webhook.secrets) == 1
        assert third["old_secret_until_ms"] is None

    def test_a_longer_overlap_prolongs_no_older_secret(self, bascule: CommandLine, config: Path) -> None:
        made = create(bascule)
        bascule("webhook", "rotate", "alpha", "--overlap", "1h")
        at_ms = now_ms(bascule)

        bascule("webhook", "rotate", "alpha", "--overlap", "9h")

        assert not accepts(stored(bascule), made["secret"], at_ms + HOUR_MS)

    def test_with_url_the_url_is_another_and_the_secret_stays(
        self, bascule: CommandLine, config: Path
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

    def test_where_alerts_hold_no_secret_the_url_is_rotated(self, bascule: CommandLine, config: Path) -> None:
        made = create(bascule, "--auth", "url")

        rotated = bascule("webhook", "rotate", "alpha", "--overlap", "0s", "--json").json

        assert not serves(stored(bascule), made["token"], 0)
        assert serves(stored(bascule), rotated["token"], 0)

    def test_the_new_secret_may_come_from_stdin(
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        type_in(monkeypatch, "my own new secret\n")

        outcome = bascule("webhook", "rotate", "alpha", "--secret-stdin", "--json")

        assert outcome.json["secret"] is None
        assert "my own new secret" not in outcome.out + outcome.err
        assert accepts(stored(bascule), "my own new secret", 0)

    def test_what_cannot_be_rotated_is_refused(self, bascule: CommandLine, config: Path) -> None:
        create(bascule, "--auth", "url")

        assert bascule("webhook", "rotate", "alpha", "--secret-stdin").code == 2
        assert bascule("webhook", "rotate", "alpha", "--url", "--secret-stdin").code == 2
        assert bascule("webhook", "rotate", "alpha", "--overlap", "later").code == 2


class TestChanges:
    def test_it_is_disabled_and_enabled_as_often_as_wanted(self, bascule: CommandLine, config: Path) -> None:
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

    def test_it_is_deleted_only_with_a_yes(self, bascule: CommandLine, config: Path) -> None:
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
        self, bascule: CommandLine, config: Path, name: str, arguments: tuple[str, ...]
    ) -> None:
        outcome = bascule("webhook", arguments[0], name, *arguments[1:])

        assert (outcome.code, outcome.out) == (1, "")
        assert f"change webhooks.{name} in {config}" in outcome.err

    def test_where_the_configuration_takes_over_a_name_the_other_can_be_deleted(
        self, bascule: CommandLine, config: Path
    ) -> None:
        create(bascule)
        config.write_text(CONFIG.replace("fixed:", "alpha:"))

        listed = bascule("webhook", "list", "--json")

        assert [one["name"] for one in listed.json] == ["default", "alpha"]
        assert "another webhook alpha was made at run time" in listed.err
        assert bascule("webhook", "disable", "alpha").code == 1
        assert bascule("webhook", "delete", "alpha", "--yes").code == 0
        assert webhooks(bascule) == {}
        assert bascule("webhook", "list").err == ""

    def test_every_change_is_in_the_journal_without_credentials(
        self, bascule: CommandLine, config: Path
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
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        interfere(bascule, monkeypatch, times=1)

        assert bascule("webhook", "disable", "alpha").code == 0

        webhook = stored(bascule)
        assert (webhook.is_disabled, webhook.max_age_ms) == (True, 60_001)

    def test_one_that_others_keep_changing_is_left_alone_in_words(
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(bascule)
        interfere(bascule, monkeypatch, times=9)

        outcome = bascule("webhook", "disable", "alpha")

        assert outcome.code == 1
        assert "is being changed by somebody else" in outcome.err
        assert not stored(bascule).is_disabled

    def test_in_an_emergency_a_broken_configuration_stops_nobody(
        self, bascule: CommandLine, config: Path
    ) -> None:
        create(bascule)
        config.write_text("nonsense: [")

        outcome = bascule("webhook", "disable", "alpha")

        assert outcome.code == 0
        assert "left out" in outcome.err
        assert stored(bascule).is_disabled

    def test_without_redis_it_fails_in_words(
        self, bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
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


class TestTemplate:
    @pytest.mark.parametrize("dialect", sorted(BY_NAME))
    def test_every_dialect_has_one(self, bascule: CommandLine, config: Path, dialect: str) -> None:
        create(bascule)

        document = bascule("webhook", "template", "alpha", "--dialect", dialect, "--json").json

        assert document["url"] == "https://hooks.example.com/hooks/<TOKEN>"
        assert (document["dialect"], document["message"]) == (dialect, BY_NAME[dialect].template)
        warnings = " ".join(document["warnings"])
        assert ("a relay that signs" in warnings) is BY_NAME[dialect].is_signed

    def test_without_a_dialect_it_is_the_webhooks_own_else_ours(
        self, bascule: CommandLine, config: Path
    ) -> None:
        create(bascule, name="any")
        create(bascule, "--dialect", "nova", name="pinned")

        assert bascule("webhook", "template", "any", "--json").json["dialect"] == "bascule"
        assert bascule("webhook", "template", "pinned", "--json").json["dialect"] == "nova"

    def test_the_default_webhook_has_its_path(self, bascule: CommandLine, config: Path) -> None:
        outcome = bascule("webhook", "template", "default", "--dialect", "factorqx")

        assert outcome.code == 0
        assert "https://hooks.example.com/webhook" in outcome.out
        assert '"secret": "<SECRET>"' in outcome.out
        assert outcome.err == ""

    def test_an_unknown_dialect_is_refused_with_those_there_are(
        self, bascule: CommandLine, config: Path
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
        self, bascule: CommandLine, config: Path, ingress: str, words: list[str]
    ) -> None:
        config.write_text(re.sub(r"ingress: .*", f"ingress: {ingress}", CONFIG))

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
        self, bascule: CommandLine, config: Path, options: tuple[str, ...], dialect: str, words: str
    ) -> None:
        create(bascule, *options)

        [warning] = bascule("webhook", "template", "alpha", "--dialect", dialect, "--json").json["warnings"]

        assert words in warning

    def test_that_a_webhook_is_disabled_is_told(self, bascule: CommandLine, config: Path) -> None:
        create(bascule)
        bascule("webhook", "disable", "alpha")

        [warning] = bascule("webhook", "template", "alpha", "--json").json["warnings"]

        assert "is disabled" in warning
