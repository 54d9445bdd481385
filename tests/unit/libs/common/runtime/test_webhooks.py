"""Webhooks of the configuration as they are served."""

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.allowance import Only
from libs.common.policy.authentication import Credentials, is_token
from libs.common.policy.limits import Limit
from libs.common.policy.webhook import DedupWindows, Demand, Webhook
from libs.common.runtime.webhooks import declared_webhook, fresh_salt
from libs.common.wire.codec import Codec
from tests.unit.libs.common.runtime.conftest import Load

TEXT = """\
ingress: {certificate_proxies: [127.0.0.1], addresses: {office: [203.0.113.0/24]}}
signing_keys: {relay: RELAY_KEY}
webhooks:
  default: {secret: WEBHOOK_SECRET, accounts: [paper]}
  fast:
    token: FAST_TOKEN
    secret: FAST_SECRET
    accounts: [paper, dry]
    auth: [secret, signature, certificate]
    signing_keys: [relay]
    dialect: nova
    allow: [tradingview, office, 198.51.100.7]
    only: {actions: [buy], exchanges: [BINANCE], symbols: ["BTC*"]}
    rate: 30/min
    burst: 120
    max_age: 90s
    max_body: 1000
    clock_skew: 0s
    dedup: 1h
    dedup_bar: 2min
    dedup_body: 10s
    entries_per_bar: 3
accounts: {paper: {broker: paper}, dry: {broker: log}}
"""
CODEC = Codec(Webhook, "webhook")
ENVIRON = {"WEBHOOK_SECRET": "default-secret", "FAST_TOKEN": "fast-token", "FAST_SECRET": "fast-secret"}


def declared(load: Load, name: str) -> Webhook:
    webhook = WebhookName(name)
    return declared_webhook(webhook, load(TEXT).webhooks[webhook], ENVIRON)


def test_everything_that_a_section_says_is_in_the_webhook(load: Load) -> None:
    webhook = declared(load, "fast")

    assert webhook.accounts == ("paper", "dry")
    assert webhook.demands == (Demand.SECRET, Demand.SIGNATURE, Demand.CERTIFICATE)
    assert webhook.signing_keys == ("relay",)
    assert webhook.dialect == "nova"
    assert webhook.allow == ("tradingview", "office", "198.51.100.7")
    assert webhook.only == Only(actions=(Action.BUY,), exchanges=("BINANCE",), symbols=("BTC*",))
    assert webhook.limit == Limit(2_000_000, 120)
    assert (webhook.max_body_bytes, webhook.max_age_ms, webhook.clock_skew_ms) == (1_000, 90_000, 0)
    assert webhook.dedup == DedupWindows(id_ms=3_600_000, bar_ms=120_000, body_ms=10_000, entries_per_bar=3)
    assert (webhook.is_disabled, webhook.created_at_ms) == (False, 0)


def test_what_it_leaves_open_has_the_defaults(load: Load) -> None:
    webhook = declared(load, "default")

    assert webhook == Webhook(
        name=WebhookName("default"),
        accounts=(AccountName("paper"),),
        secrets=webhook.secrets,
        max_body_bytes=16_384,
    )


def test_its_credentials_open_it_and_are_not_in_it(load: Load) -> None:
    webhook = declared(load, "fast")

    assert Credentials(webhook.secrets).accept("fast-secret", 0)
    assert not Credentials(webhook.secrets).accept("default-secret", 0)
    assert [is_token("fast-token", one, 0) for one in webhook.tokens] == [True]
    assert declared(load, "default").tokens == ()
    stored = CODEC.encode(webhook)
    assert b"fast-token" not in stored
    assert b"fast-secret" not in stored


def test_no_two_digests_of_a_secret_are_alike(load: Load) -> None:
    one, other = declared(load, "default"), declared(load, "default")

    assert one.secrets != other.secrets
    assert len({fresh_salt() for _ in range(1_000)}) == 1_000


def test_the_url_alone_is_no_demand(load: Load) -> None:
    text = TEXT.replace("auth: [secret, signature, certificate]", "auth: [url]").replace(
        "    secret: FAST_SECRET\n", ""
    )
    name = WebhookName("fast")

    webhook = declared_webhook(name, load(text).webhooks[name], ENVIRON)

    assert (webhook.demands, webhook.secrets) == ((), ())


def test_a_rate_without_a_burst_lets_its_own_number_come_at_once(load: Load) -> None:
    text = TEXT.replace("    burst: 120\n", "")
    name = WebhookName("fast")

    assert declared_webhook(name, load(text).webhooks[name], ENVIRON).limit == Limit(2_000_000, 30)


@pytest.mark.parametrize("variable", ["FAST_TOKEN", "FAST_SECRET"])
def test_a_missing_secret_is_named(load: Load, variable: str) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != variable}
    name = WebhookName("fast")

    with pytest.raises(ConfigError, match=variable):
        declared_webhook(name, load(TEXT).webhooks[name], environ)


def test_a_webhook_is_read_as_it_was_stored(load: Load) -> None:
    webhook = declared(load, "fast")

    assert CODEC.decode(CODEC.encode(webhook)) == webhook
