import ast
import itertools
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import yaml

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.allowance import Only
from libs.common.policy.limits import Limit, Limits
from libs.common.policy.routing import LaneBy
from libs.common.policy.symbols import SymbolEntry, SymbolMode, SymbolRule
from libs.common.runtime import settings as module
from libs.common.runtime.account_settings import AccountLimits, AccountSettings, HttpAccount, PaperAccount
from libs.common.runtime.durations import Rate
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.sections import Section
from libs.common.runtime.settings import Durability
from libs.common.runtime.webhook_settings import Auth, WebhookSettings
from libs.common.wire.dialects.catalogue import BY_NAME
from tests.unit.libs.common.runtime.conftest import BASE

CONFIG = Path(__file__).parents[5] / "config"


def test_the_demo_is_one_webhook_and_one_account_on_paper():
    settings = load_settings(CONFIG / "demo.yaml")
    assert settings.ingress.port == 8_080
    [webhook] = settings.webhooks.values()
    assert webhook.secret == "WEBHOOK_SECRET"
    assert webhook.accounts == ("paper",)
    assert webhook.rate.is_off
    account = settings.accounts[AccountName("paper")]
    assert isinstance(account, PaperAccount)
    assert (account.default_quantity, account.default_price) == (1, 100)
    assert settings.limits_for(AccountName("paper"), Market("BTCUSDT")) == Limits(symbol=None, account=None)


def sections(value, seen):
    if isinstance(value, Section):
        seen.append(value)
        for field in value.__struct_fields__:
            sections(getattr(value, field), seen)
    elif isinstance(value, dict):
        for item in value.values():
            sections(item, seen)
    return seen


def test_the_reference_holds_every_key_with_its_default():
    text = (CONFIG / "bascule.yaml").read_text()
    settings = load_settings(CONFIG / "bascule.yaml")
    for section in sections(settings, []):
        for field in msgspec.structs.fields(section):
            assert f"{field.encode_name}:" in text
            if field.default is not msgspec.NODEFAULT:
                value = getattr(section, field.name)
                assert (
                    value == field.default
                    or isinstance(value, dict)
                    or (field.name in {"secret", "token"} and value is not None)
                ), f"{type(section).__name__}.{field.name}"
    assert {account.__struct_config__.tag for account in settings.accounts.values()} == {
        "paper",
        "log",
        "http",
    }
    # What has no default is shown as a comment; every other key is really there.
    document = yaml.safe_load(text)
    for name in ("redis", "worker", "reaper", "limits", "breaker", "retention", "watchdog"):
        kind = type(getattr(settings, name))
        assert set(document[name]) == {field.encode_name for field in msgspec.structs.fields(kind)}
    shown = set().union(*(document["webhooks"][name] for name in ("default", "btc-only")))
    assert shown | {"dialect", "burst"} == {
        field.encode_name for field in msgspec.structs.fields(WebhookSettings)
    }


def test_every_key_says_what_turning_it_does():
    for kind in ast.parse(Path(module.__file__).read_text()).body:
        if not isinstance(kind, ast.ClassDef) or kind.name == "Settings":
            continue
        for field, following in itertools.pairwise([*kind.body, None]):
            if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation):
                assert isinstance(following, ast.Expr), f"{kind.name}.{ast.unparse(field.target)}"
                assert isinstance(following.value, ast.Constant)


def test_sections_do_not_change(load):
    settings = load(BASE)
    with pytest.raises(AttributeError):
        settings.worker.concurrency = 1


def test_keys_keep_their_meaning(load):
    settings = load("""\
redis:    {url: "unix:///x/redis.sock", shards: 1, durability: everysec}
ingress:  {host: 0.0.0.0, port: 80, ops_host: 127.0.0.1, ops_port: 9, public_url: "https://hooks.example.com", deadline: 1s}
worker:   {ops_port: 9210, concurrency: 8, lease: 10s, poison_limit: 3, drain: 1min}
reaper:   {ops_port: 9203, interval: 250ms}
webhooks: {default: {secret: S, accounts: [desk], rate: 90/min, max_age: 90s, max_body: 40960, clock_skew: 0s, dedup: 2d}}
accounts: {desk: {broker: http, url: "http://127.0.0.1:9009", secret: D, timeout: 3s, request_expiry: 9s, lane_by: strategy,
                  default_quantity: 0.1}}
limits:   {symbol: {rate: off, burst: 1}, account: {rate: "10/s", burst: 20}}
breaker:  {failures: 5, rate: 0.7, window: 30s, reset: 10s}
retention: {alerts: 7d, journal: 1h, dead_letters: 30d}
""")
    assert settings.redis.durability is Durability.EVERYSEC
    assert (settings.ingress.deadline_ms, settings.worker.lease_ms, settings.reaper.interval_ms) == (
        1_000,
        10_000,
        250,
    )
    assert settings.worker.drain_ms == 60_000
    webhook = settings.webhooks["default"]
    assert webhook.rate == Rate(90, 60_000)
    assert (webhook.max_age_ms, webhook.max_body, webhook.clock_skew_ms) == (90_000, 40_960, 0)
    desk = settings.accounts["desk"]
    assert isinstance(desk, HttpAccount)
    assert (desk.timeout_ms, desk.request_expiry_ms, desk.lane_by) == (3_000, 9_000, LaneBy.STRATEGY)
    assert desk.default_quantity == Decimal("0.1")
    assert settings.limits_for("desk", "X") == Limits(symbol=None, account=Limit(100_000, 20))
    assert (settings.breaker.window_ms, settings.retention.journal_ms) == (30_000, 3_600_000)


