import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.load_settings import settings_from_environment, settings_path
from libs.common.runtime.settings import Settings
from tests.unit.libs.common.runtime.conftest import BASE


@pytest.fixture
def refusal(load):
    def refusal_of(text, environ=None):
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        line = str(caught.value)
        assert "\n" not in line
        return line.partition("my.yaml: ")[2] or line

    return refusal_of


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
        ("redis: {shards: 2}", "redis.shards: got 2, expected 1: only 1 is built"),
        ("redis: {shards: '1'}", 'redis.shards: got "1", expected a whole number'),
        ("redis: {url: 'http://x'}", 'redis.url: got "http://x", expected a redis://, rediss:// or unix:// address'),
        ("breaker: {rate: off}", 'breaker.rate: got "off", expected a number'),
        ("breaker: {rate: 2}", "breaker.rate: got 2, expected a number <= 1"),
        ("limits: {symbol: {rate: x, burst: 1}}", 'limits.symbol.rate: got "x", expected a rate such as 5/s'),
        ("limits: {symbol: {rate: , burst: 1}}", "limits.symbol.rate: got"),
        ("limits: {symbol: off}", 'limits.symbol: got "off", expected a section with keys'),
        ("ingress: {port: 80800}", "ingress.port: got 80800, expected a whole number <= 65535"),
        ("ingress: {deadline: 4s}", 'ingress.deadline: got "4s", expected at most 3s, for TradingView hangs up then'),
        ('redis: {url: "redis://host:port/0"}', 'redis.url: got "redis://host:port/0", expected a redis://'),
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
        ("  b: {broker: [log]}", "accounts.b.broker: got a list, expected paper or log or http"),
        ("  b: {broker: log, limits: {symbol: {}}}", "accounts.b.limits.symbol.rate: this key is required"),
        ("  b: {broker: paper, currency: euro}", 'accounts.b.currency: got "euro", expected a text matching regex'),
        ("  b: {broker: log, limits: {symbols: [A]}}", "accounts.b.limits.symbols: got a list, expected a section with keys"),
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


def test_only_the_default_webhook_is_served(refusal):
    more = BASE.replace("webhooks: {", "webhooks: {other: {secret: S, accounts: [desk]}, ")
    assert refusal(more) == "webhooks.other: only `default`, POST /webhook, is served"
    renamed = BASE.replace("default:", "other:")
    assert refusal(renamed) == "webhooks.default: this key is required: POST /webhook serves it"


@pytest.mark.parametrize("name", ["breaker", "rate", "off"])
def test_an_account_may_have_any_name(load, name):
    text = f'{BASE}  {name}: {{broker: log, limits: {{symbol: {{rate: "off"}}}}}}\n'
    assert load(text).accounts[name].limits.symbol.rate.is_off


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
