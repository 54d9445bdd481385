import ast
import itertools
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import yaml

from libs.common.domain.errors import ConfigError
from libs.common.runtime import settings as module
from libs.common.runtime.durations import Rate
from libs.common.runtime.settings import (
    AccountLimits,
    AccountSettings,
    Durability,
    HttpAccount,
    LaneBy,
    Limit,
    Limits,
    PaperAccount,
    Section,
    Settings,
    load_settings,
    settings_from_environment,
    settings_path,
)

CONFIG = Path(__file__).parents[5] / "config"
BASE = """\
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [desk]}}
accounts:
  desk: {broker: http, url: "http://127.0.0.1:9009", secret: DESK_SECRET}
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text, environ=None):
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return load_settings(path, environ)

    return load_text


@pytest.fixture
def refusal(load):
    def refusal_of(text, environ=None):
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        line = str(caught.value)
        assert "\n" not in line
        return line.partition("my.yaml: ")[2] or line

    return refusal_of


def test_the_demo_is_one_webhook_and_one_account_on_paper():
    settings = load_settings(CONFIG / "demo.yaml")
    assert settings.ingress.port == 8_080
    assert settings.webhooks["default"].secret == "WEBHOOK_SECRET"
    assert settings.webhooks["default"].accounts == ("paper",)
    assert settings.webhooks["default"].rate is None
    account = settings.accounts["paper"]
    assert isinstance(account, PaperAccount)
    assert (account.default_quantity, account.default_price) == (1, 100)
    assert settings.limits_for("paper", "BTCUSDT") == Limits(symbol=None, account=None)


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
                assert getattr(section, field.name) == field.default or isinstance(
                    getattr(section, field.name), dict
                ), f"{type(section).__name__}.{field.name}"
    assert {account.__struct_config__.tag for account in settings.accounts.values()} == {
        "paper",
        "log",
        "http",
    }
    # What has no default is shown as a comment; every other key is really there.
    document = yaml.safe_load(text)
    for name in ("redis", "worker", "reaper", "limits", "breaker", "retention"):
        kind = type(getattr(settings, name))
        assert set(document[name]) == {field.encode_name for field in msgspec.structs.fields(kind)}


def test_every_key_says_what_turning_it_does():
    for kind in ast.parse(Path(module.__file__).read_text()).body:
        if not isinstance(kind, ast.ClassDef) or kind.name in {"Settings", "Limits"}:
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
redis:    {url: "unix:///x/redis.sock", shards: 2, durability: everysec}
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("worker: {lease: 6}", "worker.lease: got 6, expected a duration such as 500ms"),
        ("worker: {concurency: 5}", "worker.concurency: there is no such key; did you mean concurrency?"),
        ("worker:", "worker: got nothing, expected a section with keys"),
        ("worker: {concurrency: 0}", "worker.concurrency: got 0, expected a whole number >= 1"),
        ("worker: {concurrency: many}", 'worker.concurrency: got "many", expected a whole number'),
        ("worker: {concurrency: true}", "worker.concurrency: got true, expected a whole number"),
        ("wrker: {}", "wrker: there is no such key; did you mean worker?"),
        ("redis: {durability: maybe}", 'redis.durability: got "maybe", expected always or everysec or declared or none'),
        ("redis: {url: 'http://x'}", 'redis.url: got "http://x", expected a redis://, rediss:// or unix:// address'),
        ("breaker: {rate: off}", 'breaker.rate: got "off", expected a number'),
        ("breaker: {rate: 2}", "breaker.rate: got 2, expected a number <= 1"),
        ("limits: {symbol: {rate: x, burst: 1}}", 'limits.symbol.rate: got "x", expected a rate such as 5/s'),
        ("limits: {symbol: {rate: , burst: 1}}", "limits.symbol.rate: got"),
        ("ingress: {port: 80800}", "ingress.port: got 80800, expected a whole number <= 65535"),
        ("ingress: {port: 9101}", "ingress.ops_port: expected another port than `port`"),
        ("ingress: {public_url: hooks.example.com}", "ingress.public_url: got"),
        ("worker: {lease: 1s}", "worker.lease: got 1s, expected at least 1500ms"),
        ("webhooks: {}", "line 4, column 1: the key 'webhooks' stands twice in one section"),
        ("reaper: {interval: 1s, interval: 2s}", "line 4, column 24: the key 'interval' stands twice in one section"),
        ("reaper: {1: 2}", "line 4, column 10: the key 1 is not a text; put it in quotes"),
        ("reaper: [", "line 5, column 1: "),
        ("  b: {broker: ftp}", 'accounts.b.broker: got "ftp", expected paper or log or http'),
        ("  b: {}", "accounts.b.broker: this key is required, expected paper or log or http"),
        ("  b: {broker: log, url: x}", "accounts.b.url: there is no such key; there are broker, "),
        ("  b: {broker: http, url: 'http://x'}", "accounts.b.secret: this key is required"),
        ("  b: {broker: http, url: 'x', secret: A}", 'accounts.b.url: got "x", expected an http://'),
        ("  b: {broker: http, url: 'http://x', secret: s3-cret}", "accounts.b.secret: got"),
        ("  b: {broker: paper, default_quantity: 0}", "accounts.b.default_quantity: got 0, expected a number above 0"),
        ("  b: {broker: paper, default_price: 'NaN'}", 'accounts.b.default_price: got "NaN", expected a number above 0'),
        ("  b: {broker: paper, default_quantity: lots}", 'accounts.b.default_quantity: got "lots", expected a number'),
        ("  b: {broker: paper, cash: -1}", "accounts.b.cash: got -1, expected a number of at least 0"),
        ("  b: {broker: log, limits: {symbols: {A: {rate: 1/s}, B: {rate: z}}}}", 'accounts.b.limits.symbols.B.rate: got "z"'),
        ("  b: {broker: log, lane_by: size}", 'accounts.b.lane_by: got "size", expected symbol or strategy'),
        ("  b: 3", "accounts.b: got 3, expected a section with keys"),
        ("  'a:b': {broker: log}", 'accounts: got "a:b", expected a name of at most 64'),
        ("  '{a}': {broker: log}", 'accounts: got "{a}", expected a name'),
        ("  a b: {broker: log}", 'accounts: got "a b", expected a name'),
        ("  b: {broker: http, url: 'http://127.0.0.1:9009/', secret: DESK_SECRET}", "accounts.b: has the same url and secret as accounts.desk"),
        ("  b: {broker: paper, request_expiry: 5001ms}", "accounts.b.request_expiry: got 5001ms, expected at most worker.lease (6s)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(refusal, text, line):
    assert refusal(f"{BASE}{text}\n").startswith(line)


@pytest.mark.parametrize(
    ("accounts", "line"),
    [
        ("[desk, foo]", 'webhooks.default.accounts: there is no account "foo"; there are desk'),
        ("[]", "webhooks.default.accounts: got a list, expected a list with at least one account, each once"),
        ("[desk, desk]", "webhooks.default.accounts: got a list, expected"),
        ("desk", 'webhooks.default.accounts: got "desk", expected a list'),
        ("[3]", "webhooks.default.accounts.0: got 3, expected a text"),
    ],
)
def test_a_webhook_names_accounts_that_there_are(refusal, accounts, line):
    assert refusal(BASE.replace("[desk]", accounts)).startswith(line)


def test_two_accounts_may_share_a_url_under_two_keys(load):
    load(f"{BASE}  b: {{broker: http, url: 'http://127.0.0.1:9009', secret: OTHER}}\n")


@pytest.mark.parametrize("text", ["", "accounts: {}", "webhooks: {}"])
def test_a_file_without_accounts_or_webhooks_is_refused(refusal, text):
    assert "required" in refusal(text)


def test_a_body_limit_has_a_ceiling(refusal):
    text = BASE.replace("accounts: [desk]}", "accounts: [desk], max_body: 40961}")
    assert refusal(text) == "webhooks.default.max_body: got 40961, expected a whole number <= 40960"


def test_redis_url_of_the_environment_comes_first(load, refusal, tmp_path):
    url = "redis://:pw@h/3"
    assert load(BASE, {"REDIS_URL": url}).redis.url == url
    (tmp_path / "url").write_text(f"{url}\n")
    assert load(BASE, {"REDIS_URL_FILE": str(tmp_path / "url")}).redis.url == url
    assert refusal(BASE, {"REDIS_URL": "h:6379"}).startswith("REDIS_URL: expected a redis://")


def test_the_ops_port_of_the_environment_comes_first(load, refusal):
    settings = load(BASE, {"BASCULE_OPS_PORT": "9999"})
    assert settings.ingress.ops_port == settings.worker.ops_port == settings.reaper.ops_port == 9_999
    for wrong in ("", "x", "0", "65536", "²"):
        assert "BASCULE_OPS_PORT" in refusal(BASE, {"BASCULE_OPS_PORT": wrong})


def test_the_environment_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match="BASCULE_CONFIG is not set"):
        settings_path({})
    path = tmp_path / "my.yaml"
    with pytest.raises(ConfigError, match=r"my\.yaml: cannot be read: No such file"):
        settings_from_environment({"BASCULE_CONFIG": str(path)})
    path.write_text(BASE)
    assert isinstance(settings_from_environment({"BASCULE_CONFIG": str(path)}), Settings)


def test_a_limit_that_is_partly_set_keeps_the_rest_of_its_default(load):
    settings = load(f'{BASE}limits: {{symbol: {{rate: 100/s}}, account: {{rate: "off"}}}}\n')
    limits = settings.limits_for("desk", "BTCUSDT")
    assert (limits.symbol.interval_us, limits.symbol.burst, limits.account) == (10_000, 10, None)


@pytest.mark.parametrize(("lease", "expiry_ms"), [("6s", 5_000), ("30s", 5_000), ("2s", 1_000)])
def test_a_request_is_dead_before_its_lane_moves(load, lease, expiry_ms):
    assert load(f"{BASE}worker: {{lease: {lease}}}\n").request_expiry_of("desk") == expiry_ms