def test_what_webhooks_and_accounts_demand_and_take_keeps_its_meaning(load):
    settings = load(
        """\
ingress: {trusted_proxies: [10.0.0.0/8], certificate_proxies: [10.0.0.1], addresses: {office: [203.0.113.0/24]}}
signing_keys: {relay: RELAY_KEY}
webhooks:
  default: {secret: S, accounts: [desk]}
  hook:
    {token: T, accounts: [desk], auth: [signature, certificate], signing_keys: [relay], dialect: pineconnector,
     options: {risk: VALUE}, allow: [office], only: {actions: [buy], exchanges: [BINANCE], symbols: ["BTC*"]},
     rate: 30/min, burst: 120, dedup_bar: 2min, dedup_body: 10s, entries_per_bar: 3}
symbols: [{symbol: BTCUSDT, market: BTC/USDT, exchange: BINANCE, account: desk}, {symbol: XBT, market: BTC}]
accounts: {desk: {broker: log, symbols: strict, symbol_rules: [strip-exchange, strip-perpetual], only: {actions: [sell]}}}
""".replace("VALUE", min(BY_NAME["pineconnector"].options["risk"]))
    )
    assert settings.ingress.trusted_proxies == ("10.0.0.0/8",)
    assert settings.ingress.certificate_proxies == ("10.0.0.1",)
    assert settings.ingress.addresses == {"office": ("203.0.113.0/24",)}
    hook = settings.webhooks["hook"]
    assert (hook.token, hook.secret, hook.signing_keys) == ("T", None, ("relay",))
    assert hook.auth == (Auth.SIGNATURE, Auth.CERTIFICATE)
    assert (hook.dialect, list(hook.options), hook.allow) == ("pineconnector", ["risk"], ("office",))
    assert hook.only.only() == Only(actions=(Action.BUY,), exchanges=("BINANCE",), symbols=("BTC*",))
    assert (hook.rate, hook.burst) == (Rate(30, 60_000), 120)
    assert (hook.dedup_bar_ms, hook.dedup_body_ms, hook.entries_per_bar) == (120_000, 10_000, 3)
    assert settings.webhooks["default"].auth == (Auth.SECRET,)
    assert [one.entry() for one in settings.symbols] == [
        SymbolEntry("BTCUSDT", Market("BTC/USDT"), exchange="BINANCE", account=AccountName("desk")),
        SymbolEntry("XBT", Market("BTC")),
    ]
    desk = settings.accounts["desk"]
    assert desk.symbols is SymbolMode.STRICT
    assert desk.symbol_rules == (SymbolRule.STRIP_EXCHANGE, SymbolRule.STRIP_PERPETUAL)
    assert desk.only.actions == (Action.SELL,)
    assert settings.secret_names() == {
        "S": "webhook default",
        "T": "webhook hook",
        "RELAY_KEY": "signing key relay",
    }


def test_limits_come_from_the_symbol_then_the_account_then_the_defaults(load):
    settings = load("""\
webhooks: {default: {secret: S, accounts: [a]}}
limits: {symbol: {rate: 5/s, burst: 7}, account: {rate: 10/s, burst: 9}}
accounts:
  a: {broker: http, url: "http://a", secret: S}
  b: {broker: http, url: "http://b", secret: S, limits: {symbol: {rate: 1/s}, account: {rate: "off"}, symbols: {X: {rate: 2/s, burst: 3}, Y: {rate: "off"}}}}
  c: {broker: paper}
  d: {broker: log, limits: {account: {rate: 1/s, burst: 2}}}
""")
    assert settings.limits_for("a", "X") == Limits(symbol=Limit(200_000, 7), account=Limit(100_000, 9))
    assert settings.limits_for("b", "Z") == Limits(symbol=Limit(1_000_000, 7), account=None)
    assert settings.limits_for("b", "X") == Limits(symbol=Limit(500_000, 3), account=None)
    assert settings.limits_for("b", "Y") == Limits(symbol=None, account=None)
    assert settings.limits_for("c", "X") == Limits(symbol=None, account=None)
    assert settings.limits_for("d", "X") == Limits(symbol=None, account=Limit(1_000_000, 2))
    with pytest.raises(KeyError):
        settings.limits_for("e", "X")


def test_an_account_has_no_limits_of_its_own_unless_set():
    assert AccountSettings().limits == AccountLimits()


def test_a_limit_that_is_partly_set_keeps_the_rest_of_its_default(load):
    settings = load(f'{BASE}limits: {{symbol: {{rate: 100/s}}, account: {{rate: "off"}}}}\n')
    limits = settings.limits_for("desk", "BTCUSDT")
    assert (limits.symbol.interval_us, limits.symbol.burst, limits.account) == (10_000, 10, None)


@pytest.mark.parametrize(("lease", "expiry_ms"), [("6s", 5_000), ("30s", 5_000), ("2s", 1_000)])
def test_a_request_is_dead_before_its_lane_moves(load, lease, expiry_ms):
    assert load(f"{BASE}worker: {{lease: {lease}}}\n").request_expiry_of("desk") == expiry_ms
